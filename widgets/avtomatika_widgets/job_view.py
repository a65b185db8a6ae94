"""The live view of one job."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from avtomatika.notebook import job_model
from avtomatika.notebook.desk import Desk
from avtomatika.notebook.gate import Ask
from avtomatika_widgets.base import LiveWidget, script

if TYPE_CHECKING:
    from avtomatika.notebook import JobHandle

_GRACE_SECONDS = 60.0
"""How long a job that failed stays live, so that it can be requeued with its button."""


class JobView(LiveWidget):
    """A job: status, progress, the graph with the way that it takes, timeline, events, data and log.

    Args:
        job: the handle to show.
        desk: of the workbench.
        ask: answers what the view asks.

    Attributes:
        head: what it is, how it is, and what can be done (``job_model.head``), with ``now``, Unix seconds.
        graph: the drawing as SVG, or empty.
        lit: what is lit in the drawing (``job_model.lit``).
        events: rows of the newest events.
        bars: rows of the timeline.
        lines: the newest log lines about the job.
        data: ``state_history`` as JSON text.
        result: the result as JSON text, or empty.
    """

    _esm = script("jobView", "job_view")

    head = traitlets.Dict().tag(sync=True)
    graph = traitlets.Unicode("").tag(sync=True)
    lit = traitlets.Dict().tag(sync=True)
    events = traitlets.List().tag(sync=True)
    bars = traitlets.List().tag(sync=True)
    lines = traitlets.List().tag(sync=True)
    data = traitlets.Unicode("").tag(sync=True)
    result = traitlets.Unicode("").tag(sync=True)

    def __init__(self, job: JobHandle, desk: Desk, ask: Ask) -> None:
        self._job = job
        self._desk = desk
        self._questions = ask
        # A job that had ended before it was shown is there to go through its history, until the workbench stops.
        self._stays = job.is_terminal
        self._ended_at = 0.0
        self._last: tuple[Any, ...] = ()
        drawing = job_model.drawing(job.graph) if job.graph is not None else ""
        super().__init__(desk, graph=drawing, **self.model())

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen; where a person may still want to requeue it, only after a minute."""
        if self._stays or not self._job.is_terminal:
            self._ended_at = 0.0
            return False
        self._ended_at = self._ended_at or time.monotonic()
        actions = job_model.head(self._job.view)["actions"]
        return not actions or time.monotonic() - self._ended_at > _GRACE_SECONDS

    def model(self) -> Mapping[str, Any]:
        """Returns the values of traits as they should be now; none if nothing was heard since the last time."""
        view, events = self._job.view, self._job.events
        log = self._desk.logs(self._job.id)
        seen = (view.get("version"), view.get("status"), view.get("progress"), view.get("progress_message"))
        if (now := (*seen, len(events), log[-1:])) == self._last:
            return {}
        self._last = now
        graph = self._job.graph
        return {
            "head": {**job_model.head(view), "now": time.time()},
            "lit": job_model.now_lit(view, events, graph) if graph is not None else {},
            "events": job_model.event_rows(events),
            "bars": job_model.bar_rows(events),
            "lines": log,
            "data": job_model.short_json(view.get("state_history")),
            "result": "" if view.get("result") is None else job_model.short_json(view["result"]),
        }

    def still(self) -> Mapping[str, Any]:
        """Returns the static page of the job."""
        return self._job._repr_mimebundle_()

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Answers a question of the view."""
        return await self._questions(question)
