"""The commands. Two things come before the imports of a command: threads that wait on a busy core give it up soon
(libgomp reads this when torch is loaded; measured in nbs/benchmarks/throughput), and Ctrl-C leaves without a traceback
until `Parser.run` takes over."""
import os
import signal
import sys

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
is_command = sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0] if sys.argv else "").startswith("ccdiff-")
if is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
