"""Live tables and numbers of a whole engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import traitlets

from avtomatika.notebook import board_model
from avtomatika.notebook.boards import PARTS, still
from avtomatika.notebook.desk import Desk
from avtomatika.notebook.feed import Feed
from avtomatika.notebook.job_book import TableQuery
from avtomatika_widgets.base import LiveWidget, script

_TABLE_SECONDS = 0.3
"""Least time between two sortings of the table: ten thousand rows take about ten milliseconds."""


class LiveBoard(LiveWidget):
    """What all boards share.

    Args:
        desk: of the workbench.
        feed: of the workbench.
        query: what the table of jobs shows at first.

    Attributes:
        query: what the table of jobs shows; set by the person.
        jobs: one page of it (``board_model.table_model``).
        workers: rows of the worker board.
        queues: rows of the queues.
        samples: rows of the chart.
        numbers: what stands above everything.
    """

    query = traitlets.Dict().tag(sync=True)
    jobs = traitlets.Dict().tag(sync=True)
    workers = traitlets.List().tag(sync=True)
    queues = traitlets.List().tag(sync=True)
    samples = traitlets.List().tag(sync=True)
    numbers = traitlets.Dict().tag(sync=True)

    def __init__(self, desk: Desk, feed: Feed, query: TableQuery) -> None:
        self._desk = desk
        self._feed = feed
        self._parts = PARTS[type(self).__name__.removeprefix("Live")]
        self._is_left = False
        self._drawn: tuple[Any, ...] = ()
        self._table_at = 0.0
        super().__init__(
            desk,
            query={
                "status": query.status,
                "blueprint": query.blueprint,
                "text": query.text,
                "sort": query.sort,
                "descending": query.descending,
                "page": query.page,
                "size": query.size,
            },
        )
        feed.join()

    def model(self) -> Mapping[str, Any]:
        """Returns the values of traits as they should be now."""
        feed, now = self._feed, time.time()
        model: dict[str, Any] = {"trouble": feed.trouble}
        if "numbers" in self._parts:
            model["numbers"] = board_model.numbers_model(feed)
        if "chart" in self._parts:
            model["samples"] = board_model.samples_model(list(feed.samples))
        if "queues" in self._parts:
            model["queues"] = board_model.queues_model(feed.numbers, now)
        if "workers" in self._parts:
            model["workers"] = board_model.workers_model(feed.workers, now)
        if "jobs" in self._parts:
            model |= self._table()
        return model

    def _table(self) -> Mapping[str, Any]:
        """Returns the page of the table if it may have changed, and not too often."""
        query = TableQuery.of(self.query)
        now = time.monotonic()
        is_new_query = not self._drawn or self._drawn[1] != query
        if (self._feed.book.version, query) == self._drawn or (
            not is_new_query and now - self._table_at < _TABLE_SECONDS
        ):
            return {}
        self._table_at = now
        self._drawn = (self._feed.book.version, query)
        return {"jobs": board_model.table_model(self._feed.book, query)}

    def still(self) -> Mapping[str, Any]:
        """Returns the static tables."""
        return still(type(self).__name__, self._feed, TableQuery.of(self.query), repr(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._feed.book)} jobs, {len(self._feed.workers)} workers)"

    def close(self) -> None:
        """Gives up its connections."""
        if not self._is_left:
            self._is_left = True
            self._feed.leave()
        super().close()

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answers a question of the view: ``cancel`` or ``requeue`` of a ``job``."""
        match question:
            case {"do": "cancel", "job": str(job_id)}:
                await self._desk.client.cancel(job_id)
            case {"do": "requeue", "job": str(job_id)}:
                await self._desk.client.requeue(job_id)
            case _:
                raise ValueError(f"a board cannot ask for {question.get('do')!r}.")
        return {"done": question["do"]}


class JobTable(LiveBoard):
    """The jobs: filter, sort, page, and a button for each that can be cancelled or requeued."""

    _esm = script("jobTable", "tables")


class WorkerBoard(LiveBoard):
    """The workers: what they can do, how busy they are, when they were heard of."""

    _esm = script("workerBoard", "tables")


class QueueChart(LiveBoard):
    """Queues and rates over the last three minutes."""

    _esm = script("queueChart", "tables")


class Dashboard(LiveBoard):
    """All of these."""

    _esm = script("dashboard", "tables")
