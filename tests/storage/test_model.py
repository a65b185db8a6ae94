"""Random steps against a storage and against a plain model of the contract; after each one the two must agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace

from avtomatika.core.states import TaskStatus
from avtomatika.storage.base import JobQuery, Queue, RecordWrite, Storage, TaskClaim
from avtomatika.testing import FakeClock

from .committing_machine import (
    KEYS,
    LEASES,
    PICK,
    PRIORITIES,
    QUEUES,
    SECONDS,
    TOPICS,
    WORKERS,
    WRITES,
    CommittingMachine,
)


class StorageMachine(CommittingMachine):
    """Makes all other random steps, and compares what there is after each."""

    @initialize(
        at=SECONDS,
        tasks=st.lists(st.tuples(QUEUES, PRIORITIES, SECONDS), min_size=2, max_size=4),
        claims=st.integers(0, 2),
    )
    def begin(self, at: int, tasks: list[tuple[str, float, int]], claims: int) -> None:
        """Two jobs with tasks, one of which may have passed from one worker to another: so steps meet something."""
        for job_id in ("j1", "j2"):
            self.create(job_id, at, at, 0.0, dedupe=0)
            self.step(job_id, 1, None, False, None, None, None, False, False, tasks)
        for worker_id in ("w1", "w2")[:claims]:
            self.claim_task(worker_id, {"a", "b"}, 5)
            if claims == 2:
                self.report(0, "again", False)

    @rule(owner=st.sampled_from(["e1", "e2"]), limit=st.integers(0, 3), lease=LEASES)
    def claim_jobs(self, owner: str, limit: int, lease: int) -> None:
        """Claims due jobs."""
        expected = self.model.claimable()[:limit]

        claims = self.run(self.storage.claim_jobs(owner, limit, lease))

        assert [claim.job.id for claim in claims] == expected
        for claim in claims:
            wake = self.model.wakes[claim.job.id]
            assert claim.token not in self.tokens
            assert claim.job == self.model.jobs[claim.job.id]
            wake.token, wake.owner, wake.until = claim.token, owner, self.model.now + lease
            wake.deliveries += 1
            assert claim.deliveries == wake.deliveries
            self.tokens.append(claim.token)

    @rule(pick=PICK, lease=LEASES)
    def extend(self, pick: int, lease: int) -> None:
        """Extends some claims that were made at some time."""
        tokens = self.tokens[pick % (len(self.tokens) + 1) :][:3]
        lost = self.run(self.storage.extend_claims(tokens, lease))

        assert lost == [token for token in tokens if self.model.owner_of(token) is None]
        for job_id in filter(None, map(self.model.owner_of, tokens)):
            self.model.wakes[job_id].until = self.model.now + lease

    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        """Gives some claims back that were made at some time."""
        tokens = self.tokens[pick % (len(self.tokens) + 1) :][:2]
        self.run(self.storage.release_claims(tokens))

        for job_id in filter(None, map(self.model.owner_of, tokens)):
            wake = self.model.wakes[job_id]
            wake.token, wake.deliveries, wake.at = "", wake.deliveries - 1, min(wake.at, self.model.now)

    @rule(worker_id=WORKERS, queues=st.sets(QUEUES), lease=LEASES, limit=st.integers(1, 3))
    def claim_task(self, worker_id: str, queues: set[str], lease: int, limit: int = 1) -> None:
        """Lets a worker take a task, or some."""
        waiting = list(self.model.waiting(queues))

        taken = self.run(self.storage.claim_tasks(worker_id, sorted(queues), lease, limit))

        assert [task.id for task in taken.tasks] == waiting[:limit]
        assert taken.left == len(waiting[limit:])
        for task in taken.tasks:
            old, now = self.model.tasks[task.id], self.model.now
            self.model.put(
                replace(
                    old,
                    status=TaskStatus.CLAIMED,
                    worker_id=worker_id,
                    claimed_at=now,
                    lease_until=now + min(lease, old.timeout_seconds),
                    confirmed=False,
                    deliveries=old.deliveries + 1,
                )
            )
            self.model.record(task.job_id, ["task_started"])
            self.claims.append(TaskClaim(task.id, task.attempt, worker_id))

    @rule(pick=PICK, lease=LEASES)
    def renew(self, pick: int, lease: int) -> None:
        """Renews some claims that were made at some time."""
        claims = list(dict.fromkeys(self.claims[pick % (len(self.claims) + 1) :][:3]))
        expected = [claim for claim in claims if not self.renew_in_model(claim, lease)]

        assert self.run(self.storage.renew_tasks(claims, lease)) == expected

    def renew_in_model(self, claim: TaskClaim, lease: int) -> bool:
        """Renews one claim in the model; returns whether it holds."""
        if not self.model.holds(claim):
            return False
        task, now = self.model.tasks[claim.task_id], self.model.now
        assert task.claimed_at is not None
        limit = task.claimed_at + task.timeout_seconds
        can_go_on = task.status is TaskStatus.QUEUED and task.deliveries > 0 and now < limit
        if task.status is not TaskStatus.CLAIMED and not can_go_on:
            return False
        renewed = replace(task, status=TaskStatus.CLAIMED, lease_until=min(now + lease, limit), confirmed=True)
        self.model.put(renewed)
        return True

    @rule(pick=PICK)
    def release_task(self, pick: int) -> None:
        """Gives a task back that was claimed at some time."""
        if not self.claims:
            return
        claim = self.claims[pick % len(self.claims)]
        self.run(self.storage.release_task(claim))

        task = self.model.tasks[claim.task_id]
        if self.model.holds(claim) and task.status is TaskStatus.CLAIMED:
            back = {"worker_id": "", "claimed_at": None, "lease_until": None, "confirmed": False}
            self.model.put(replace(task, status=TaskStatus.QUEUED, deliveries=task.deliveries - 1, **back))
            self.model.queued.add(task.id)

    @rule(limit=st.integers(0, 3), lease=LEASES)
    def claim_timers(self, limit: int, lease: int) -> None:
        """Takes timers that are due; of those of one moment any may come first."""
        due = sorted(at for _, at in self.model.timers.values() if at <= self.model.now)

        timers = self.run(self.storage.claim_timers(limit, lease))

        keys = [(timer.job_id, timer.kind, timer.task_id) for timer in timers]
        assert [self.model.timers[key] for key in keys] == list(zip(timers, due[:limit], strict=False))
        for key, timer in zip(keys, timers, strict=True):
            self.model.timers[key] = timer, self.model.now + lease

    @rule(seconds=st.sampled_from([0, 1, 2, 5, 20]))
    def pass_time(self, seconds: int) -> None:
        """Lets time pass."""
        self.run(self.clock.advance(seconds))
        self.model.now += seconds

    @rule(pick=PICK)
    def acknowledge(self, pick: int) -> None:
        """Acknowledges some steps."""
        done = self.model.outbox[pick % (len(self.model.outbox) + 1) :][:3]
        self.run(self.storage.ack_events([f"{job_id}:{number}" for job_id, number, _ in done]))
        self.model.outbox = [row for row in self.model.outbox if row not in done]

    @rule(topics=st.sets(st.sampled_from(TOPICS)), limit=st.integers(0, 3), lease=LEASES)
    def claim_messages(self, topics: set[str], limit: int, lease: int) -> None:
        """Takes messages that are due."""
        now = self.model.now
        due = [message for message in self.model.waiting_mail(topics) if message.due_at <= now]
        expected = [replace(m, attempts=m.attempts + 1, due_at=now + lease) for m in due[:limit]]

        assert self.run(self.storage.claim_messages(sorted(topics), limit, lease)) == expected
        self.model.mail.update((message.id, message) for message in expected)

    @rule(pick=PICK, outcome=st.sampled_from(["delivered", "later", "dead", "again"]), seconds=SECONDS)
    def settle_message(self, pick: int, outcome: str, seconds: int) -> None:
        """Says what came of any message, claimed or not."""
        if not self.model.mail:
            return
        message = list(self.model.mail.values())[pick % len(self.model.mail)]
        now, is_dead = self.model.now, message.buried_at is not None
        match outcome:
            case "delivered":
                self.run(self.storage.ack_messages([message.id]))
                del self.model.mail[message.id]
                return
            case "later":
                self.run(self.storage.postpone_message(message.id, now + seconds, "later"))
                after = message if is_dead else replace(message, due_at=now + seconds, error="later")
            case "dead":
                self.run(self.storage.bury_message(message.id, "dead"))
                after = message if is_dead else replace(message, buried_at=now, error="dead")
            case _:
                assert self.run(self.storage.replay_messages([message.id])) == [message.id] * is_dead
                after = replace(message, due_at=now, attempts=0, buried_at=None) if is_dead else message
        self.model.mail[message.id] = after

    @rule(write=WRITES)
    def put_record(self, write: RecordWrite) -> None:
        """Writes a record, or tries to."""
        expected = self.model.is_expected(write)
        if expected:
            self.model.keep(write)
        assert self.run(self.storage.put_record(write)) == expected

    @rule(key=KEYS, limit=st.integers(0, 4), ttl=LEASES, amount=st.integers(-2, 3))
    def count(self, key: str, limit: int, ttl: int, amount: int) -> None:
        """Counts, gives back, or looks."""
        assert self.run(self.storage.count(key, limit, ttl, amount)) == self.model.count(key, limit, ttl, amount)

    # --- what must agree ---

    @invariant()
    def invariants_hold(self) -> None:
        """The storage finds no fault with itself."""
        assert self.run(self.storage.audit()) == []

    @invariant()
    def jobs_agree(self) -> None:
        """Jobs, their counts and what they wait for."""
        model = self.model
        for job_id, job in model.jobs.items():
            assert self.run(self.storage.find_job(job_id)) == job
            assert self.run(self.storage.find_wake_up(job_id)) == model.wake_up(job_id)
            assert self.run(self.storage.list_tasks(job_id)) == model.tasks_of(job_id)
        newest = sorted(model.jobs.values(), key=lambda job: (job.created_at, job.id), reverse=True)
        assert self.run(self.storage.list_jobs(JobQuery())) == newest
        assert self.run(self.storage.count_jobs()) == Counter(job.status for job in model.jobs.values())

    @invariant()
    def records_agree(self) -> None:
        """Each record, and the list of them."""
        kept = [record for key in sorted(self.model.records) if (record := self.model.kept(key))]
        assert self.run(self.storage.list_records("s")) == kept
        assert self.run(self.storage.find_record("s", "a")) == self.model.kept("a")

    @invariant()
    def queues_agree(self) -> None:
        """Queues, leases, the next moment and the outbox."""
        queues: list[Queue] = self.run(self.storage.list_queues())
        assert [(queue.name, queue.length, queue.oldest_at) for queue in queues] == self.model.queues()
        expired = self.run(self.storage.expired_tasks(100))
        overdue = [task for task in self.model.leases() if (task.lease_until or 0.0) <= self.model.now]
        assert [task.lease_until for task in expired] == [task.lease_until for task in overdue]
        assert {task.id for task in expired} == {task.id for task in overdue}
        for worker_id in ("w1", "w2"):
            held = [task for task in self.model.leases() if task.worker_id == worker_id]
            claims = sorted((TaskClaim(task.id, task.attempt, worker_id) for task in held), key=lambda c: c.task_id)
            assert self.run(self.storage.list_claims(worker_id)) == claims
        assert self.run(self.storage.next_wake_at()) == self.model.next_wake_at()
        for topics in ({"x", "y"}, {"x"}):
            at = min((message.due_at for message in self.model.waiting_mail(topics)), default=None)
            assert self.run(self.storage.next_message_at(sorted(topics))) == at
        for topic in (None, "x"):
            assert self.run(self.storage.list_dead_messages(topic)) == self.model.dead_mail(topic)
        steps = self.run(self.storage.read_events(1000))
        found = [(step.job_id, step.first, [event.type for event in step.decode()]) for step in steps]
        assert found == self.model.outbox
        assert all(e.sequence == n for step in steps for n, e in enumerate(step.decode(), step.first))


def test_storage_after_any_steps_agrees_with_the_model(
    make_storage: Callable[[FakeClock, Path], Storage], request: pytest.FixtureRequest
) -> None:
    """Whatever is asked of it in whatever order, a storage answers as the contract says."""
    machine = type("Machine", (StorageMachine,), {"make": staticmethod(make_storage)})
    # A server is asked thousands of times for each example.
    examples = 12 if "redis" in request.node.name else 40

    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None))
