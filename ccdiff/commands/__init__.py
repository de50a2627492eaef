"The commands. Threads that wait on a busy core give it up soon; libgomp reads this when torch is loaded (measured in nbs/benchmarks/throughput)."
import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
