"""Job handles: waiting, results, and how they look."""

from __future__ import annotations

import _thread
import asyncio
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.errors import AvtomatikaError, ClientError, JobFailedError
from avtomatika.notebook import JobHandle, Workbench


@pytest.fixture
def waiting(workbench: Workbench, patient: StateMachineBlueprint) -> JobHandle:
    """The handle of a job that waits for a worker."""
    return workbench.submit(patient, {"text": "hello"})


def _let_go(workbench: Workbench) -> None:
    """Gives the waiting jobs the worker that they wait for."""

    @workbench.task("shout")
    def shout(text: str) -> dict[str, str]:
        return {"said": text.upper()}


def test_result_is_what_the_last_handler_returned(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """From submit to result, with everything that the handle knows of the job."""
    job = workbench.submit(doubling, {"number": 21})

    assert job.result(timeout=30) == {"double": 42}
    assert (job.status, job.state, job.is_terminal) == ("finished", "done", True)
    assert [event["event_type"] for event in job.events][:2] == ["job_created", "state_started"]
    assert job.events[-1]["event_type"] == "job_completed"
    assert list(job.history()["event_type"]) == [event["event_type"] for event in job.events]


def test_files_are_sent_listed_and_fetched(waiting: JobHandle, tmp_path: Path) -> None:
    """From a cell to the job and back, in plain code."""
    sent = waiting.upload(b"hello", "in/a.txt")

    assert waiting.files() == waiting.files("in/") == [sent]
    assert waiting.download("in/a.txt", tmp_path).read_text() == "hello"
    with pytest.raises(ClientError) as caught:
        waiting.download("missing", tmp_path)
    assert caught.value.status == 404


def test_result_of_a_failed_job_raises_with_the_reason(workbench: Workbench) -> None:
    """The error says how the job ended and why; ``wait`` does not raise."""
    bp = StateMachineBlueprint("breaking")

    @bp.handler_for("only", is_start=True)
    async def only(actions: ActionFactory, number: int) -> None:
        actions.dispatch_task("t", {"never": number}, transitions={"success": "end"})

    @bp.handler_for("end", is_end=True)
    async def end() -> None: ...

    job = workbench.submit(bp, {"nubmer": 1})

    with pytest.raises(JobFailedError, match=r"asks for argument 'number'.*Did you mean 'nubmer'") as caught:
        job.result(timeout=30)
    assert (caught.value.job_id, caught.value.status) == (job.id, job.status)
    assert job.wait() is job


def test_failure_that_the_blueprint_foresees_is_told_by_its_result(
    workbench: Workbench, doubling: StateMachineBlueprint
) -> None:
    """Where no error made the job fail, what its end state returned is the reason."""
    with pytest.raises(JobFailedError, match=r"is failed: it ended in state 'rejected' with .*there is no number"):
        workbench.submit(doubling).result(timeout=30)


def test_wait_that_takes_too_long_says_where_the_job_stands(waiting: JobHandle) -> None:
    """The job goes on, and the sentence says how to end it."""
    for timeout in (0, 0.01):
        with pytest.raises(
            TimeoutError, match=rf"job {waiting.id} is still .* after {timeout} s\. It goes on: .*cancel.*explain"
        ):
            waiting.result(timeout=timeout)

    assert not waiting.is_terminal


def test_handle_explains_what_its_job_waits_for(waiting: JobHandle) -> None:
    """In code as in the live view."""
    waiting.cancel()

    told = waiting._desk.background.call(waiting._ask({"do": "explain"}))

    for reasons in (waiting.explain(), told["reasons"]):
        assert reasons[0].startswith("The job is cancelled since ")


@pytest.mark.usefixtures("hears_interrupts")
def test_interrupt_ends_the_waiting_not_the_job(
    workbench: Workbench,
    waiting: JobHandle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C says how to cancel, and leaves the job alone."""
    wait = workbench._background.wait

    def interrupted(future: Future[Any], timeout: float | None) -> bool:
        _thread.interrupt_main()
        return wait(future, timeout)

    monkeypatch.setattr(workbench._background, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        waiting.result()
    monkeypatch.undo()

    assert capsys.readouterr().err == f"The waiting was interrupted; job {waiting.id} goes on. job.cancel() ends it.\n"
    _let_go(workbench)
    assert waiting.result(timeout=30) == {"said": "HELLO"}


def test_cancel_ends_a_job_that_runs(waiting: JobHandle) -> None:
    """The handle shows the end at once; a second cancel is refused, and the result says what happened."""
    assert waiting.cancel() is waiting

    assert waiting.status == "cancelled"
    with pytest.raises(ClientError) as caught:
        waiting.cancel()
    assert caught.value.status == 409
    with pytest.raises(JobFailedError, match="is cancelled"):
        waiting.result()


async def test_jobs_can_be_awaited_together(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """``await`` works in another event loop than the engine's, for several jobs and several times for one."""
    jobs = [workbench.submit(doubling, {"number": number}) for number in range(5)]

    results = await asyncio.gather(*jobs, jobs[0])

    assert results == [{"double": 2 * number} for number in (*range(5), 0)]
    assert await jobs[0] == {"double": 0}


async def test_awaited_failure_raises(workbench: Workbench, waiting: JobHandle) -> None:
    """``await`` raises as ``result`` does."""
    waiting.cancel()

    with pytest.raises(JobFailedError):
        await waiting


async def test_await_that_is_cancelled_leaves_the_job_followed(workbench: Workbench, waiting: JobHandle) -> None:
    """A timeout around ``await`` ends neither the job nor the handle's hearing of it."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.01)

    _let_go(workbench)
    assert await asyncio.wait_for(waiting, 30) == {"said": "HELLO"}


def test_loop_that_is_closed_before_the_job_ends_does_no_harm(
    workbench: Workbench, waiting: JobHandle, capfd: pytest.CaptureFixture[str]
) -> None:
    """``asyncio.run`` around a wait that gives up leaves nothing that would print an error later."""
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(waiting, 0.01))  # type: ignore[arg-type] - wait_for takes any awaitable

    _let_go(workbench)
    waiting.wait(timeout=30)

    assert capfd.readouterr() == ("", "")


def test_stop_releases_whoever_waits_for_a_job(workbench: Workbench, waiting: JobHandle) -> None:
    """The end of the workbench is told in a sentence, to those who wait and to those who ask afterwards."""
    errors: list[str] = []

    def wait() -> None:
        try:
            waiting.result()
        except AvtomatikaError as error:
            errors.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    workbench.stop()
    thread.join(10)

    assert len(errors) == 1
    assert errors[0].startswith(f"the workbench was stopped while job {waiting.id} was ")
    with pytest.raises(AvtomatikaError, match="workbench was stopped while"):
        waiting.wait()
    with pytest.raises(AvtomatikaError, match="workbench is stopped"):
        waiting.cancel()


def test_following_goes_on_when_the_engine_was_silent_for_a_while(
    workbench: Workbench, waiting: JobHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocked engine or a failing answer delays what the handle hears, and loses nothing."""
    failing, errors = threading.Event(), [ClientError(500, "internal_error", "no"), ClientError(0, "gone", "no")]
    history = workbench._client.history

    async def fail_twice(job_id: str) -> list[dict[str, Any]]:
        if errors:
            failing.set()
            raise errors.pop()
        return await history(job_id)

    monkeypatch.setattr("avtomatika.notebook.handles._RETRY_SECONDS", 0.0)
    monkeypatch.setattr(workbench._client, "history", fail_twice)
    _let_go(workbench)

    assert waiting.result(timeout=30) == {"said": "HELLO"}
    assert failing.is_set()


def test_hundreds_of_waiting_jobs_leave_room_for_another(
    workbench: Workbench, patient: StateMachineBlueprint, doubling: StateMachineBlueprint
) -> None:
    """A waiting job holds no connection; else the hundredth would keep all others waiting."""
    for number in range(120):
        workbench.submit(patient, {"text": str(number)})

    job = workbench.submit(doubling, {"number": 1})

    assert job.result(timeout=10) == {"double": 2}


def test_text_is_short_and_stable(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """A terminal shows one line, the same each time."""
    job = workbench.submit(doubling, {"number": 1}).wait(30)

    assert repr(job) == f"JobHandle({job.id}, doubling: finished in 'done')"
    assert job._repr_mimebundle_() == job._repr_mimebundle_()
    assert job._repr_mimebundle_()["text/plain"] == repr(job)


def test_handle_of_an_ended_job_knows_its_history_at_once(
    workbench: Workbench, doubling: StateMachineBlueprint
) -> None:
    """The first look at an old job shows all of it."""
    ended = workbench.submit(doubling, {"number": 1}).wait(30)

    assert [event["event_type"] for event in workbench.job(ended.id).events][-1] == "job_completed"


def test_handles_show_themselves_without_network_in_every_phase(
    workbench: Workbench, waiting: JobHandle, doubling: StateMachineBlueprint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the job runs, when it has ended, and after the stop: what is known is shown, nothing is asked."""
    ended = workbench.submit(doubling, {"number": 1}).wait(30)

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a repr asks for something")

    def show_all() -> list[str]:
        with monkeypatch.context() as blocked:
            blocked.setattr(socket, "socket", refuse)
            blocked.setattr(workbench._background, "submit", refuse)
            return [bundle[kind] for bundle in _bundles(waiting, ended, workbench) for kind in sorted(bundle)]

    running = show_all()
    workbench.stop()
    stopped = show_all()

    assert all(running)
    assert stopped[:4] == running[:4]
    assert "is stopped" in stopped[4]


def _bundles(*shown: Any) -> list[dict[str, str]]:
    return [thing._repr_mimebundle_() for thing in shown]
