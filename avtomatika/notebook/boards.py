"""Boards: tables and numbers of a whole engine, live where that is possible, and static elsewhere."""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection, Mapping
from typing import Any

from avtomatika.notebook import board_model, board_page
from avtomatika.notebook.desk import Desk
from avtomatika.notebook.feed import Feed
from avtomatika.notebook.job_book import TableQuery

PARTS: Mapping[str, tuple[str, ...]] = {
    "JobTable": ("jobs",),
    "WorkerBoard": ("workers",),
    "QueueChart": ("chart", "queues"),
    "Dashboard": ("numbers", "chart", "queues", "jobs", "workers"),
}
"""Each board, by the name of its widget, and what it shows from top to bottom."""


class Board:
    """A table, or several of them, in a cell.

    As the last line of a cell it is live, and goes on until ``wb.stop()``, which leaves a static table in its place.

    Args:
        name: of its widget, one of ``PARTS``.
        desk: of the workbench.
        feed: of the workbench.
        query: what the table of jobs shows at first.
    """

    def __init__(self, name: str, desk: Desk, feed: Feed, query: TableQuery) -> None:
        self._name = name
        self._desk = desk
        self._feed = feed
        self._query = query

    def __repr__(self) -> str:
        numbers = board_model.numbers_model(self._feed)
        return f"{self._name}({sum(numbers['jobs'].values())} jobs, {numbers['workers']} workers)"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        del include, exclude  # the front end chooses among what is there
        return still(self._name, self._feed, self._query, repr(self))

    def _ipython_display_(self) -> None:
        if not self._desk.outputs.are_live():
            raise NotImplementedError  # IPython then shows the mimebundle
        widgets = importlib.import_module("avtomatika_widgets")
        self._desk.outputs.show(getattr(widgets, self._name)(self._desk, self._feed, self._query))


def still(name: str, feed: Feed, query: TableQuery, text: str) -> dict[str, Any]:
    """Returns the static output of a board.

    Args:
        name: of its widget.
        feed: what is known.
        query: what the table of jobs shows.
        text: for those who show no HTML.
    """
    now = time.time()
    pages = {
        "numbers": lambda: board_page.numbers_html(board_model.numbers_model(feed)),
        "chart": lambda: board_page.chart_html(board_model.samples_model(list(feed.samples))),
        "queues": lambda: board_page.queues_html(board_model.queues_model(feed.numbers, now)),
        "jobs": lambda: board_page.jobs_html(feed.book.page(query)),
        "workers": lambda: board_page.workers_html(board_model.workers_model(feed.workers, now)),
    }
    return {"text/plain": text, "text/html": board_page.page_html(*(pages[part]() for part in PARTS[name]))}
