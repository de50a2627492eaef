"""Run notebooks top to bottom in a real Jupyter kernel, as a reader does, and say how long each took: run_in_jupyter.py [PATH ...] [--flags slow] [--write]

nbdev_test runs cells in its own shell; here each notebook has an ipykernel of its own and its own folder as the working directory. Cells that
nbdev_test skips are skipped. With --write the outputs of the cells that ran are stored; nbdev_clean comes after that. Exit status 1 if a cell fails."""
import argparse
import os
import re
import resource
import sys
import time
from configparser import ConfigParser
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

root = Path(__file__).resolve().parents[1]


def skipped(cell, flags):
    "Is it a cell that nbdev_test would skip?"
    directives = re.findall(r"^#\|\s*(.+?)\s*$", cell.source, re.M)
    return any(d in flags or re.fullmatch(r"eval:\s*false", d) for d in directives)


def run(path, flags, write):
    "`(seconds, CPU-seconds, what went wrong or an empty string)` of one notebook."
    stored, notebook = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and skipped(cell, flags): cell.source = ""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    began, before, wrong = time.monotonic(), used(), ""
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", coalesce_streams=True, extra_arguments=["--log-level=ERROR"], resources={"metadata": {"path": str(path.parent)}})
    try: client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as e: wrong = f"{type(e).__name__}: {str(e)[-3000:]}"
    if write and not wrong:
        for old, new in zip(stored.cells, notebook.cells):
            if old.cell_type == "code" and new.source: old.outputs = new.outputs
            for output in old.get("outputs", []): # a widget lives no longer than its kernel; the picture beside it stays
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        nbformat.write(stored, path)
    return time.monotonic() - began, used() - before, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[root / "nbs"], help="notebooks or folders of them; without any, all below nbs/")
    parser.add_argument("--flags", default="", help="flags whose cells run all the same, such as slow")
    parser.add_argument("--write", action="store_true", help="store the outputs of the cells that ran")
    args = parser.parse_args()
    config = ConfigParser(delimiters=["="])
    config.read(root / "settings.ini")
    flags = set(config["DEFAULT"]["tst_flags"].split()) - set(args.flags.split())
    found = [p.resolve() for path in args.paths for p in (sorted(path.rglob("*.ipynb")) if path.is_dir() else [path]) if ".ipynb_checkpoints" not in p.parts]
    if not found: sys.exit(f"no notebook at {', '.join(map(str, args.paths))}")
    failed, wall, cpu = [], 0, 0
    for path in found:
        seconds, used, wrong = run(path, flags, args.write)
        wall, cpu = wall + seconds, cpu + used
        print(f"{'FAIL' if wrong else 'ok  '} {seconds:6.1f} s {used:6.1f} CPU-s  {os.path.relpath(path, root)}", flush=True)
        if wrong: failed.append(path); print(wrong, flush=True)
    print(f"{len(found) - len(failed)} of {len(found)} notebooks ran to their end, {wall:.0f} s, {cpu:.0f} CPU-s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__": main()
