"""Runs notebooks from beginning to end, and keeps the executed notebooks and an HTML copy of each.

    python notebooks/run.py notebooks/quickstart.ipynb ... [--output build/notebooks]

Exits with 1 if a cell failed; the executed notebook then shows which one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import warnings
from pathlib import Path

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # jupyter_core asks every program to say so

import papermill
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError

_REMOTE_SCRIPT = re.compile(r'<script[^>]* src="https?://[^"]*"[^>]*>\s*</script>\n?')


class LocalKernelManager(AsyncKernelManager):
    """Talks to the kernel through the file system."""

    transport = "ipc"


def main() -> int:
    """Runs the notebooks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("notebooks", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, default=Path("build/notebooks"))
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    codes = [run(notebook, output) for notebook in arguments.notebooks]
    return max(codes)


def run(notebook: Path, output: Path) -> int:
    """Runs one notebook; returns 1 if a cell failed."""
    executed, page = output / notebook.name, output / f"{notebook.stem}.html"
    summary = output / f"{notebook.stem}.json"
    summary.unlink(missing_ok=True)
    # The quickstart writes down what it found, for whoever runs it.
    parameters = {"summary_file": str(summary)} if "summary_file" in papermill.inspect_notebook(str(notebook)) else {}
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=parameters,
            cwd=str(output),
            kernel_name="python3",
            progress_bar=True,
            # Sockets of the file system instead of TCP: nobody else on the machine can listen in.
            kernel_manager_class=LocalKernelManager,
        )
    except PapermillExecutionError as error:
        print(f"\nCell {error.cell_index} of {notebook} failed: {error.ename}: {error.evalue}")
        print(f"The executed notebook shows where: {executed}")
        return 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbconvert's advice on alternative texts is not for the reader of a demo
        # The page shows static pictures and no formulas: what nbconvert would fetch from elsewhere is not needed.
        html, _ = HTMLExporter().from_filename(str(executed))
    page.write_text(_REMOTE_SCRIPT.sub("", html), encoding="utf-8")
    if summary.exists():
        told = json.loads(summary.read_text(encoding="utf-8"))
        print(f"\nSeattle, {told['days']:,} days of weather, by job {told['job']}:\n\n{told['table']}")
    print(f"\nnotebook: {executed}\npage:     {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
