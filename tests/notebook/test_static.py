"""Without the packages of the live views, and without any network, everything still shows itself."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ipywidgets", "anywidget", "comm"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Missing())

import socket
from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench
from avtomatika.notebook.live import shows_widgets

bp = StateMachineBlueprint("tiny")

@bp.handler_for("only", is_start=True, is_end=True)
async def only():
    return {"n": 1}

assert not shows_widgets()
with Workbench() as wb:
    ended, running = wb.submit(bp).wait(20), wb.submit(bp)
    charts = [wb.timeline(ended), wb.durations(), wb.success_rate(), wb.conformance(bp)]
    boards = [wb.dashboard(), wb.job_table(), wb.worker_board(), wb.queue_chart()]
    running.wait(20)

    def refuse(*_, **__):
        raise OSError("no network")

    socket.socket = socket.create_connection = refuse
    shown = [one._repr_mimebundle_() for one in (bp, wb, ended, running, *charts, *boards)]
    socket.socket = socket._socket.socket
    import importlib; importlib.reload(socket)

assert all(bundle["text/plain"] and bundle["text/html"] for bundle in shown)
print(len(shown))
"""


def test_everything_shows_itself_without_widgets_and_without_network() -> None:
    """Blueprint, workbench, jobs, charts and boards: plain text and static HTML."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "12"


def test_import_starts_nothing_and_loads_nothing_heavy() -> None:
    """No thread, no widget, no table package: an import in a notebook is quick."""
    heavy = {"pandas", "numpy", "matplotlib", "ipywidgets", "anywidget", "IPython", "avtomatika_widgets"}
    script = (
        "import sys, threading, avtomatika.notebook\n"
        f"print(threading.active_count(), sorted({heavy} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "1 []"
