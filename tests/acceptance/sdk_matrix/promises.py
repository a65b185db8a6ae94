"""What every release is promised: each function tries one promise with the workers of one release.

It returns when the promise was kept, raises ``Impossible`` if this release cannot, and anything else if it was broken.
Those in ``TOGETHER`` share a running engine; the others follow each other, since they stop it or a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from avtomatika.core.states import TaskStatus

from .field import RETRIES, TASK_KEY, Field, Seat, SlowTask, until
from .secure_field import SecureField


class Impossible(Exception):  # noqa: N818 - no error but an answer
    """This release cannot do it, whatever the server does."""


Promise = Callable[[Field, Seat], Awaitable[None]]
SecurePromise = Callable[[SecureField, Seat], Awaitable[None]]
RestartPromise = Callable[[Field, Seat], AsyncIterator[None]]
"""A promise in three parts: before the engine stops, while it is away, and after it has come back."""

_TRANSIENT = ("quarantined", 1 + RETRIES)
# Contract, section 3: what becomes of the job by the code of the failure, and after how many attempts.
_OUTCOMES = {
    None: _TRANSIENT,
    "TRANSIENT_ERROR": _TRANSIENT,
    "RESOURCE_EXHAUSTED_ERROR": _TRANSIENT,
    "TIMEOUT_ERROR": _TRANSIENT,
    "INTERNAL_ERROR": _TRANSIENT,
    "SOME_CODE_OF_MINE": _TRANSIENT,
    "PERMANENT_ERROR": ("quarantined", 1),
    "SECURITY_ERROR": ("quarantined", 1),
    "DEPENDENCY_ERROR": ("quarantined", 1),
    "INVALID_INPUT_ERROR": ("failed", 1),
    "INTEGRITY_MISMATCH_ERROR": ("failed", 1),
    "CONTRACT_VIOLATION_ERROR": ("failed", 1),
}


async def completes(field: Field, seat: Seat) -> None:
    """Both workers do tasks; params go out, data come back; both are listed with their skills."""
    for worker in (seat.wired, seat.plain):
        params = {"text": "ключ", "number": 1.5, "nested": {"list": [1, None, True]}}
        job = await field.done(f"echo-{worker.worker_id}", params)
        assert (job["status"], job["current_state"]) == ("finished", "done"), job
        echoed = job["result"]["answer"]["echo"]
        assert (echoed["text"], echoed["number"]) == ("ключ", 1.5)
        assert await field.starts(job["id"]) == [worker.worker_id]
        listed = {one["worker_id"]: one for one in await field.client.workers()}[worker.worker_id]
        assert {f"{name}-{seat.name}" for name in ("echo", "fail", "give", "throw", "slow")} <= set(listed["skills"])


async def answers_in_own_words(field: Field, seat: Seat) -> None:
    """A word of the worker's own follows its transition; an unknown one fails the job and is named."""
    known = await field.done(f"give-{seat.name}", {"status": "needs_review"})
    unknown = await field.done(f"give-{seat.name}", {"status": "needs_coffee"})
    assert (known["status"], known["current_state"]) == ("finished", "review"), known
    assert unknown["status"] == "failed", unknown
    assert "needs_coffee" in unknown["error_message"]


async def gives_any_data(field: Field, seat: Seat) -> None:
    """Data of a result may be a text, a list, or nothing."""
    if not seat.release.gives_bare_data:
        raise Impossible("data of this release are objects")
    task = f"give-{seat.name}"
    for data in ("text", [1, 2], {"a": {"b": 1}}, None):
        job = await field.done(task, {} if data is None else {"data": data})
        expected = {} if data is None else data if isinstance(data, dict) else {task: data}
        assert (job["status"], job["result"]["answer"]) == ("finished", expected), job


async def fails(field: Field, seat: Seat) -> None:
    """The code of a failure decides between retry, quarantine and failure; an exception is a failure that may pass."""

    async def outcome(code: str | None) -> tuple[str, int]:
        job = await field.done(f"fail-{seat.name}", {} if code is None else {"code": code})
        return job["status"], len(await field.starts(job["id"]))

    outcomes = await asyncio.gather(*map(outcome, _OUTCOMES))
    assert dict(zip(_OUTCOMES, outcomes, strict=True)) == _OUTCOMES
    thrown = await field.done(f"throw-{seat.name}")
    assert (thrown["status"], len(await field.starts(thrown["id"]))) == _TRANSIENT, thrown
    guarded = await field.done(f"fail-{seat.name}", {"code": "PERMANENT_ERROR"}, guarded=True)
    assert guarded["result"] == {"code": "PERMANENT_ERROR", "attempt": 1}, guarded


async def is_retried(field: Field, seat: Seat) -> None:
    """A failure that passes leaves a finished job."""
    job = await field.done(f"fail-{seat.plain.worker_id}", {"code": "TRANSIENT_ERROR", "times": 1})
    assert (job["status"], len(await field.starts(job["id"]))) == ("finished", 2), job


async def shares_many(field: Field, seat: Seat) -> None:
    """Two workers share thirty tasks: none is lost, none is done twice."""
    jobs = await asyncio.gather(*(field.done(f"echo-{seat.name}", {"n": n}) for n in range(30)))
    assert [job["result"]["answer"]["echo"]["n"] for job in jobs] == list(range(30))
    starts = await asyncio.gather(*(field.starts(job["id"]) for job in jobs))
    assert {len(workers) for workers in starts} == {1}


async def works_in_parallel(field: Field, seat: Seat) -> None:
    """Three tasks run at once and are named in the heartbeat; a full worker gets no fourth one."""
    worker = seat.plain.worker_id
    tasks = [field.slow() for _ in range(4)]
    jobs = []
    for task in tasks[:3]:
        jobs.append(await field.submit(f"slow-{worker}", task.params()))
        await until(lambda task=task: task.has_started, "the task starts")  # type: ignore[misc]
    jobs.append(await field.submit(f"slow-{worker}", tasks[3].params()))
    wire_ids = {task.wire_id for job_id in jobs[:3] for task in await field.storage.list_tasks(job_id)}

    async def names_them() -> bool:
        profile = await field.storage.find_worker(worker)
        return profile is not None and set(profile.current_tasks or ()) == wire_ids

    if seat.release.names_its_tasks:
        await until(names_them, f"the heartbeat names {wire_ids}")
    else:
        await two_heartbeats(field, worker)
    assert not tasks[3].has_started, "a full worker got a task"
    for task in tasks:
        task.end()
    assert [(await field.ended(job_id))["status"] for job_id in jobs] == ["finished"] * 4


async def two_heartbeats(field: Field, worker_id: str) -> None:
    """Returns after two heartbeats: the second one was sent after now."""
    seen = set()

    async def beat_twice() -> bool:
        profile = await field.storage.find_worker(worker_id)
        seen.add(profile.seen_at if profile else 0.0)
        return len(seen) == 3

    await until(beat_twice, "two heartbeats")


async def reports_over_the_socket(field: Field, seat: Seat) -> None:
    """Progress is the job's while the task runs."""
    await _reports(field, seat.wired.worker_id)


async def reports_by_post(field: Field, seat: Seat) -> None:
    """Progress without a WebSocket."""
    if not seat.release.posts_events:
        raise Impossible("progress of this release needs a WebSocket")
    await _reports(field, seat.plain.worker_id)


async def _reports(field: Field, worker_id: str) -> None:
    task = field.slow()
    job_id = await field.submit(f"slow-{worker_id}", task.params(progress=0.25))

    async def is_shown() -> bool:
        job = await field.client.job(job_id)
        return (job["progress"], job["progress_message"]) == (0.25, "as asked")

    await until(is_shown, "the progress is the job's")
    task.end()
    assert (await field.ended(job_id))["progress"] == 1.0


async def is_cancelled_over_the_socket(field: Field, seat: Seat) -> None:
    """The function is interrupted at once, and what the worker still says changes nothing."""
    task, job_id = await _begun(field, seat.wired.worker_id)
    answer = await field.client.cancel(job_id)
    await until(lambda: task.was_interrupted, "the function is interrupted")
    await _ignored(field, job_id, "cancelled")
    assert answer == "cancellation_request_sent"


async def is_cancelled_by_heartbeat(field: Field, seat: Seat) -> None:
    """The answer to a heartbeat interrupts the function."""
    if not seat.release.hears_heartbeats:
        raise Impossible("this release reads nothing in the answer to a heartbeat")
    task, job_id = await _begun(field, seat.plain.worker_id)
    await field.client.cancel(job_id)
    await until(lambda: task.was_interrupted, "the function is interrupted")
    await _ignored(field, job_id, "cancelled")


async def late_success_is_ignored(field: Field, seat: Seat) -> None:
    """A function that works on in spite of the cancellation changes nothing; the worker hears why."""
    task, job_id = await _begun(field, seat.plain.worker_id, stubborn=True)
    await field.client.cancel(job_id)
    if seat.release.hears_heartbeats:
        # Told while it sends the result, it would stop the sending.
        await until(lambda: task.was_interrupted, "the function is interrupted")
    task.end()
    await _ignored(field, job_id, "success")
    assert (await field.client.job(job_id))["status"] == "cancelled"


async def result_is_sent_again(field: Field, seat: Seat) -> None:
    """A connection that breaks after the result was taken: it is sent again, accepted again, and counts once."""
    task, job_id = await _begun(field, seat.plain.worker_id)
    field.records.cut.add(job_id)
    task.end()
    job = await field.ended(job_id)
    assert job["result"]["answer"]["waited"], job
    await until(lambda: len(_answers(field, job_id)) >= 2, "the result comes again")
    assert {answer["status"] for _, _, _, answer in _answers(field, job_id)} == {"accepted"}
    rows = [row["event_type"] for row in await field.client.history(job_id)]
    assert rows.count("task_finished") == 1


async def wrong_token_is_refused(field: Field, seat: Seat) -> None:
    """A worker with a wrong token is told 403, is not listed, asks for no other token and does not flood the engine."""
    token = f"wrong-{seat.name}"
    worker = field.start_worker(seat.python, f"{seat.name}-refused", WORKER_TOKEN=token)
    calls = field.records.refused
    await until(lambda: any(told == token for told, _ in calls), "it calls")
    before = sum(number for (told, _), number in calls.items() if told == token)
    await two_heartbeats(field, seat.plain.worker_id)
    after = sum(number for (told, _), number in calls.items() if told == token)
    await asyncio.to_thread(worker.kill)
    assert after - before < 30, f"{after - before} calls while others had two heartbeats"
    assert not any("auth" in path for told, path in calls if told == token)
    assert worker.worker_id not in {one["worker_id"] for one in await field.client.workers()}


async def signs_its_messages(field: Field, seat: Seat) -> None:
    """The engine demands signatures and finds all of them right: of registrations, heartbeats, results, events."""
    if not seat.release.signs:
        raise Impossible("this release does not sign")
    seen = field.records.signatures[seat.plain.worker_id]
    assert seen == {(kind, "right") for kind in ("register", "heartbeat", "result", "event")}, seen


async def takes_signed_tasks(field: Field, seat: Seat) -> None:
    """A worker that demands signed tasks does them, whatever is in their params."""
    if not seat.release.checks_signatures:
        raise Impossible("this release does not look at the signatures of tasks")
    worker = field.start_worker(seat.python, f"{seat.name}-strict", ORCHESTRATOR_SECRET_KEY=TASK_KEY)
    params = {"whole": 5.0, "share": 0.25, "tiny": 0.00001, "none": None, "nested": {"ключ": [1, None, {"a": None}]}}
    job = await field.done(f"echo-{worker.worker_id}", params)
    assert (job["status"], job["result"]["answer"]["echo"]["share"]) == ("finished", 0.25), job
    await asyncio.to_thread(worker.kill)


async def survives_a_restart(field: Field, seat: Seat) -> AsyncIterator[None]:
    """The engine stops while a task runs and comes back: the result reaches it and counts, in one attempt."""
    task, job_id = await _begun(field, seat.plain.worker_id)
    yield  # the engine stops
    task.end()
    yield  # it starts again
    job = await field.ended(job_id)
    tasks = await field.storage.list_tasks(job_id)
    assert (job["status"], job["result"]["answer"]["waited"]) == ("finished", True), job
    assert [(task.attempt, task.deliveries) for task in tasks] == [(1, 1)]


async def survives_an_empty_memory(field: Field, seat: Seat) -> AsyncIterator[None]:
    """An engine that comes back knowing nothing knows its workers again without their restart, and gives them tasks."""
    yield  # the engine stops and forgets
    yield  # it starts again
    workers = (seat.wired.worker_id, seat.plain.worker_id)

    async def are_known() -> bool:
        listed = {one["worker_id"]: set(one["skills"]) for one in await field.client.workers()}
        return all(f"echo-{worker_id}" in listed.get(worker_id, ()) for worker_id in workers)

    jobs = await asyncio.gather(*(field.done(f"echo-{worker_id}", {"n": 2}) for worker_id in workers))
    await until(are_known, "the workers are known again")
    assert [job["result"]["answer"]["echo"] for job in jobs] == [{"n": 2}] * 2


async def works_over_tls(field: SecureField, seat: Seat) -> None:
    """Known by its certificate; another's is refused; with the token that it asks for, it works and signs on."""
    if not seat.release.speaks_tls:
        raise Impossible("this release cannot be given certificates")
    worker = field.start_secure_worker(seat.python, f"{seat.name}-tls", f"{seat.name}-tls").worker_id
    impostor = field.start_secure_worker(seat.python, f"{seat.name}-impostor", worker)
    before = await field.did(f"echo-{worker}", {"n": 1})
    await until(lambda: field.issued.count(worker) > 0, "it asks for a token of its own")
    await two_heartbeats(field, worker)
    after = await field.did(f"echo-{worker}", {"n": 2})
    assert [job.status for job in (before, after)] == ["finished", "finished"]
    assert {verdict for _, verdict in field.records.signatures[worker]} <= {"right"}
    assert await field.storage.find_worker(impostor.worker_id) is None
    for process in field.workers:
        if process.worker_id in {worker, impostor.worker_id}:
            await asyncio.to_thread(process.kill)


async def drains(field: Field, seat: Seat) -> None:
    """SIGTERM during a task: it is finished and counts; a release that just ends has it done by another worker."""
    task, job_id = await _begun(field, seat.wired.worker_id, skill=f"slow-{seat.wired.worker_id}")
    if not seat.release.drains:
        await _ends_at_once(field, seat, task, job_id)
        return
    seat.wired.terminate()
    if seat.release.says_goodbye:
        await until(lambda: seat.wired.worker_id in field.records.goodbyes, "the worker says goodbye")
    assert not seat.wired.is_gone
    task.end()
    job = await field.ended(job_id)
    assert (job["status"], await field.starts(job_id)) == ("finished", [seat.wired.worker_id]), job
    await until(lambda: seat.wired.is_gone, "the process ends")


async def _ends_at_once(field: Field, seat: Seat, task: SlowTask, job_id: str) -> None:
    """The process is gone with its task; the next worker with the skill does it."""
    await asyncio.to_thread(seat.wired.kill)
    field.start_worker(seat.python, f"{seat.name}-next", seat.wired.worker_id)
    task.end()
    job = await field.ended(job_id)
    assert (job["status"], (await field.starts(job_id))[-1]) == ("finished", f"{seat.name}-next"), job


async def gives_back_what_it_cannot_finish(field: Field, seat: Seat) -> None:
    """A worker that is out of time cancels its task by itself; the job goes on and waits for the next worker."""
    if not seat.release.says_goodbye:
        raise Impossible("this release says nothing when it goes")
    worker = field.start_worker(seat.python, f"{seat.name}-hasty", WORKER_SHUTDOWN_TIMEOUT="0.5")
    task, job_id = await _begun(field, worker.worker_id)
    worker.terminate()
    await until(lambda: worker.is_gone, "the process ends")

    async def waits() -> bool:
        (stored,) = await field.storage.list_tasks(job_id)
        return stored.status is TaskStatus.QUEUED and stored.attempt == 1

    await until(waits, "the task waits again")
    assert task.was_interrupted
    assert (await field.client.job(job_id))["status"] == "waiting_for_worker"


async def _begun(field: Field, worker_id: str, skill: str = "", **params: Any) -> tuple[SlowTask, str]:
    """Returns a slow task that the worker works on, and its job."""
    task = field.slow()
    job_id = await field.submit(skill or f"slow-{worker_id}", task.params(**params))
    await until(lambda: task.has_started, "the task starts")
    return task, job_id


def _answers(field: Field, job_id: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [record for record in field.records.results if record[1] == job_id]


async def _ignored(field: Field, job_id: str, status: str) -> None:
    """Returns when the job's worker has sent a result of that status and heard that the job was cancelled."""
    await until(lambda: bool(_answers(field, job_id)), "the worker sends a result")
    _, _, told, answer = _answers(field, job_id)[0]
    assert (told, answer["status"], answer["reason"]) == (status, "ignored", "job_cancelled")


TOGETHER: dict[str, Promise] = {
    "does tasks": completes,
    "own words": answers_in_own_words,
    "any data": gives_any_data,
    "failures": fails,
    "retry": is_retried,
    "many at once": shares_many,
    "in parallel": works_in_parallel,
    "progress (socket)": reports_over_the_socket,
    "progress (post)": reports_by_post,
    "cancel (socket)": is_cancelled_over_the_socket,
    "cancel (heartbeat)": is_cancelled_by_heartbeat,
    "late success": late_success_is_ignored,
    "lost answer": result_is_sent_again,
    "wrong token": wrong_token_is_refused,
    "signatures": signs_its_messages,
    "signed tasks": takes_signed_tasks,
}
"""What is tried while the engine runs, by the name that the table gives it."""
RESTARTS: dict[str, RestartPromise] = {"restart": survives_a_restart, "empty memory": survives_an_empty_memory}
"""What stops the engine, for all releases at the same time; the last one finds an engine that has forgotten all."""
FAREWELLS: dict[str, Promise] = {"SIGTERM": drains, "out of time": gives_back_what_it_cannot_finish}
"""What ends a worker."""
SECURE: dict[str, SecurePromise] = {"TLS and new tokens": works_over_tls}
"""What is tried at an engine that speaks TLS."""
PROMISES = (*TOGETHER, *SECURE, *RESTARTS, *FAREWELLS)
"""Their names, in the order of the table."""
