"""The live views in real kernels: the newest ipykernel 6 and 7, and 7.0."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import jupyter_kernel

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
SETUP = """
import time
import ipykernel
from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench

wb = Workbench()
bp = StateMachineBlueprint("patient")

@bp.handler_for("ask", is_start=True)
async def ask(actions):
    actions.dispatch_task("nobody_does_this", {}, transitions={"success": "done"})

@bp.handler_for("done", is_end=True)
async def done(): ...

print(ipykernel.__version__)
"""


class Kernel:
    """A kernel, spoken to as JupyterLab does."""

    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client
        self.heard: list[dict[str, Any]] = []

    def begin(self, code: str, cell: str = "") -> str:
        """Begins a cell; a front end with a person before it names it."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = self._client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def say(self, comm_id: str, content: Mapping[str, Any]) -> None:
        """Says something as a view's script does."""
        data = {"method": "custom", "content": dict(content)}
        self._client.shell_channel.send(self._client.session.msg("comm_msg", {"comm_id": comm_id, "data": data}))

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Returns the first message, heard or to come, for which something holds."""
        for message in self.heard:
            if holds(message):
                return message
        while True:
            try:
                self.heard.append(self._client.get_iopub_msg(timeout=60))
            except queue.Empty:
                raise AssertionError([message["msg_type"] for message in self.heard]) from None
            if holds(self.heard[-1]):
                return self.heard[-1]

    def end(self, request: str) -> None:
        """Waits until a cell has ended."""
        self.until(
            lambda message: (
                message["msg_type"] == "status"
                and message["content"]["execution_state"] == "idle"
                and message["parent_header"].get("msg_id") == request
            )
        )

    def run(self, code: str, cell: str = "") -> str:
        """Runs a cell; returns what it printed."""
        request = self.begin(code, cell)
        self.end(request)
        mine = [message for message in self.heard if message["parent_header"].get("msg_id") == request]
        assert not [message["content"] for message in mine if message["msg_type"] == "error"]
        return "".join(message["content"]["text"] for message in mine if message["msg_type"] == "stream")


@pytest.fixture(params=["ipykernel>=6.29,<7", "ipykernel==7.0.*", ""], ids=["6", "7.0", "7"])
def kernel(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing_server: Any
) -> Iterator[Kernel]:
    """A kernel of each version, over the packages that are installed."""
    jupyter_kernel.keep_to(tmp_path, monkeypatch)
    places = [str(ROOT), str(ROOT / "widgets")]
    if request.param:
        places.insert(0, str(_installed(request.param, missing_server)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    with jupyter_kernel.started(tmp_path) as (manager, client):
        running = Kernel(manager, client)
        version = running.run(SETUP).split()[-1]
        assert version.startswith(request.node.callspec.id)
        yield running


def _installed(requirement: str, missing_server: Any) -> Path:
    """Returns a folder with this version, which goes before the installed one; its dependencies are the same."""
    folder = ROOT / ".venvs" / requirement.replace(">", "").replace("<", "").replace("=", "-").replace("*", "x")
    if not (folder / "ipykernel_launcher.py").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), requirement]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            missing_server(f"{requirement} cannot be installed: {done.stderr}")
    return folder


def _custom(kind: str) -> Callable[[dict[str, Any]], bool]:
    def holds(message: dict[str, Any]) -> bool:
        data = message["content"].get("data") or {}
        return message["msg_type"] == "comm_msg" and (data.get("content") or {}).get("kind") == kind

    return holds


def test_live_view_is_asked_while_a_cell_blocks_and_is_frozen(kernel: Kernel) -> None:
    """Shown live, asked over the gate while the kernel is busy and over its own connection afterwards, frozen."""
    kernel.run("job = wb.submit(bp)\njob", cell="cell-1")
    shown = kernel.until(lambda message: message["msg_type"] == "display_data")
    assert WIDGET_MIME in shown["content"]["data"]
    blocked = kernel.begin("while not job.is_terminal: time.sleep(0.02)\nprint(job.status)", cell="cell-2")

    gate = kernel.until(_custom("gate"))["content"]["data"]["content"]
    assert _ask(gate, {"do": "state", "name": "ask"})["visits"][0]["is_here"]
    assert _ask(gate, {"do": "cancel"}) == {"done": "cancel"}

    kernel.end(blocked)
    frozen = kernel.until(lambda message: message["msg_type"] == "update_display_data")
    assert frozen["content"]["transient"]["display_id"] == shown["content"]["transient"]["display_id"]
    assert set(frozen["content"]["data"]) == {"text/plain", "text/html"}
    comm_id = shown["content"]["data"][WIDGET_MIME]["model_id"]
    kernel.say(comm_id, {"kind": "ask", "number": 1, "ask": {"do": "cancel"}})
    answer = kernel.until(_custom("answer"))["content"]["data"]["content"]["answer"]
    assert "cannot be cancelled any more" in answer["error"]


def test_cell_that_nobody_looks_at_is_static(kernel: Kernel) -> None:
    """As papermill and nbclient run it: no widget at all."""
    kernel.run("job = wb.submit(bp)\njob")
    kernel.run("wb.dashboard()")

    results = [message["content"]["data"] for message in kernel.heard if message["msg_type"] == "execute_result"]
    assert ["text/html" in data for data in results] == [True, True]
    assert not [data for data in results if WIDGET_MIME in data]
    assert not [message for message in kernel.heard if message["msg_type"] == "comm_open"]


def _ask(gate: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps({"view": gate["view"], "capability": gate["capability"], "ask": question}).encode()
    headers = {"Origin": "http://localhost:8888", "Content-Type": "text/plain"}
    with urllib.request.urlopen(urllib.request.Request(gate["url"], body, headers), timeout=20) as answer:
        return dict(json.load(answer))
