"""Worker processes as children of the notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avtomatika.errors import AvtomatikaError
from avtomatika.notebook.processes import WorkerProcess, stop_all

WORKER = "from avtomatika.worker import Worker\nworker = Worker()\nworker.add_task(lambda: {}, 'nothing')\n"
# Nobody listens there: these workers try again and again.
NOWHERE = {"ORCHESTRATOR_URL": "http://127.0.0.1:9"}
Start = Callable[[str], WorkerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes in a folder with a module ``lonely``; those that are left end with the test."""
    (tmp_path / "lonely.py").write_text(WORKER)
    processes: list[WorkerProcess] = []

    def begin(target: str) -> WorkerProcess:
        worker_id = f"w{len(processes)}"
        processes.append(WorkerProcess(target, tmp_path, worker_id, NOWHERE, tmp_path / f"{worker_id}.log"))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()


def test_process_runs_until_it_is_stopped(start: Start) -> None:
    """Closing its standard input is enough, and stopping twice is fine."""
    process = start("lonely:worker")
    process.check()
    assert (process.is_alive, repr(process)) == (True, f"WorkerProcess('w0', pid {process.pid})")

    process.stop()
    process.stop()

    assert (process.is_alive, repr(process)) == (False, "WorkerProcess('w0', exit code 0)")


def test_process_that_ends_at_once_is_reported_with_its_output(start: Start) -> None:
    """The reason stands in the error, not in a file that nobody looks at."""
    process = start("lonley:worker")
    process._process.wait(30)

    with pytest.raises(
        AvtomatikaError, match=r"(?s)'w0' \(lonley:worker\) ended with exit code 2:.*no module 'lonley'"
    ):
        process.check()


def test_killed_process_is_gone_at_once(start: Start) -> None:
    """``kill`` leaves no time for a goodbye."""
    process = start("lonely:worker")

    process.kill()

    assert repr(process) == "WorkerProcess('w0', exit code -9)"


def test_process_has_a_session_of_its_own(start: Start) -> None:
    """Jupyter interrupts a cell by a signal to the kernel's process group, which must not reach the workers."""
    process = start("lonely:worker")

    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_several_processes_stop_together(start: Start) -> None:
    """All are asked before the first is waited for."""
    processes = [start("lonely:worker"), start("lonely:worker")]

    stop_all(iter(processes))

    assert [process.is_alive for process in processes] == [False, False]


def test_log_is_the_end_of_the_output(start: Start, tmp_path: Path) -> None:
    """However much a worker writes, a message stays readable; without its file the log is empty."""
    process = start("lonely:worker")
    process.kill()
    (tmp_path / "w0.log").write_bytes(b"x" * 10_000 + b"\xff the end")

    log = process.log()
    (tmp_path / "w0.log").unlink()

    assert (len(log), log[-9:]) == (2000, "\ufffd the end")
    assert process.log() == ""
