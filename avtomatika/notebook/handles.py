"""Job handles: a job as an object in a notebook, kept up to date in the background."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
import textwrap
from collections.abc import Awaitable, Collection, Coroutine, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtomatika.blueprints import Graph
from avtomatika.client import TERMINAL_STATUSES
from avtomatika.errors import AvtomatikaError, BlueprintError, ClientError, JobFailedError
from avtomatika.notebook import answers, job_page
from avtomatika.notebook.capsule import write_capsule
from avtomatika.notebook.desk import Desk

if TYPE_CHECKING:
    import pandas as pd

_RETRY_SECONDS = 0.5
_MAX_REASON = 500
_TRANSFER_SECONDS = 6 * 3600.0  # an interrupt ends it sooner


class JobHandle:
    """A job.

    The handle follows its job in the background: what it shows is what was last heard, so displaying it never waits
    and never touches the network.

    Args:
        job: as the API returned it.
        graph: of its blueprint, or None if it is not known.
        desk: of the workbench.
        events: its history as far as it is known, oldest first.

    Attributes:
        id: the job's id.
        graph: of its blueprint, or None.
    """

    def __init__(
        self, job: Mapping[str, Any], graph: Graph | None, desk: Desk, events: Sequence[dict[str, Any]] = ()
    ) -> None:
        self.id = str(job["id"])
        self.graph = graph
        self._view = dict(job)
        self._events = list(events)
        self._desk = desk
        self._ended = desk.background.submit(self._follow())

    # --- what is known ---

    @property
    def view(self) -> dict[str, Any]:
        """The job as last heard, with the members of the API's answer."""
        return dict(self._view)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The job's history as last heard, oldest first."""
        return list(self._events)

    @property
    def status(self) -> str:
        """The life of the job, as last heard."""
        return str(self._view["status"])

    @property
    def state(self) -> str:
        """The state that it stands in, as last heard."""
        return str(self._view["current_state"])

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL_STATUSES

    # --- what can be done ---

    def wait(self, timeout: float | None = None) -> JobHandle:
        """Waits until the job has ended, however it ended. An interrupt ends the waiting, never the job.

        Args:
            timeout: seconds, or None for ever.

        Returns:
            This handle.

        Raises:
            TimeoutError: the job has not ended in time; it goes on.
            AvtomatikaError: the workbench was stopped.
        """
        try:
            is_over = self._desk.background.wait(self._ended, timeout)
        except KeyboardInterrupt:
            sys.stderr.write(f"The waiting was interrupted; job {self.id} goes on. job.cancel() ends it.\n")
            raise
        if not is_over:
            raise TimeoutError(
                f"job {self.id} is still {self.status} in state '{self.state}' after {timeout:g} s. It goes on: wait "
                "again, or end it with job.cancel(). job.explain() says what it waits for."
            )
        self._check_followed()
        return self

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the job and returns its result.

        Args:
            timeout: seconds, or None for ever.

        Raises:
            JobFailedError: it ended otherwise than finished; the message says why.
            TimeoutError: it has not ended in time; it goes on.
            AvtomatikaError: the workbench was stopped.
        """
        self.wait(timeout)
        return self._outcome()

    def __await__(self) -> Generator[Any, None, Any]:
        """Waits in an event loop of the notebook: ``result = await job``. Raises as ``result`` does."""
        yield from self._arrival().__await__()
        return self._outcome()

    async def _arrival(self) -> None:
        """Returns when the job has ended; cancelling it leaves the job, and the following of it, alone.

        ``asyncio.wrap_future`` would complain aloud if the waiting loop is closed before the job ends.
        """
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def tell(_ended: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.set)

        self._ended.add_done_callback(tell)
        await arrived.wait()
        self._check_followed()

    def explain(self) -> list[str]:
        """Returns what the job waits for, who holds it and until when, one sentence for each reason."""
        return self._desk.background.call(self._desk.client.explain(self.id), 30.0)

    def cancel(self) -> JobHandle:
        """Ends the job.

        Returns:
            This handle, with the job's new status.

        Raises:
            ClientError: with status 409: it has ended already.
        """
        self._call(self._cancel())
        return self.wait(10.0)

    def approve(self, decision: str = "approved", *, by: str | None = None, comment: str | None = None) -> JobHandle:
        """Decides about the job, which waits for a person.

        Args:
            decision: one of those that it offers; ``job.view["approval"]["decisions"]`` lists them.
            by: who decided, for the history.
            comment: what else they said.

        Returns:
            This handle; the job goes on meanwhile.

        Raises:
            ClientError: with status 400: the decision is not offered; with 409: it does not wait for one.
        """
        self._call(self._desk.client.approve(self.id, decision, by=by, comment=comment))
        return self

    def requeue(self) -> JobHandle:
        """Lets the job go on in the state where it failed or was quarantined.

        Returns:
            This handle, which follows the job again.

        Raises:
            ClientError: with status 409: it is neither failed nor quarantined.
        """
        self._call(self._requeue())
        return self

    def rewind(self, state: str | None = None, *, sequence: int | None = None) -> JobHandle:
        """Starts the job again from a state that it was in, whatever it does now or however it ended.

        Args:
            state: the last time that it entered this state is meant.
            sequence: or this row ``state_started`` of its history.

        Returns:
            This handle, which follows the job again.

        Raises:
            ClientError: with status 400: it never entered that state.
        """
        self._call(self._again(self._desk.client.rewind(self.id, state, sequence=sequence)))
        return self

    def fork(
        self,
        state: str | None = None,
        *,
        sequence: int | None = None,
        initial_data: Mapping[str, Any] | None = None,
        state_history: Mapping[str, Any] | None = None,
    ) -> JobHandle:
        """Creates a job that begins where this one once was, with other data; this one is left alone.

        Args:
            state: the last time that it entered this state is meant.
            sequence: or this row ``state_started`` of its history.
            initial_data: members to lay over those of this job.
            state_history: members to lay over its data of that moment.

        Returns:
            A handle of the new job.

        Raises:
            ClientError: with status 400: it never entered that state.
        """
        client = self._desk.client

        async def forked() -> dict[str, Any]:
            return await client.job(
                await client.fork(
                    self.id, state, sequence=sequence, initial_data=initial_data, state_history=state_history
                )
            )

        return JobHandle(self._desk.background.call(forked(), 30.0), self.graph, self._desk)

    def history(self) -> pd.DataFrame:
        """Returns what happened so far, one row for each event."""
        return self._desk.read_history(self.id)

    def files(self, folder: str = "") -> list[dict[str, Any]]:
        """Returns the files of the job, or those of one folder: ``name``, ``uri``, ``size`` and ``etag`` of each."""
        return self._desk.background.call(self._desk.client.files(self.id, folder), 30.0)

    def upload(self, source: str | Path | bytes, name: str = "") -> dict[str, Any]:
        """Sends a file to the job.

        Args:
            source: a file of this machine, or its content.
            name: in the job, with ``/`` between folders; the file's own name if empty.

        Returns:
            ``name``, ``uri``, ``size`` and ``etag``.

        Raises:
            OSError: the file cannot be read.
            ClientError: with status 409: the job has ended; with 413: the file is too large; with 400: the name is not
                allowed.
        """
        return self._desk.background.call(self._desk.client.upload_file(self.id, source, name), _TRANSFER_SECONDS)

    def download(self, name: str, destination: str | Path | None = None) -> Path:
        """Fetches a file of the job.

        Args:
            name: of the file.
            destination: where to; a folder takes it under its own name, None the working directory.

        Returns:
            Where the file is.

        Raises:
            OSError: it cannot be written.
            ClientError: with status 404: there is no such file.
        """
        fetching = self._desk.client.download_file(self.id, name, destination)
        return self._desk.background.call(fetching, _TRANSFER_SECONDS)

    def capsule(self, path: str | Path) -> Path:
        """Writes one offline notebook of the job: graph, timeline, data, errors, and a cell that replays it.

        Args:
            path: of the notebook, such as ``incident.ipynb``; an existing file is replaced.

        Returns:
            The path.

        Raises:
            ClientError: the engine does not tell the job's history.
        """
        events = self._desk.background.call(self._desk.client.history(self.id), 30.0)
        module, reason = "", ""
        try:
            module = self._desk.modules(str(self._view["blueprint_name"]))
        except BlueprintError as error:
            reason = str(error)
        return write_capsule(path, self.view, events, self.graph, module, reason)

    # --- how it looks ---

    def __repr__(self) -> str:
        return f"JobHandle({self.id}, {self._view['blueprint_name']}: {self.status} in '{self.state}')"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        del include, exclude  # the front end chooses among what is there
        return {
            "text/plain": repr(self),
            "text/html": job_page.html(self._view, self._events, self.graph),
        }

    def _ipython_display_(self) -> None:
        """Shows the job live where that is possible and something can still happen."""
        if self.is_terminal or not self._desk.outputs.are_live():
            raise NotImplementedError  # IPython then shows the mimebundle
        self.watch()

    def watch(self) -> None:
        """Shows the job live in the running cell, also one that has ended: its history can then be gone through."""
        widgets = importlib.import_module("avtomatika_widgets")
        self._desk.outputs.show(widgets.JobView(self, self._desk, self._ask))

    # --- in the background ---

    def _outcome(self) -> Any:
        if self.status != "finished":
            raise JobFailedError(self.id, self.status, self._reason())
        return self._view["result"]

    def _reason(self) -> str:
        """Returns why the job did not finish: what went wrong, or what the blueprint itself gave as the result."""
        if error := self._view.get("error_message"):
            return str(error)
        if self._view.get("result") is None:
            return ""
        return textwrap.shorten(f"it ended in state '{self.state}' with {self._view['result']}", _MAX_REASON)

    def _check_followed(self) -> None:
        """Raises what ended the following before the job itself had ended."""
        if self._ended.cancelled():
            raise AvtomatikaError(
                f"the workbench was stopped while job {self.id} was {self.status} in state '{self.state}'; a workbench "
                "keeps its jobs in memory, so it ended with it. Start it again in a new Workbench()."
            )
        self._ended.result()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        self._desk.background.call(work, 30.0)

    async def _cancel(self) -> None:
        await self._desk.client.cancel(self.id)

    async def _requeue(self) -> None:
        await self._again(self._desk.client.requeue(self.id))

    async def _again(self, asking: Awaitable[None]) -> None:
        """Lets a job go on that may have ended, and follows it again."""
        await asking
        self._view = await self._desk.client.job(self.id)
        if self._ended.done():
            self._ended = self._desk.background.submit(self._follow())

    async def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answers a live view; called in the workbench's loop.

        Args:
            question: ``{"do": ...}`` with ``cancel``, ``requeue``, ``explain``, ``approve`` and a ``decision``,
                ``moment`` or ``fork`` and a ``sequence``, or ``state`` and a ``name``.

        Raises:
            ValueError: the question is none of these.
            ClientError: the engine refused.
        """
        match question:
            case {"do": "cancel"}:
                await self._cancel()
            case {"do": "approve", "decision": str(decision)}:
                await self._desk.client.approve(self.id, decision)
            case {"do": "requeue"}:
                await self._requeue()
            case {"do": "explain"}:
                return {"reasons": await self._desk.client.explain(self.id)}
            case {"do": "fork", "sequence": int(sequence)}:
                return {"done": "fork", "job": await self._fork_at(sequence)}
            case {"do": "moment", "sequence": int(sequence)}:
                return answers.moment(await self._known_events(), sequence, self.graph)
            case {"do": "state", "name": str(name)}:
                sources = self._desk.sources(str(self._view["blueprint_name"]), str(self._view["blueprint_version"]))
                events = await self._known_events()
                return answers.state(events, name, sources, is_here=not self.is_terminal and name == self.state)
            case _:
                raise ValueError(f"a job view cannot ask for {question.get('do')!r}.")
        return {"done": question["do"]}

    async def _fork_at(self, sequence: int) -> str:
        """Forks the job at the last state that it entered up to an event; returns the id of the new job."""
        entered = [
            int(event["sequence"])
            for event in await self._known_events()
            if event["event_type"] == "state_started" and int(event["sequence"]) <= sequence
        ]
        if not entered:
            raise ValueError("the job had entered no state at that moment; choose a later one.")
        return await self._desk.client.fork(self.id, sequence=entered[-1])

    async def _known_events(self) -> list[dict[str, Any]]:
        """Returns the history as last heard; asks for it if nothing was heard yet."""
        return self._events or await self._desk.client.history(self.id)

    async def _follow(self) -> None:
        """Hears of each change until the job has ended."""
        while True:
            if await self._has_heard_the_end():
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _has_heard_the_end(self) -> bool:
        """Follows the job as long as the engine answers; a cell or handler may keep it from that for a while."""
        try:
            async for job in self._desk.changes(self.id):
                # Progress of a worker leaves the version as it is, and the history too.
                if not self._events or job["version"] != self._view["version"]:
                    self._events = await self._desk.client.history(self.id)
                self._view = job
        except ClientError as error:
            if 0 < error.status < 500:
                raise
        return self.is_terminal
