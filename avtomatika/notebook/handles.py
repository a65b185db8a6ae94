"""Job handles: a job as an object in a notebook, kept up to date in the background."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Collection, Generator, Mapping
from typing import TYPE_CHECKING, Any

from avtomatika.blueprints import Graph
from avtomatika.client import TERMINAL_STATUSES, AsyncClient
from avtomatika.errors import AvtomatikaError, ClientError, JobFailedError
from avtomatika.notebook import job_page
from avtomatika.notebook.background import BackgroundLoop

if TYPE_CHECKING:
    import pandas as pd

_RETRY_SECONDS = 0.5
_MAX_REASON = 500


class JobHandle:
    """A job.

    The handle follows its job in the background: what it shows is what was last heard, so displaying it never waits
    and never touches the network.

    Args:
        job: as the API returned it.
        graph: of its blueprint, or None if it is not known.
        client: for what is asked of the engine; lives in ``background``.
        background: the loop of the workbench.
        read_history: returns the job's history as a DataFrame.
        changes: yields the job now and after each change until it has ended; the client's ``events`` if left out.

    Attributes:
        id: the job's id.
        graph: of its blueprint, or None.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        graph: Graph | None,
        client: AsyncClient,
        background: BackgroundLoop,
        read_history: Callable[[str], pd.DataFrame],
        changes: Callable[[str], AsyncIterator[dict[str, Any]]] | None = None,
    ) -> None:
        self.id = str(job["id"])
        self.graph = graph
        self._view = dict(job)
        self._events: list[dict[str, Any]] = []
        self._client = client
        self._background = background
        self._read_history = read_history
        self._changes = changes if changes is not None else client.events
        self._ended = background.submit(self._follow())

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
            is_over = self._background.wait(self._ended, timeout)
        except KeyboardInterrupt:
            sys.stderr.write(f"The waiting was interrupted; job {self.id} goes on. job.cancel() ends it.\n")
            raise
        if not is_over:
            raise TimeoutError(
                f"job {self.id} is still {self.status} in state '{self.state}' after {timeout:g} s. It goes on: wait "
                "again, or end it with job.cancel()."
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

    def cancel(self) -> JobHandle:
        """Ends the job.

        Returns:
            This handle, with the job's new status.

        Raises:
            ClientError: with status 409: it has ended already.
        """
        self._background.call(self._client.cancel(self.id), 30.0)
        return self.wait(10.0)

    def history(self) -> pd.DataFrame:
        """Returns what happened so far, one row for each event."""
        return self._read_history(self.id)

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

    async def _follow(self) -> None:
        """Hears of each change until the job has ended."""
        while True:
            if await self._has_heard_the_end():
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _has_heard_the_end(self) -> bool:
        """Follows the job as long as the engine answers; a cell or handler may keep it from that for a while."""
        try:
            async for job in self._changes(self.id):
                # Progress of a worker leaves the version as it is, and the history too.
                if not self._events or job["version"] != self._view["version"]:
                    self._events = await self._client.history(self.id)
                self._view = job
        except ClientError as error:
            if 0 < error.status < 500:
                raise
        return self.is_terminal
