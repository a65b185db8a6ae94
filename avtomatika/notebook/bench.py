"""What every workbench can do, be its engine in this process or far away: look at jobs, workers and queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avtomatika.blueprints import Graph
from avtomatika.client import TERMINAL_STATUSES, AsyncClient
from avtomatika.notebook.analysis import timeline
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.boards import Board
from avtomatika.notebook.charts import Chart
from avtomatika.notebook.desk import Desk
from avtomatika.notebook.feed import Feed
from avtomatika.notebook.frames import jobs_frame, workers_frame
from avtomatika.notebook.handles import JobHandle
from avtomatika.notebook.job_book import TableQuery

if TYPE_CHECKING:
    import pandas as pd

CALL_SECONDS = 20.0
"""How long to wait for an answer of the engine."""


class Bench:
    """What every workbench can do. The parts are made by the class below it."""

    _background: BackgroundLoop
    _client: AsyncClient
    _desk: Desk
    _feed: Feed

    @property
    def is_running(self) -> bool:
        """Whether it can be asked."""
        return self._background.is_running

    def job(self, job_id: str) -> JobHandle:
        """Returns the handle of a job.

        Raises:
            JobNotFoundError: there is none of that id.
        """
        view = self._background.call(self._client.job(job_id), CALL_SECONDS)
        graph = self._graph(view["blueprint_name"], view["blueprint_version"])
        # What has ended is shown whole from the start; of what goes on, the history is heard of in a moment.
        has_ended = view["status"] in TERMINAL_STATUSES
        events = self._background.call(self._client.history(job_id), CALL_SECONDS) if has_ended else ()
        return JobHandle(view, graph, self._desk, events)

    def _graph(self, blueprint: str, version: str) -> Graph | None:
        """Returns the graph that the jobs of a version have, or None."""
        raise NotImplementedError

    # --- tables ---

    def jobs(
        self,
        status: str | None = None,
        blueprint: str | None = None,
        since: Any = None,
        limit: int = 1000,
    ) -> pd.DataFrame:
        """Returns jobs, newest first, one row each.

        Args:
            status: only of this status.
            blueprint: only of this blueprint.
            since: only created since; Unix seconds or a datetime.
            limit: at most so many.
        """
        rows = self._background.call(
            self._client.jobs(status=status, blueprint=blueprint, since=since, limit=limit), CALL_SECONDS
        )
        return jobs_frame(rows)

    def workers(self) -> pd.DataFrame:
        """Returns the workers that were heard of lately, one row each."""
        return workers_frame(self._background.call(self._client.workers(), CALL_SECONDS))

    def timeline(self, *jobs: JobHandle | str) -> Chart:
        """Returns when what was done: of one job its states and tasks, of several jobs one line each.

        Args:
            jobs: handles or ids.
        """
        ids = [job.id if isinstance(job, JobHandle) else job for job in jobs]
        return timeline([(job_id, self._background.call(self._client.history(job_id), CALL_SECONDS)) for job_id in ids])

    # --- boards ---

    def dashboard(self) -> Board:
        """Returns everything at a glance: numbers, rates, queues, jobs, workers; live as the last line of a cell."""
        return self._board("Dashboard")

    def job_table(self, status: str = "", blueprint: str = "", size: int = 15) -> Board:
        """Returns the table of the newest 10,000 jobs; live as the last line of a cell.

        Args:
            status: only of this status at first.
            blueprint: only of this blueprint at first.
            size: rows of a page, at most 100.
        """
        return self._board("JobTable", TableQuery.of({"status": status, "blueprint": blueprint, "size": size}))

    def worker_board(self) -> Board:
        """Returns the workers: what they can do and how busy they are; live as the last line of a cell."""
        return self._board("WorkerBoard")

    def queue_chart(self) -> Board:
        """Returns queues and rates over the last three minutes; live as the last line of a cell."""
        return self._board("QueueChart")

    def _board(self, name: str, query: TableQuery | None = None) -> Board:
        self._feed.look(CALL_SECONDS)
        return Board(name, self._desk, self._feed, query or TableQuery())
