"""The audit of the storage in Redis: facts collected job by job, each job at one moment of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from itertools import islice
from typing import Any

from avtomatika.core.states import JobStatus
from avtomatika.storage.base import Fault
from avtomatika.storage.invariants import JobFacts, MailFacts, check_counts, check_job
from avtomatika.storage.redis_link import Link
from avtomatika.storage.redis_records import read_job, read_tasks, text, unpack
from avtomatika.storage.redis_scripts import Keyspace

_AT_A_TIME = 200
Run = Callable[..., Coroutine[Any, Any, Any]]


async def audit(run: Run, link: Link, keyspace: Keyspace) -> list[Fault]:
    """Returns the broken invariants.

    Engines may go on meanwhile. A fault that only shows because two looks were not at one moment is gone when it is
    looked for again; a real one stays.

    Args:
        run: runs a script.
        link: for plain commands.
        keyspace: the names of the keys.
    """
    faults = await _look(run, link, keyspace)
    if not faults:
        return []
    again = set(await _look(run, link, keyspace))
    return [fault for fault in faults if fault in again]


async def _look(run: Run, link: Link, keyspace: Keyspace) -> list[Fault]:
    faults = await _check_numbers(run)
    parents: set[str] = set()
    job_ids: list[str] = []
    async for name, facts in _scan(link, keyspace.key("facts")):
        job_ids.append(text(name))
        undelivered = facts.get(b"sent", 0) - facts.get(b"delivered", 0) - facts.get(b"dead", 0)
        if undelivered or not JobStatus(text(facts[b"status"])).is_terminal:
            parents.add(text(facts[b"parent"]))
    ids = iter(job_ids)
    while some := list(islice(ids, _AT_A_TIME)):
        answers = await asyncio.gather(*(run("inspect_job", job_id=job_id, id=job_id) for job_id in some))
        for job_id, answer in zip(some, answers, strict=True):
            # A job that was forgotten meanwhile has no faults.
            faults += _check(job_id, answer, parents) if answer else []
    return faults


async def _scan(link: Link, key: str) -> AsyncIterator[tuple[bytes, dict[bytes, Any]]]:
    """Returns each record of a hash; one that comes and goes meanwhile may be missing."""
    cursor, seen = b"0", set()
    while True:
        cursor, flat = await link.ask("HSCAN", key, cursor, "COUNT", _AT_A_TIME)
        for name, packed in zip(flat[::2], flat[1::2], strict=True):
            if name not in seen:
                seen.add(name)
                yield name, unpack(packed)
        if cursor == b"0":
            return


def _check(job_id: str, answer: Sequence[Any], parents: set[str]) -> list[Fault]:
    flat, wake_ups, timers, open_tasks, unreachable, rows, acknowledged, waiting, has_progress, mail = answer
    job = read_job(flat)
    if job is None:
        return [Fault("C", job_id, "the job is listed, but none of its fields is stored")]
    return check_job(
        JobFacts(
            job,
            wake_ups=wake_ups,
            timers=timers,
            open_tasks=read_tasks(open_tasks),
            unreachable=list(map(text, unreachable)),
            has_live_child=job_id in parents,
            rows=rows,
            acknowledged=acknowledged,
            waiting_rows=waiting,
            has_progress=has_progress,
            mail=MailFacts(*mail),
        )
    )


async def _check_numbers(run: Run) -> list[Fault]:
    """Compares the counters with what is there, and those parts of the storage that belong together."""
    flat, by_status, sizes = await run("tally", statuses=list(map(str, JobStatus)))
    counts = {text(name): int(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}
    created = counts.pop("created", 0)
    stored = {JobStatus(text(status)): number for status, number in by_status if number}
    faults = check_counts(created, {JobStatus(status): number for status, number in counts.items()}, stored)
    return faults + [
        Fault(text(letter), "", f"there are {one} {text(name)}, but {other} {text(other_name)}")
        for letter, name, one, other_name, other in sizes
        if one != other
    ]
