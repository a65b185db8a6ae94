"""The workbench: an engine that a cell starts, uses and ends."""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.errors import (
    AvtomatikaError,
    BlueprintError,
    ConfigError,
    DocumentError,
    JobFailedError,
    JobNotFoundError,
    ValidationError,
)
from avtomatika.notebook import Workbench

WORKER = """
from avtomatika.worker import Worker

worker = Worker("as-the-module-says")

@worker.task
def shout(text):
    return {"said": text.upper()}
"""


@pytest.fixture
def worker_file(tmp_path: Path) -> Path:
    """A file with a worker that can do ``shout``, in a folder whose name has a space."""
    folder = tmp_path / "my workers"
    folder.mkdir()
    file = folder / "shouting.py"
    file.write_text(WORKER)
    return file


@pytest.fixture
def second() -> Iterator[Workbench]:
    """Another workbench beside the usual one."""
    with Workbench("second") as bench:
        yield bench


# --- life ---


def test_workbench_serves_on_this_machine_only(workbench: Workbench) -> None:
    """The address is a free port of 127.0.0.1, the token is new each time, and the API answers to it."""
    request = urllib.request.Request(f"{workbench.url}/api/v1/jobs", headers={"X-Client-Token": workbench.token})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer) == []

    assert workbench.url.startswith("http://127.0.0.1:")
    assert workbench.token != workbench.worker_env()["WORKER_TOKEN"]
    assert len(workbench.token) >= 32


def test_cell_run_again_gives_the_same_workbench(workbench: Workbench, capsys: pytest.CaptureFixture[str]) -> None:
    """The second run says that it is the same; other settings are named as ignored."""
    assert Workbench() is workbench
    assert capsys.readouterr().out == f"workbench runs already at {workbench.url}.\n"

    assert Workbench(JOB_MAX_RETRIES=1) is workbench
    assert "The settings given now are not applied; wb.stop() first." in capsys.readouterr().out


def test_same_settings_given_again_are_not_called_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    """Running one cell twice is no mistake."""
    with Workbench("configured", JOB_MAX_RETRIES=1) as bench:
        assert Workbench("configured", JOB_MAX_RETRIES=1) is bench
        assert capsys.readouterr().out == f"configured runs already at {bench.url}.\n"


def test_stopped_workbench_is_followed_by_a_new_one() -> None:
    """After a stop the same cell starts afresh; stopping twice is fine."""
    with Workbench() as first:
        first.stop()
        assert not first.is_running
        with Workbench() as other:
            assert other is not first
            first.stop()
            assert other.is_running


def test_workbenches_of_two_names_live_side_by_side(
    workbench: Workbench, second: Workbench, doubling: StateMachineBlueprint
) -> None:
    """They share neither address nor jobs."""
    job = workbench.submit(doubling, {"number": 1}).wait(30)

    assert second.url != workbench.url
    assert list(workbench.jobs()["id"]) == [job.id]
    assert second.jobs().empty
    with pytest.raises(JobNotFoundError):
        second.job(job.id)


def test_taken_port_is_told_in_the_cell_and_a_second_try_works() -> None:
    """A failed start leaves nothing behind that would hinder the next."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        threads = threading.active_count()

        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use"):
            Workbench(port=port)

        assert threading.active_count() == threads
    with Workbench(port=port) as bench:
        assert bench.url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"JOB_MAX_RETRIES": -1}, "JOB_MAX_RETRIES"),
        ({"JOB_MAX_RETRYS": 1}, "Did you mean 'JOB_MAX_RETRIES'"),
        ({"ENABLE_CLIENT_API": False}, "leave ENABLE_CLIENT_API true"),
        ({"history": "/no/such/folder/h.db"}, "'/no/such/folder' does not exist"),
    ],
)
def test_wrong_setting_is_told_in_the_cell(settings: dict[str, Any], sentence: str) -> None:
    """Nothing is started, and the message names setting and remedy."""
    threads = threading.active_count()

    with pytest.raises(ConfigError, match=sentence):
        Workbench(**settings)

    assert threading.active_count() == threads


def test_settings_of_the_environment_that_would_break_it_are_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A production environment in the shell does not reach the workbench's own server."""
    monkeypatch.setenv("ENABLE_CLIENT_API", "false")
    monkeypatch.setenv("API_HOST", "0.0.0.0")
    monkeypatch.setenv("CLIENT_TOKEN", "of-production")

    with Workbench("sheltered", CLIENT_API_PREFIX="v/api") as bench:
        assert bench.url.startswith("http://127.0.0.1:")
        assert bench.token != "of-production"
        assert bench.jobs().empty


def test_logs_are_kept_and_the_loggers_are_left_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    """The engine's lines can be read; nothing is printed and the root logger is never touched."""
    root, ours = logging.getLogger(), logging.getLogger("avtomatika")
    before = (root.level, list(root.handlers), ours.level, ours.propagate, list(ours.handlers))
    with Workbench("quiet") as bench:
        assert (root.level, list(root.handlers)) == before[:2]
        with socket.create_connection(("127.0.0.1", int(bench.url.rpartition(":")[2]))) as stranger:
            stranger.sendall(b"this is not HTTP\r\n\r\n")
            stranger.recv(100)
        lines = bench.logs()

    assert any(f"the engine serves at {bench.url}" in line for line in lines)
    assert bench.logs(1)[0].endswith("the engine has stopped")
    assert (root.level, list(root.handlers), ours.level, ours.propagate, list(ours.handlers)) == before
    assert capfd.readouterr() == ("", "")


def test_history_outlives_the_workbench_in_a_file(tmp_path: Path, doubling: StateMachineBlueprint) -> None:
    """Given a file, the history of yesterday's jobs is still there."""
    file = tmp_path / "my history.db"
    with Workbench("first", history=file) as bench:
        job = bench.submit(doubling, {"number": 1}).wait(30)

    with Workbench("again", history=file) as bench:
        events = bench.history(job.id)

    assert events["event_type"].iloc[0] == "job_created"
    assert events["event_type"].iloc[-1] == "job_completed"


def test_everything_asked_of_a_stopped_workbench_is_refused_in_a_sentence(doubling: StateMachineBlueprint) -> None:
    """No call hangs, and none ends in an error of asyncio."""
    with Workbench("over") as bench:
        bench.register(doubling)

    for call in (
        bench.jobs,
        bench.workers,
        bench.history,
        lambda: bench.submit("doubling", {}),
        lambda: bench.job("x"),
    ):
        with pytest.raises(AvtomatikaError, match="the workbench is stopped"):
            call()
    assert repr(bench) == "Workbench('over', stopped)"


# --- blueprints and jobs ---


def test_unknown_blueprint_is_told_with_the_one_that_was_meant(
    workbench: Workbench, doubling: StateMachineBlueprint
) -> None:
    """A typing error in the cell is answered in the cell."""
    workbench.register(doubling)

    with pytest.raises(BlueprintError, match=r"'dubling' is not registered; known: doubling\. Did you mean 'doubling'"):
        workbench.submit("dubling")
    with pytest.raises(BlueprintError, match=r"wb\.register takes blueprints; got a str"):
        workbench.register("doubling")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"rows": [{"n": 1}, {"n": {1, 2}}]}, "initial_data.rows[1].n"),
        ({"frame": pd.DataFrame({"a": [1]})}, "initial_data.frame"),
        ({"price": Decimal("1.5")}, "initial_data.price"),
        ([1, 2], "initial_data"),
        (pd.DataFrame({"a": [1]}), "initial_data"),
    ],
)
def test_data_that_cannot_be_stored_is_told_with_its_path(
    workbench: Workbench, doubling: StateMachineBlueprint, data: Any, path: str
) -> None:
    """The cell fails at once and names the value, instead of the job failing later."""
    with pytest.raises(DocumentError, match=re.escape(path)) as caught:
        workbench.submit(doubling, data)

    assert caught.value.path == path


def test_values_of_numpy_and_pandas_can_be_submitted(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """What comes out of a DataFrame goes into a job as it is."""
    row = pd.DataFrame({"number": [21], "x": [0.5], "day": [pd.Timestamp("2026-01-02")], "is": [True]}).iloc[0]
    data = {**row.to_dict(), "small": np.float32(0.25), "flag": np.bool_(True), "date": datetime.date(2026, 1, 2)}

    job = workbench.submit(doubling, {**data, "number": np.int64(21)})

    assert job.result(timeout=30) == {"double": 42}
    stored = job.view["initial_data"]
    assert (stored["x"], stored["small"], stored["flag"], stored["is"]) == (0.5, 0.25, True, True)
    assert (stored["day"], stored["date"]) == ("2026-01-02T00:00:00", "2026-01-02")


def test_handler_cell_run_again_counts_for_new_jobs(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """A handler that is defined anew is in force with the next submit, without another ``register``."""
    workbench.register(doubling)
    before = workbench.submit("doubling", {"number": 2}).result(timeout=30)

    doubling.remove_state("done")

    @doubling.handler_for("done", is_end=True)
    async def done(number: int) -> dict[str, int]:
        return {"triple": 3 * number}

    assert before == {"double": 4}
    assert workbench.submit("doubling", {"number": 2}).result(timeout=30) == {"triple": 6}


def test_half_changed_blueprint_is_refused_when_a_job_is_submitted(
    workbench: Workbench, doubling: StateMachineBlueprint
) -> None:
    """While cells are being rewritten, a job does not silently run the version before."""
    workbench.register(doubling)
    doubling.remove_state("done")

    with pytest.raises(ValidationError, match="'done'"):
        workbench.submit("doubling", {"number": 1})


def test_running_job_keeps_the_version_that_it_started_with(
    workbench: Workbench, patient: StateMachineBlueprint
) -> None:
    """Registering another graph does not change what a waiting job will do."""
    job = workbench.submit(patient, {"text": "old"})
    newer = StateMachineBlueprint("patient")

    @newer.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.transition_to("new_end")

    @newer.handler_for("new_end", is_end=True)
    async def new_end() -> dict[str, str]:
        return {"version": "new"}

    workbench.register(newer)
    workbench.task("shout")(lambda text: {"said": text})

    assert job.result(timeout=30) == {"said": "old"}
    assert workbench.submit("patient").result(timeout=30) == {"version": "new"}


def test_async_handler_that_waits_for_the_workbench_fails_with_the_remedy(workbench: Workbench) -> None:
    """It would stop the engine for ever; so its job ends with a sentence, and the engine goes on."""
    bp = StateMachineBlueprint("circular")

    @bp.handler_for("only", is_start=True)
    async def only(actions: ActionFactory) -> None:
        workbench.jobs()
        actions.transition_to("end")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    with pytest.raises(JobFailedError, match=r"cannot wait for the workbench.*plain def"):
        workbench.submit(bp).result(timeout=30)


def test_plain_handler_may_use_the_workbench(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """A plain ``def`` runs in a thread, from which jobs can be submitted and waited for."""
    bp = StateMachineBlueprint("nested")

    @bp.handler_for("only", is_start=True, is_end=True)
    def only() -> Any:
        return workbench.submit(doubling, {"number": 4}).result(timeout=30)

    assert workbench.submit(bp).result(timeout=30) == {"double": 8}


def test_tables_tell_of_jobs_workers_and_history(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """Each is a DataFrame, filtered as asked."""
    good, bad = (workbench.submit(doubling, data).wait(30) for data in ({"number": 1}, {}))

    assert list(workbench.jobs()["id"]) == [bad.id, good.id]
    assert list(workbench.jobs(status="failed")["id"]) == [bad.id]
    assert workbench.jobs(blueprint="other").empty
    assert len(workbench.jobs(limit=1)) == 1
    assert set(workbench.history()["job_id"]) == {good.id, bad.id}
    assert list(workbench.history(good, event_type="job_created")["job_id"]) == [good.id]
    assert workbench.workers().empty


# --- workers ---


def test_task_of_the_notebook_is_done_here(workbench: Workbench, patient: StateMachineBlueprint) -> None:
    """A decorated function does the tasks of its name, in this process."""
    thread_names = []

    @workbench.task
    def shout(text: str) -> dict[str, str]:
        thread_names.append(threading.current_thread().name)
        return {"said": text.upper()}

    assert workbench.submit(patient, {"text": "a"}).result(timeout=30) == {"said": "A"}
    assert thread_names[0].startswith("task-")
    assert shout("b") == {"said": "B"}
    assert list(workbench.workers()["worker_id"]) == ["notebook-1"]


def test_task_cell_run_again_replaces_the_function(workbench: Workbench, patient: StateMachineBlueprint) -> None:
    """The next task is done by the new function, and other tasks stay."""

    @workbench.task("other")
    async def other() -> None: ...

    for mark in ("!", "?"):

        @workbench.task("shout", description=f"with {mark}")
        def shout(text: str, mark: str = mark) -> dict[str, str]:
            return {"said": text + mark}

        assert workbench.submit(patient, {"text": "a"}).result(timeout=30) == {"said": f"a{mark}"}
    workers = workbench.workers()
    assert [sorted(skills) for skills in workers[workers["status"] == "idle"]["available_skills"]] == [
        ["other", "shout"]
    ]


def test_replaced_function_may_end_its_task(
    workbench: Workbench, patient: StateMachineBlueprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running the cell again does not wait for a long task of the old function, and does not lose it."""
    monkeypatch.setattr("avtomatika.notebook.cell_worker._HANDOVER_SECONDS", 0.01)
    begun, let_go = threading.Event(), threading.Event()

    @workbench.task("shout")
    def long(text: str) -> dict[str, str]:
        begun.set()
        let_go.wait(30)
        return {"said": "the old one"}

    job = workbench.submit(patient, {"text": "a"})
    assert begun.wait(30)
    workbench.task("shout")(lambda text: {"said": "the new one"})
    let_go.set()

    assert job.result(timeout=30) == {"said": "the old one"}
    assert workbench.submit(patient, {"text": "b"}).result(timeout=30) == {"said": "the new one"}


def test_unfit_task_is_refused_in_its_cell(workbench: Workbench) -> None:
    """A wrong option or name is told at once, and the tasks before stay in force."""
    with pytest.raises(ConfigError):
        workbench.task("no spaces please")(lambda: None)
    with pytest.raises(ConfigError):
        workbench.task("shout", concurrency=0)(lambda: None)

    assert workbench.workers().empty


def test_worker_processes_do_tasks_and_end_with_the_workbench(
    workbench: Workbench, worker_file: Path, patient: StateMachineBlueprint
) -> None:
    """Processes are ready when the call returns, are told apart, and are gone after the stop."""
    processes = workbench.start_workers(worker_file, count=2)

    assert workbench.submit(patient, {"text": "a"}).result(timeout=30) == {"said": "A"}
    assert sorted(workbench.workers()["worker_id"]) == ["shouting-1", "shouting-2"]
    assert "worker processes: 2" in workbench._repr_mimebundle_()["text/html"]

    workbench.stop()
    assert not any(process.is_alive for process in processes)


def test_worker_that_cannot_start_is_told_with_its_output(workbench: Workbench, tmp_path: Path) -> None:
    """The traceback of the file stands in the cell, and no process is left over."""
    file = tmp_path / "broken.py"
    file.write_text("this is no Python")

    with pytest.raises(AvtomatikaError, match=r"(?s)'broken-1' \(broken:worker\) ended with exit code 2:.*SyntaxError"):
        workbench.start_workers(file)
    with pytest.raises(AvtomatikaError, match=r"there is no file .*write it first"):
        workbench.start_workers(tmp_path / "missing.py")

    assert "worker processes: 0" in workbench._repr_mimebundle_()["text/html"]


def test_names_in_the_page_of_a_workbench_are_escaped(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """Nothing that has a name can break the page."""
    doubling.name = "<script>"
    workbench.register(doubling)

    assert "<code>&lt;script&gt;</code>" in workbench._repr_mimebundle_()["text/html"]


# --- processes of their own: what must hold for a whole interpreter ---

_PROGRAM = """
import asyncio, sys
{before}
from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench

wb = Workbench()
{after}
bp = StateMachineBlueprint("patient")

@bp.handler_for("ask", is_start=True)
async def ask(initial_data, actions):
    await asyncio.sleep(0)
    actions.dispatch_task("shout", initial_data, transitions={{"success": "done"}})

@bp.handler_for("done", is_end=True)
def done(said):
    return {{"said": said}}

@wb.task
async def shout(text):
    await asyncio.sleep(0)
    return {{"said": text.upper()}}

async def all_together():
    results = await asyncio.gather(*[wb.submit(bp, {{"text": letter}}) for letter in "abc"])
    return [result["said"] for result in results]

assert wb.submit(bp, {{"text": "x"}}).result(timeout=30) == {{"said": "X"}}
print(asyncio.run(all_together()))
{end}
"""
_APPLY = "import nest_asyncio; nest_asyncio.apply()"


def _run(file: Path, program: str) -> subprocess.CompletedProcess[str]:
    file.write_text(program)
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:nest_asyncio", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), (_APPLY, ""), ("", _APPLY)], ids=["without", "before", "after"]
)
@pytest.mark.parametrize("end", ["wb.stop()", ""], ids=["stopped", "left"])
def test_workbench_works_with_and_without_nest_asyncio(tmp_path: Path, before: str, after: str, end: str) -> None:
    """It patches asyncio for every thread; the workbench works either way, and so does leaving without a stop."""
    done = _run(tmp_path / "program.py", _PROGRAM.format(before=before, after=after, end=end))

    assert (done.stdout, done.stderr, done.returncode) == ("['A', 'B', 'C']\n", "", 0)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of somebody else's child")
def test_killed_notebook_leaves_no_worker(worker_file: Path) -> None:
    """Even without a chance to clean up, the worker processes are gone within seconds."""
    program = (
        "import signal\nfrom avtomatika.notebook import Workbench\nwb = Workbench()\n"
        f"print(*[process.pid for process in wb.start_workers({str(worker_file)!r}, count=2)], flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        ends = [os.pidfd_open(int(pid)) for pid in notebook.stdout.readline().split()]
        notebook.send_signal(signal.SIGKILL)

    assert len(ends) == 2
    for end in ends:
        assert select.select([end], [], [], 10)[0] == [end]
        os.close(end)
