"""A job in a test, as an object to make assertions about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from avtomatika.blueprints import Graph
from avtomatika.core.job import Job
from avtomatika.core.states import JobStatus
from avtomatika.errors import suggest
from avtomatika.payloads.task_files import TaskFiles
from avtomatika.storage.base import Progress
from avtomatika.testing.errors import NotReachedError, TestingError


class Tester(Protocol):
    """What a job needs of the tester that it belongs to."""

    async def settle(self) -> None:
        """Returns when nothing more happens without time passing."""
        ...

    async def decide(self, job_id: str, decision: str, by: str, comment: str) -> None:
        """Decides for a job that waits for a person."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Ends a job."""
        ...

    async def requeue(self, job_id: str) -> None:
        """Lets a failed job go on."""
        ...

    async def rows(self, job_id: str) -> list[dict[str, Any]]:
        """Returns a job's history."""
        ...

    async def reasons(self, job_id: str) -> list[str]:
        """Says what a job waits for, and what would make it go on."""
        ...

    def children_of(self, job_id: str) -> list[TestedJob]:
        """Returns the jobs that a job started."""
        ...

    def graph_of(self, job: Job) -> Graph:
        """Returns the graph that a job runs through."""
        ...

    def files_of(self, job_id: str) -> TaskFiles:
        """Returns the files of a job."""
        ...


class TestedJob:
    """A job. What it says is what was true when the tester last came to rest.

    Args:
        job: as stored.
        tester: it belongs to.

    Attributes:
        path: the states that it has been in, in order, the present one last.
    """

    __test__ = False  # no class of tests, though its name begins so

    def __init__(self, job: Job, tester: Tester) -> None:
        self._job = job
        self._tester = tester
        self._progress = Progress(0.0)
        self._statuses: set[str] = set()
        self.path: list[str] = []

    def __repr__(self) -> str:
        failure = self._job.failure
        why = f": {failure.code}: {failure.message}" if failure else ""
        return f"<job of '{self.blueprint}', {self.status} in '{self.state}'{why}>"

    # --- what is known ---

    @property
    def id(self) -> str:
        """Its id."""
        return self._job.id

    @property
    def blueprint(self) -> str:
        """Name of the blueprint that it runs through."""
        return self._job.blueprint

    @property
    def status(self) -> str:
        """The life of the job, such as ``waiting_for_worker``."""
        return self._job.status.value

    @property
    def state(self) -> str:
        """The state that it stands in."""
        return self._job.state

    @property
    def parent_id(self) -> str:
        """Id of the job that started it, or empty."""
        return self._job.parent_job_id

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self._job.is_terminal

    @property
    def initial_data(self) -> dict[str, Any]:
        """What it was created with."""
        value: dict[str, Any] = self._job.initial_data.value()
        return value

    @property
    def state_history(self) -> dict[str, Any]:
        """What its steps have left for each other."""
        value: dict[str, Any] = self._job.state_history.value()
        return value

    @property
    def result(self) -> Any:
        """What it ended with; None if it ended without a result.

        Raises:
            TestingError: it has not ended.
        """
        if not self._job.is_terminal:
            raise TestingError(
                f"{self!r} has no result yet. await job.reaches('finished') says what it waits for; time passes by "
                "await t.advance(...)."
            )
        return self._job.result.value() if self._job.has_result else None

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it last failed: ``code``, ``message``, ``attempt`` and more; None if it did not."""
        return None if self._job.failure is None else self._job.failure.as_dict()

    @property
    def error_code(self) -> str:
        """The code of why it last failed, or empty."""
        return "" if self._job.failure is None else self._job.failure.code

    @property
    def progress(self) -> float:
        """How far a worker last said it is, 0 to 1."""
        return self._progress.value

    @property
    def progress_message(self) -> str:
        """What a worker last said of its progress."""
        return self._progress.message

    @property
    def children(self) -> list[TestedJob]:
        """The jobs that it started, in order."""
        return self._tester.children_of(self.id)

    @property
    def files(self) -> TaskFiles:
        """Its files, as its handlers see them."""
        return self._tester.files_of(self.id)

    # --- what can be asked and done ---

    async def reaches(self, *wanted: str) -> TestedJob:
        """Returns the job once it is, or has been, in one of these states or statuses. Time does not pass meanwhile.

        Args:
            wanted: names of states of its blueprint, or statuses such as ``finished``.

        Raises:
            NotReachedError: nothing more happens, and it was in none of them; says what it waits for.
            TestingError: there is no such state or status.
        """
        self._check_words(wanted)
        await self._tester.settle()
        if not (self._statuses | set(self.path)) & set(wanted):
            words = " or ".join(f"'{word}'" for word in wanted)
            raise NotReachedError(repr(self), words, await self._tester.reasons(self.id))
        return self

    async def approve(self, decision: str = "approved", *, by: str = "", comment: str = "") -> None:
        """Decides as a person whom the job waits for.

        Args:
            decision: one of those that it offers.
            by: who decides.
            comment: what else that person says.

        Raises:
            JobStateError: it does not wait for a person.
            DecisionError: the decision is not offered.
        """
        await self._tester.decide(self.id, decision, by, comment)

    async def cancel(self) -> None:
        """Ends the job.

        Raises:
            JobStateError: it has ended already.
        """
        await self._tester.cancel(self.id)

    async def requeue(self) -> None:
        """Lets a failed or quarantined job go on in the state where it stopped.

        Raises:
            JobStateError: it is neither.
        """
        await self._tester.requeue(self.id)

    async def history(self) -> list[dict[str, Any]]:
        """Returns the rows of its history, oldest first."""
        return await self._tester.rows(self.id)

    async def events(self) -> list[str]:
        """Returns the types of the rows of its history, such as ``task_dispatched``, oldest first."""
        return [row["event_type"] for row in await self._tester.rows(self.id)]

    async def waits_for(self) -> list[str]:
        """Returns what it waits for, in sentences, and what the test can do to make it go on."""
        return await self._tester.reasons(self.id)

    # --- for the tester ---

    def take(self, job: Job, progress: Progress | None) -> None:
        """Takes note of the job as stored now, and of the ``progress`` of its task."""
        self._job = job
        self._progress = progress or self._progress

    def passed(self, status: str, state: str) -> None:
        """Takes note of a commit of the job, which left it in this ``status`` and ``state``."""
        self._statuses.add(status)
        if not self.path or self.path[-1] != state:
            self.path.append(state)

    def _check_words(self, wanted: tuple[str, ...]) -> None:
        states: Mapping[str, Any] = {state.name: state for state in self._tester.graph_of(self._job).states}
        known = [*(status.value for status in JobStatus), *states]
        for word in wanted:
            if word not in known:
                raise TestingError(
                    f"'{word}' is neither a status nor a state of blueprint '{self.blueprint}'.{suggest(word, known)}"
                )
        if not wanted:
            raise TestingError("reaches() takes a status or a state, such as reaches('finished').")
