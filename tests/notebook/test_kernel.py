"""The workbench in a real kernel: blocked cells, interrupts, cells run again, restarts."""

from __future__ import annotations

import json
import os
import select
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import jupyter_kernel

pytestmark = pytest.mark.acceptance

WORKER = """
from avtomatika.worker import Worker

worker = Worker()

@worker.task
def shout(text):
    return {"said": text.upper()}
"""
SETUP = """
from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench

wb = Workbench()
bp = StateMachineBlueprint("patient")

@bp.handler_for("ask", is_start=True)
async def ask(initial_data, actions):
    print("a handler prints")
    actions.dispatch_task("shout", initial_data, transitions={"success": "done"})

@bp.handler_for("done", is_end=True)
async def done(said):
    return {"said": said}

wb.register(bp)
"""
TELL = """
wait = wb._background.wait

def tell_and_wait(*args):
    print("waiting", flush=True)
    return wait(*args)

wb._background.wait = tell_and_wait
"""


@dataclass
class Ran:
    """What a cell left behind."""

    stdout: str = ""
    stderr: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


class Kernel:
    """A kernel and its client."""

    def __init__(self, manager: Any, client: Any, folder: Path) -> None:
        self.manager = manager
        self._client = client
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        """Writes into a file of the kernel's folder."""
        (self._folder / name).write_text(text)

    def begin(self, code: str, until: str) -> Ran:
        """Begins a cell and returns once it has printed a word."""
        self._client.execute(code)
        ran = Ran()
        while until not in ran.stdout:
            self._take(self._client.get_iopub_msg(timeout=60), ran)
        return ran

    def is_busy(self, ran: Ran) -> bool:
        """Takes the next thing that the cell says; returns whether it still runs after that."""
        return self._take(self._client.get_iopub_msg(timeout=60), ran)

    def run(self, code: str) -> Ran:
        """Runs a cell to its end."""
        self._client.execute(code)
        ran = Ran()
        while self._take(self._client.get_iopub_msg(timeout=60), ran):
            pass
        return ran

    def value(self, expression: str) -> Any:
        """Returns the value of an expression that can be written as JSON."""
        ran = self.run(f"import json; print(json.dumps({expression}))")
        assert not ran.error, ran.error
        return json.loads(ran.stdout.splitlines()[-1])

    def _take(self, message: dict[str, Any], ran: Ran) -> bool:
        content = message["content"]
        match message["msg_type"]:
            case "stream" if content["name"] == "stdout":
                ran.stdout += content["text"]
            case "stream":
                ran.stderr += content["text"]
            case "execute_result" | "display_data":
                ran.shown.append(content["data"])
            case "error":
                ran.error = f"{content['ename']}: {content['evalue']}"
            case "status":
                return bool(content["execution_state"] != "idle")
        return True


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """A kernel in a folder with the worker file."""
    jupyter_kernel.keep_to(tmp_path, monkeypatch)
    (tmp_path / "shouting.py").write_text(WORKER)
    with jupyter_kernel.started(tmp_path) as (manager, client):
        running = Kernel(manager, client, tmp_path)
        running.run(SETUP)
        yield running


def test_blocked_cell_does_not_block_the_server(kernel: Kernel) -> None:
    """While a cell waits for somebody else, requests are answered: all of them before the cell goes on."""
    url, token = kernel.value("[wb.url, wb.token]")
    request = urllib.request.Request(f"{url}/api/v1/blueprints", headers={"X-Client-Token": token})
    kernel.run("import os; os.mkfifo('let_go')")

    ran = kernel.begin("print('blocked', flush=True); print(open('let_go').read())", until="blocked")
    for _ in range(10):
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)[0]["name"] == "patient"
    assert "go on" not in ran.stdout
    kernel.write("let_go", "go on")
    while kernel.is_busy(ran):
        pass

    assert "go on" in ran.stdout


def test_interrupt_ends_the_waiting_and_leaves_job_and_workers_alone(kernel: Kernel) -> None:
    """The stop button ends ``job.result()`` at once and says how to cancel; nothing else is lost by it."""
    kernel.run("job = wb.submit('patient', {'text': 'a'})\n(other,) = wb.start_workers('shouting.py')")
    assert kernel.value("job.result(30)") == {"said": "A"}
    kernel.run("import threading\nlet_go = threading.Event()\nwb.task('long')(lambda: let_go.wait() and {'said': 'B'})")
    kernel.run("bp.remove_state('ask')")
    kernel.run(SETUP.partition("wb = Workbench()")[2].replace('"shout", initial_data', '"long", {}'))

    kernel.run(f"job = wb.submit('patient')\n{TELL}")
    ran = kernel.begin("job.result()", until="waiting")
    kernel.manager.interrupt_kernel()
    while kernel.is_busy(ran):
        pass

    assert ran.error.startswith("KeyboardInterrupt")
    assert "goes on. job.cancel() ends it." in ran.stderr
    assert kernel.value("[job.is_terminal, other.is_alive]") == [False, True]
    kernel.run("let_go.set()")
    assert kernel.value("job.result(30)") == {"said": "B"}


def test_cells_can_be_run_again(kernel: Kernel) -> None:
    """The workbench is the same, its blueprint the new one, and the job is shown with its graph."""
    url = kernel.value("wb.url")

    again = kernel.run(SETUP.replace("return {", "return {'again': True, "))
    kernel.run("wb.task('shout')(lambda text: {'said': text.upper()})")
    shown = kernel.run("job = wb.submit('patient', {'text': 'a'}); job.wait(30)").shown

    assert f"workbench runs already at {url}." in again.stdout
    assert again.error == again.stderr == ""
    assert kernel.value("job.result()") == {"again": True, "said": "A"}
    assert "patient: finished in 'done'" in shown[0]["text/plain"]
    assert "data:image/svg+xml;base64," in shown[0]["text/html"]


def test_jobs_are_awaited_in_the_kernels_own_loop(kernel: Kernel) -> None:
    """``await job`` works at the top of a cell, with nest_asyncio in force as well."""
    kernel.run("import asyncio\nwb.task('shout')(lambda text: {'said': text.upper()})")
    together = "await asyncio.gather(*[wb.submit('patient', {'text': x}) for x in 'ab'])"

    plain = kernel.run(together)
    patched = kernel.run(f"import nest_asyncio; nest_asyncio.apply()\n{together}")
    nested = kernel.run("async def f(): return await wb.submit('patient', {'text': 'c'})\nasyncio.run(f())")

    assert [ran.error for ran in (plain, patched, nested)] == ["", "", ""]
    assert plain.shown[0]["text/plain"] == patched.shown[0]["text/plain"] == "[{'said': 'A'}, {'said': 'B'}]"
    assert nested.shown[0]["text/plain"] == "{'said': 'C'}"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of somebody else's child")
@pytest.mark.parametrize("now", [False, True], ids=["asked", "killed"])
def test_restart_of_the_kernel_leaves_no_worker(kernel: Kernel, now: bool) -> None:
    """Worker processes end with their kernel, be it asked or killed."""
    pids = kernel.value("[process.pid for process in wb.start_workers('shouting.py', count=2)]")
    ends = [os.pidfd_open(pid) for pid in pids]

    kernel.manager.restart_kernel(now=now)

    for end in ends:
        assert select.select([end], [], [], 10)[0] == [end]
        os.close(end)
