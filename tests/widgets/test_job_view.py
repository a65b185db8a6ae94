"""The live view of a job, with a fake front end."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

import avtomatika_widgets
from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.notebook import JobHandle, Workbench

from .conftest import FakeComm, FakeScreen

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def job(workbench: Workbench, patient: StateMachineBlueprint) -> JobHandle:
    """A job that waits for a worker."""
    return workbench.submit(patient, {"text": "hello"})


@pytest.fixture
def view(job: JobHandle, comms: list[FakeComm]) -> FakeComm:
    """Its live view, as the browser has it."""
    job._ipython_display_()
    return next(one for one in comms if "head" in one.state())


def _let_go(workbench: Workbench) -> None:
    workbench.task("shout")(lambda text: {"said": text.upper()})


def test_view_follows_the_job_and_is_frozen_at_its_end(
    workbench: Workbench, job: JobHandle, view: FakeComm, screen: FakeScreen
) -> None:
    """Live while it runs; static HTML, without any widget, once it has ended."""
    (outputs,) = screen.outputs.values()
    assert WIDGET_MIME in outputs[0]

    _let_go(workbench)

    assert screen.frozen.wait(30)
    state = view.state()
    assert (state["head"]["status"], state["head"]["state"]) == ("finished", "done")
    assert state["lit"]["current"] == "state-done"
    assert state["lit"]["edges"] == {"edge-ask--done": 1}
    assert [row[2] for row in state["events"]][-1] == "job_completed"
    assert json.loads(state["result"]) == {"said": "HELLO"}
    assert set(outputs[-1]) == {"text/plain", "text/html"}
    assert "✔ finished" in outputs[-1]["text/html"]


def test_view_that_its_page_has_let_go_is_closed(workbench: Workbench, view: FakeComm, screen: FakeScreen) -> None:
    """After the freeze the page drops the live view, and the kernel its widget."""
    view.say({"kind": "shown"})
    _let_go(workbench)
    assert screen.frozen.wait(30)

    view.say({"kind": "hidden"})

    assert view.closed.wait(10)


def test_ended_job_is_static_from_the_start(
    workbench: Workbench, job: JobHandle, screen: FakeScreen, comms: list[FakeComm]
) -> None:
    """Nothing can happen any more, so nothing needs to be live; ``watch`` shows its history all the same."""
    job.cancel()

    with pytest.raises(NotImplementedError):
        job._ipython_display_()
    assert screen.outputs == {}
    job.watch()
    assert WIDGET_MIME in next(iter(screen.outputs.values()))[0]


@pytest.mark.parametrize("way", ["gate", "notebook"])
def test_cancel_button_ends_the_job(job: JobHandle, view: FakeComm, way: str) -> None:
    """Over the gate while the kernel is blocked, and over the notebook's connection where that is not reached."""
    told = _ask(view, {"do": "cancel"}, way)

    assert told == {"done": "cancel"}
    assert job.wait(10).status == "cancelled"


@pytest.mark.parametrize("way", ["gate", "notebook"])
def test_question_that_cannot_be_answered_is_told(job: JobHandle, view: FakeComm, way: str) -> None:
    """The sentence comes back to the view."""
    assert "cannot ask for 'dance'" in _ask(view, {"do": "dance"}, way)["error"]
    job.cancel()
    assert "cannot be cancelled any more" in _ask(view, {"do": "cancel"}, way)["error"]


def test_state_is_told_with_its_source(view: FakeComm) -> None:
    """A click on a state shows the handler as it was written."""
    told = _ask(view, {"do": "state", "name": "ask"}, "notebook")

    (handler,) = told["handlers"]
    assert "actions.dispatch_task" in handler["source"]
    assert told["visits"][0]["is_here"]


def test_moment_of_the_past_is_told(view: FakeComm) -> None:
    """The slider goes back in the history."""
    told = _ask(view, {"do": "moment", "sequence": 2}, "notebook")

    assert (told["event"], told["lit"]["current"]) == ("state_started", "state-ask")


def test_broken_job_can_be_requeued_from_its_view(workbench: Workbench, comms: list[FakeComm]) -> None:
    """A job in quarantine stays live for a while, with a button that lets it go on."""
    bp, is_sound = StateMachineBlueprint("fragile"), threading.Event()

    @bp.handler_for("only", is_start=True)
    async def only(actions: ActionFactory) -> None:
        if not is_sound.is_set():
            raise RuntimeError("oops")
        actions.transition_to("end")

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    with Workbench("second", live=True, JOB_MAX_RETRIES=0) as bench:
        bench._desk.outputs._screen = FakeScreen()
        job = bench.submit(bp)
        job.watch()
        view = next(one for one in comms if "head" in one.state())
        assert job.wait(30).status == "quarantined"
        is_sound.set()

        assert _ask(view, {"do": "requeue"}, "notebook") == {"done": "requeue"}

        assert job.wait(30).status == "finished"


@pytest.fixture
def deciding() -> StateMachineBlueprint:
    """A blueprint whose jobs wait for a person."""
    bp = StateMachineBlueprint("deciding")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Ship it?", transitions={"approved": "shipped", "rejected": "kept"})

    @bp.handler_for("shipped", is_end=True)
    async def shipped() -> None: ...

    @bp.handler_for("kept", is_end=True)
    async def kept() -> None: ...

    return bp


def test_decision_is_given_with_a_button(
    workbench: Workbench, comms: list[FakeComm], deciding: StateMachineBlueprint
) -> None:
    """The question and its answers are shown, the token of the link is not; a wrong answer is refused in a sentence."""
    job = workbench.submit(deciding)
    job._ipython_display_()
    view = next(one for one in comms if "head" in one.state())
    with view.arrived:
        assert view.arrived.wait_for(lambda: view.state()["head"]["approval"], 20)
    assert view.state()["head"]["approval"]["message"] == "Ship it?"
    assert view.state()["head"]["approval"]["decisions"] == ["approved", "rejected"]
    assert "token" not in json.dumps(view.state(), default=str)

    assert "error" in _ask(view, {"do": "approve", "decision": "perhaps"}, "gate")
    assert _ask(view, {"do": "approve", "decision": "rejected"}, "gate") == {"done": "approve"}

    assert job.wait(20).state == "kept"


def test_job_is_forked_from_a_moment_of_its_history(workbench: Workbench, job: JobHandle, view: FakeComm) -> None:
    """A new job begins in the state of that moment, and this one goes on; before the first state there is nothing."""
    _ask(view, {"do": "state", "name": "ask"}, "notebook")

    told = _ask(view, {"do": "fork", "sequence": 3}, "notebook")

    assert workbench.job(told["job"]).view["forked_from"] == job.id
    assert "entered no state" in _ask(view, {"do": "fork", "sequence": 1}, "notebook")["error"]
    assert not job.is_terminal


def test_capability_is_never_in_a_trait(view: FakeComm) -> None:
    """What is saved with a notebook must open nothing."""
    secret = view.wait_for("gate")["capability"]

    assert secret not in json.dumps([message.get("state") for message in view.sent], default=str)


def test_view_is_small(view: FakeComm) -> None:
    """What a live view brings along stays under 40 kB of script and 200 kB in all."""
    scripts = list(Path(avtomatika_widgets.__file__).parent.glob("static/*.js"))

    assert sum(path.stat().st_size for path in scripts) < 40_000
    assert len(json.dumps(view.sent[0], default=str)) < 200_000


def _ask(view: FakeComm, question: dict[str, Any], way: str) -> dict[str, Any]:
    """Asks as the view's script does."""
    if way == "notebook":
        number = len(view.sent)
        view.say({"kind": "ask", "number": number, "ask": question})
        with view.arrived:
            assert view.arrived.wait_for(
                lambda: any(answer["number"] == number for answer in view.custom("answer")), 20
            )
        return dict(next(answer["answer"] for answer in view.custom("answer") if answer["number"] == number))

    async def fetch() -> dict[str, Any]:
        gate = view.wait_for("gate")
        body = json.dumps({"view": gate["view"], "capability": gate["capability"], "ask": question})
        headers = {"Origin": "http://localhost:8888", "Content-Type": "text/plain"}
        async with ClientSession() as session, session.post(gate["url"], data=body, headers=headers) as response:
            assert response.status == 200
            return dict(await response.json())

    return asyncio.run(fetch())


@pytest.fixture
def tiny_switch_interval() -> Iterator[None]:
    """Lets threads take turns after a few instructions, so that a race happens soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_pump_and_browser_do_not_race(
    workbench: Workbench,
    job: JobHandle,
    view: FakeComm,
    tiny_switch_interval: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The browser sets traits and asks in two threads while the pump sends: no error, and nothing is lost."""
    widget = workbench._desk.outputs._shown.pop().live  # the threads below are its pump
    errors: list[BaseException] = []
    rounds = 3000

    def guarded(work: Any) -> None:
        try:
            for number in range(rounds):
                work(number)
        except BaseException as error:
            errors.append(error)

    def pump(number: int) -> None:
        widget.refresh()

    def browse(number: int) -> None:
        view.set(trouble=f"t{number}")

    def ask(number: int) -> None:
        view.say({"kind": "ask", "number": number, "ask": {"do": "moment", "sequence": 1}})

    count = itertools.count()
    monkeypatch.setattr(
        widget,
        "model",
        lambda: {name: str(next(count)) for name in ("graph", "data", "result")} | {"lit": {"n": next(count)}},
    )
    threads = [threading.Thread(target=guarded, args=(work,)) for work in (pump, pump, pump, browse, browse, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []
    with view.arrived:
        assert view.arrived.wait_for(lambda: len(view.custom("answer")) == rounds, 30)
    heard = view.state()
    assert {name: heard[name] for name in ("graph", "data", "result", "lit")} == {
        "graph": widget.graph,
        "data": widget.data,
        "result": widget.result,
        "lit": widget.lit,
    }
