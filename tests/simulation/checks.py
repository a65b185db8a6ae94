"""What must be true when a run is over: nothing lost, nothing twice, and each end was possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.core.history import HistoryEvent
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.runtime.depot import SPACE

from .clients import SimulatedClient
from .history import POISON, SimulatedHistory
from .letters import TOPIC, Receiver
from .plans import ATTEMPTS, FAILED, QUARANTINED, RETRIED, SUCCESS, Fate, Plan
from .storage import WatchedStorage
from .world import World

_ENDINGS = frozenset({"job_completed", "job_failed", "job_quarantined", "job_cancelled"})
# A job may be quarantined as poison when it was claimed so often without a commit.
_POISON_DELIVERIES = 5


async def check_run(
    world: World, storage: WatchedStorage, history: SimulatedHistory, clients: Sequence[SimulatedClient]
) -> None:
    """Compares what the storage and the history hold with what the clients were told."""
    await storage.check_invariants()
    for call in world.calls:
        if call.error and call.start > world.faults.heal_at:
            world.violated(f"a call failed at {call.start:.3f} s, when all faults were over: {call}")
    if await storage.read_events(1):
        world.violated("rows wait in the outbox although the history answers")
    stored = [await storage.find_job(job_id) for job_id in storage.job_ids]
    by_number: dict[int, list[Job]] = {}
    for job in stored:
        if job is not None:
            number = storage.files.value(job.id, job.initial_data)["number"]
            by_number.setdefault(number, []).append(job)
    await _check_files(world, storage)
    for client in clients:
        jobs = by_number.pop(client.plan.number, [])
        for fault in _check_creation(client.plan, client.fate, jobs):
            world.violated(fault)
        children = by_number.pop(client.plan.child.number, []) if client.plan.child else []
        for fault in _check_children(storage, jobs, children):
            world.violated(fault)
        for job in (*jobs, *children):
            plan = client.plan.child if job.parent_job_id and client.plan.child else client.plan
            rows = history.rows.get(job.id, {})
            fate = Fate() if job.parent_job_id else client.fate
            for fault in JobCheck(world, storage, plan, fate, job, rows).faults():
                world.violated(f"job {job.id} ({plan.blueprint}): {fault}")
    if by_number:
        world.violated(f"jobs that nobody asked for: {by_number}")


async def check_letters(world: World, storage: WatchedStorage, receiver: Receiver) -> None:
    """Each message that a job has sent was received, and no other."""
    if await storage.next_message_at([TOPIC]) is not None or await storage.list_dead_messages():
        world.violated("messages wait in the outbox, or are dead, although their receiver answers")
    if lost := [message_id for message_id in storage.sent if message_id not in receiver.received]:
        world.violated(f"messages are lost: {lost}")
    if unknown := [message_id for message_id in receiver.received if message_id not in storage.sent]:
        world.violated(f"messages were received that nobody sent: {unknown}")


async def _check_files(world: World, storage: WatchedStorage) -> None:
    """Whatever is in the store, the sweeper knows whose it is."""
    owners = {key.split("/")[1] for key in storage.files.by_key}
    known = {record.key for record in await storage.list_records(SPACE, limit=10_000)}
    if owners - known:
        world.violated(f"nobody will remove the files of jobs {sorted(owners - known)}")


def _check_children(storage: WatchedStorage, parents: Sequence[Job], children: Sequence[Job]) -> list[str]:
    """A job has one child at most, and has heard how that one ended; one that ended otherwise has called it off."""
    faults = []
    by_parent: dict[str, list[Job]] = {}
    for child in children:
        by_parent.setdefault(child.parent_job_id, []).append(child)
    for parent in parents:
        own = by_parent.pop(parent.id, [])
        heard = storage.files.value(parent.id, parent.state_history).get("send")
        if len(own) > 1:
            faults.append(f"job {parent.id} has the children {[child.id for child in own]}")
        if heard and [(child.id, str(child.status)) for child in own] != [(heard["job_id"], heard["status"])]:
            faults.append(f"job {parent.id} heard of {heard}, and has {own}")
        if parent.status is JobStatus.FINISHED and parent.blueprint == "nest" and not heard:
            faults.append(f"job {parent.id} finished without hearing of its child")
    if by_parent:
        faults.append(f"children of nobody: {by_parent}")
    return faults


def _check_creation(plan: Plan, fate: Fate, jobs: Sequence[Job]) -> list[str]:
    """What was acknowledged exists, and exists once."""
    faults = []
    if len(fate.job_ids) > 1:
        faults.append(f"plan {plan.number}: one key gave the jobs {fate.job_ids}")
    stored = [job.id for job in jobs]
    faults += [f"job {job_id} was acknowledged and is lost" for job_id in fate.job_ids if job_id not in stored]
    if len(stored) > 1:
        faults.append(f"plan {plan.number} was created {len(stored)} times: {stored}")
    return faults


class JobCheck:
    """Holds one job against its plan and its history.

    Args:
        world: of the run.
        storage: of the run.
        plan: what the job was to do.
        fate: what its client saw.
        job: as stored.
        rows: its history, by sequence.
    """

    def __init__(
        self,
        world: World,
        storage: WatchedStorage,
        plan: Plan,
        fate: Fate,
        job: Job,
        rows: Mapping[int, HistoryEvent],
    ) -> None:
        self._world = world
        self._storage = storage
        self._plan = plan
        self._fate = fate
        self._job = job
        self._rows = [rows[sequence] for sequence in sorted(rows)]
        self._sequences = sorted(rows)
        self._data: dict[str, Any] = storage.files.value(job.id, job.state_history)

    def faults(self) -> list[str]:
        """Returns what is wrong."""
        if not self._job.is_terminal:
            return [f"is {self._job.status} in '{self._job.state}' and does not end"]
        found = self._check_rows() or self._check_path() or self._check_results() or self._check_question()
        end = self._check_end()
        if end:
            found.append(end)
        return found

    # --- history ---

    def _check_rows(self) -> list[str]:
        """The history is whole, and tells a story that can be."""
        if self._sequences != list(range(1, len(self._sequences) + 1)):
            return [f"its history has the rows {self._sequences}"]
        found = []
        endings = [row.type for row in self._rows if row.type in _ENDINGS]
        if len(endings) != 1 or self._rows[-1].type not in _ENDINGS:
            found.append(f"its history ends {len(endings)} times: {endings}; last row {self._rows[-1].type}")
        # A claim is written at its own moment, a step at the moment of its decision: only steps come in order of time.
        steps = [row.at for row in self._rows if row.type != "task_started"]
        if steps != sorted(steps):
            found.append("its history goes back in time")
        for task_id in {row.task_id: None for row in self._rows if row.task_id}:
            found += self._check_attempts(task_id)
        return found + self._check_events()

    def _check_events(self) -> list[str]:
        """What workers told on the way is there once, if an engine said that it is."""
        kept = [row.details["event_id"] for row in self._rows if row.type == "task_event"]
        found = [f"keeps events twice: {kept}"] if len(set(kept)) != len(kept) else []
        told = {event_id for event_id, job_id in self._world.told.items() if job_id == self._job.id}
        if not told <= set(kept):
            found.append(f"lost the events {sorted(told - set(kept))}")
        return found

    def _check_attempts(self, task_id: str) -> list[str]:
        """Attempts of a task fail in order, each once; after a success nothing comes."""
        rows = [row for row in self._rows if row.task_id == task_id]
        failed = [row.attempt for row in rows if row.type == "task_failed"]
        finished = [row.attempt for row in rows if row.type == "task_finished"]
        found = []
        if len(finished) > 1:
            found.append(f"task {task_id} finished {len(finished)} times")
        if failed != sorted(failed, key=lambda attempt: attempt or 0):
            found.append(f"attempts of task {task_id} failed in the order {failed}")
        # A deadline gives up a task between two attempts, and a late answer is that of an attempt that was given up.
        twice = {attempt for attempt in failed if failed.count(attempt) > 1}
        if twice and not self._may_fail_twice(rows):
            found.append(f"attempts {twice} of task {task_id} failed twice")
        return found

    @staticmethod
    def _may_fail_twice(rows: Sequence[HistoryEvent]) -> bool:
        final = {"RESULT_TIMEOUT", "DISPATCH_TIMEOUT", FAILED, QUARANTINED}
        return any(row.details.get("code") in final for row in rows if row.type == "task_failed")

    # --- effects on the job's data ---

    def _check_path(self) -> list[str]:
        """Each state that was entered left its mark once; the last one may have been left in the middle."""
        entered = [row.state for row in self._rows if row.type == "state_started"]
        path = self._data.get("path", [])
        whole = self._job.status is JobStatus.FINISHED
        if path == entered or (not whole and path == entered[:-1]):
            return []
        return [f"went through {entered}, but its data say {path}"]

    def _check_results(self) -> list[str]:
        """Each result that counted is that of a task of this job, and none counted twice."""
        taken = [nonce for nonce in self._data.get("taken", []) if nonce != "repaired"]
        found = []
        if len(set(taken)) != len(taken):
            found.append(f"took a result twice: {taken}")
        tasks = [self._world.runs[nonce].task_id for nonce in taken]
        if len(set(tasks)) != len(tasks) or any(not task.startswith(self._job.id) for task in tasks):
            found.append(f"took the results of tasks {tasks}")
        if self._job.status is JobStatus.FINISHED:
            found += self._check_total(len(taken))
        return found

    def _check_total(self, taken: int) -> list[str]:
        """A job that finished has done all that its plan asks for."""
        plan, path = self._plan, self._data["path"]
        if plan.blueprint == "loop" and self._data["turns"] != plan.data["turns"]:
            return [f"turned {self._data['turns']} times instead of {plan.data['turns']}"]
        if plan.blueprint == "chain" and path != ["s0", "s1", "s2", "s3", "s4"]:
            return [f"finished by the way of {path}"]
        if not plan.scripts or "repair" in path:
            return []
        wanted = len(plan.scripts)
        total = wanted * (wanted + 1) // 2
        if (taken, self._data["total"]) != (wanted, total):
            return [f"joined {taken} results to {self._data['total']}; its plan asks for {wanted} and {total}"]
        return []

    # --- the end ---

    def _check_end(self) -> str:
        """The job ended as its plan, its deadlines or its client made it end."""
        job, fate = self._job, self._fate
        if fate.ended_as and job.id in fate.job_ids and fate.ended_as != job.status:
            return f"was seen {fate.ended_as}, and is {job.status}"
        if fate.cancelled and job.status is not JobStatus.CANCELLED:
            return f"was cancelled, and is {job.status}"
        code = job.failure.code if job.failure is not None else ""
        match job.status:
            case JobStatus.FINISHED:
                possible = self._may_finish()
            case JobStatus.CANCELLED:
                possible = self._may_be_cancelled()
            case JobStatus.FAILED:
                possible = self._may_fail(code)
            case JobStatus.QUARANTINED:
                possible = self._may_be_quarantined(code)
            case _:
                possible = False
        return "" if possible else f"ended as {job.status} ({job.failure}), which its plan does not allow"

    def _may_be_cancelled(self) -> bool:
        """Somebody asked for it: its client, its worker, its parent or its child."""
        told = self._world.told_cancelled
        heard = self._data.get("send", {})
        return (
            self._plan.cancel_after is not None
            or self._job.id in told
            or heard.get("job_id") in told
            or bool(self._job.parent_job_id)
        )

    def _check_question(self) -> list[str]:
        """A question was answered once at most, as somebody did or because nobody did in time."""
        answers = [row for row in self._rows if row.type == "approval_received"]
        if len(answers) > 1:
            return [f"was answered {len(answers)} times"]
        path = self._data.get("path", [])
        said = {"yes": "agreed", "no": "refused"}
        taken = [said[row.details["decision"]] for row in answers]
        found = [state for state in path if state in {"agreed", "refused"}]
        # The last one entered may not have left its mark.
        if found and found != taken:
            return [f"went to {found}, but was told {taken}"]
        if [said[decision] for decision in self._fate.decided] not in ([], taken):
            return [f"said to have taken {self._fate.decided}, and has {taken}"]
        if "late" in path and not any(row.type == "approval_expired" for row in self._rows):
            return ["was late without its time being over"]
        return []

    def _may_finish(self) -> bool:
        """It may, unless a handler always raises or the loop has no end; a way round a task needs a reason."""
        plan, path = self._plan, self._data["path"]
        if plan.blueprint == "nest":
            return ("repair" in path) == (self._data["send"]["status"] != "finished")
        if plan.is_endless or any(plan.data["stumbles"].get(state, 0) >= ATTEMPTS for state in path):
            return False
        if "repair" in path:
            return plan.has_way_round and self._some_task_failed()
        return all(plan.script_ends(index) == SUCCESS for index in range(len(plan.scripts)))

    def _some_task_failed(self) -> bool:
        """Whether a task failed for good: by its own script, by a deadline, or by losing all its attempts."""
        last = [row for row in self._rows if row.type == "task_failed" and row.details.get("code") != FAILED]
        return any(row.attempt == ATTEMPTS or not self._is_retried(row) for row in last)

    @staticmethod
    def _is_retried(row: HistoryEvent) -> bool:
        return row.details.get("code") in {RETRIED, "TIMEOUT_ERROR", "WORKER_LOST"}

    def _may_fail(self, code: str) -> bool:
        plan = self._plan
        match code:
            case "RESULT_TIMEOUT":
                return plan.result_timeout is not None or "result_timeout" in plan.data["options"]
            case "DISPATCH_TIMEOUT":
                return "dispatch_timeout" in plan.data["options"]
            case "LOOP_LIMIT_ERROR":
                return plan.is_endless
            case _:
                return code == FAILED and any(FAILED in script for script in plan.scripts)

    def _may_be_quarantined(self, code: str) -> bool:
        plan = self._plan
        failed = [row for row in self._rows if row.type == "state_failed"]
        if failed and failed[-1].attempt == ATTEMPTS and plan.stumbles_for_good:
            return True
        if failed and POISON in str(failed[-1].details.get("message")):
            return self._storage.most_deliveries[self._job.id] >= _POISON_DELIVERIES
        # A task failed for good and the job has no way round it.
        return self._some_task_failed() and code != FAILED and not plan.has_way_round
