"""Live boards, with a fake front end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench
from avtomatika.notebook import feed as feed_module

from .conftest import FakeComm, FakeScreen


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples do not let a test wait."""
    monkeypatch.setattr(feed_module, "_SAMPLE_SECONDS", 0.05)


@pytest.fixture
def board(workbench: Workbench, comms: list[FakeComm]) -> FakeComm:
    """A dashboard as the browser has it."""
    workbench.dashboard()._ipython_display_()
    return next(one for one in comms if "numbers" in one.state())


def _until(board: FakeComm, holds: Callable[[dict[str, Any]], bool]) -> None:
    with board.arrived:
        assert board.arrived.wait_for(lambda: holds(board.state()), 20), board.state()


def _ids(state: dict[str, Any]) -> list[str]:
    return [row["id"] for row in state["jobs"].get("rows", ())]


def test_dashboard_follows_jobs_and_workers(
    workbench: Workbench, board: FakeComm, patient: StateMachineBlueprint
) -> None:
    """A job comes, waits, ends; a worker joins; the numbers go along."""
    job = workbench.submit(patient, {"text": "a"})
    _until(board, lambda state: _ids(state) == [job.id] and state["queues"] != [])

    workbench.task("shout")(lambda text: {"said": text})

    _until(board, lambda state: state["jobs"]["rows"][0]["status"] == "finished" and state["workers"] != [])
    _until(board, lambda state: state["numbers"]["jobs"] == {"finished": 1} and len(state["samples"]) > 1)


def test_filter_order_and_page_are_the_persons(
    workbench: Workbench, board: FakeComm, patient: StateMachineBlueprint
) -> None:
    """What the page asks for is what it gets."""
    jobs = [workbench.submit(patient, {"text": str(number)}) for number in range(5)]

    board.set(query={"size": 2, "page": 1, "sort": "created", "descending": False})
    _until(board, lambda state: _ids(state) == [jobs[2].id, jobs[3].id])
    board.set(query={"text": jobs[4].id})

    _until(board, lambda state: _ids(state) == [jobs[4].id] and state["jobs"]["total"] == 1)


def test_buttons_of_a_row_end_and_requeue_its_job(
    workbench: Workbench, board: FakeComm, patient: StateMachineBlueprint
) -> None:
    """A refusal is told."""
    job = workbench.submit(patient, {"text": "a"})

    board.say({"kind": "ask", "number": 1, "ask": {"do": "cancel", "job": job.id}})
    assert board.wait_for("answer")["answer"] == {"done": "cancel"}
    assert job.wait(10).status == "cancelled"
    for number, question in enumerate(
        [{"do": "requeue", "job": job.id}, {"do": "dance"}, {"do": "cancel", "job": "x"}], 2
    ):
        board.say({"kind": "ask", "number": number, "ask": question})
    with board.arrived:
        assert board.arrived.wait_for(lambda: len(board.custom("answer")) == 4, 20)

    assert all("error" in answer["answer"] for answer in board.custom("answer")[1:])


def test_stop_freezes_the_board(workbench: Workbench, board: FakeComm, screen: FakeScreen) -> None:
    """What is saved afterwards is a plain table."""
    workbench.stop()

    (outputs,) = screen.outputs.values()
    assert set(outputs[-1]) == {"text/plain", "text/html"}


@pytest.mark.parametrize("name", ["job_table", "worker_board", "queue_chart", "dashboard"])
def test_each_board_sends_its_own_part_only(workbench: Workbench, comms: list[FakeComm], name: str) -> None:
    """A table of jobs carries no chart."""
    getattr(workbench, name)()._ipython_display_()
    view = next(one for one in comms if "numbers" in one.state())
    _until(view, lambda state: any(state[part] for part in ("jobs", "samples", "numbers")) or name == "worker_board")

    state = view.state()
    assert bool(state["samples"]) == (name in {"queue_chart", "dashboard"})
    assert bool(state["numbers"]) == (name == "dashboard")


def test_ten_thousand_jobs_send_one_page(workbench: Workbench, board: FakeComm) -> None:
    """However many jobs change, what goes to the browser is bounded."""
    event = {"blueprint_name": "b", "status": "running", "current_state": "s", "progress": 0.0}
    for number in range(10_000):
        workbench._feed.book.change({**event, "job_id": f"j{number}", "updated_at": float(number)})

    _until(board, lambda state: state["jobs"]["total"] == 10_000)

    assert len(board.state()["jobs"]["rows"]) == 15
    assert max(len(json.dumps(message, default=str)) for message in board.sent[1:]) < 10_000


def test_board_that_is_let_go_ends_the_listening(workbench: Workbench, board: FakeComm) -> None:
    """Nothing listens once nobody looks."""
    _until(board, lambda state: bool(state["samples"]))
    workbench._desk.outputs._shown[0].live.close()

    async def listens() -> bool:
        return workbench._feed.is_listening

    assert not workbench._background.call(listens())
