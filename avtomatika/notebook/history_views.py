"""Views over a history database: the analysis, with its filters pushed down into SQL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avtomatika.blueprints import Graph
from avtomatika.history.reader import ROW_CAP, HistoryRows, Moment, Words
from avtomatika.notebook import analysis
from avtomatika.notebook.charts import Chart

if TYPE_CHECKING:
    import pandas as pd

_EVERY = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
_BY = {
    "state": ("state_finished", "state"),
    "blueprint": (list(analysis.END_EVENTS), "blueprint"),
    "worker": (["task_finished", "task_failed"], "worker_id"),
    "task": (["task_finished", "task_failed"], "task_type"),
}


class HistoryViews:
    """Tables and pictures of a history, over a read-only connection of its own.

    Args:
        path_or_uri: path of a SQLite file, or a value of ``HISTORY_DATABASE_URI``.
        cap: how many rows a read may return.

    Raises:
        ConfigError: there is no such file, the history is in memory, or asyncpg is missing for PostgreSQL.
    """

    # Every method reads only the events that it needs; a read of more rows than the cap is refused with advice.

    def __init__(self, path_or_uri: str | Path, cap: int = ROW_CAP) -> None:
        self._rows = HistoryRows(path_or_uri, cap)

    def tasks(
        self, job_id: Words = None, blueprint: Words = None, since: Moment = None, until: Moment = None
    ) -> pd.DataFrame:
        """Returns the attempts of tasks, in order of their dispatch; the columns are ``analysis.TASK_TYPES``.

        Args:
            job_id: of this job, or of any of several.
            blueprint: of jobs of this blueprint, or of any of several.
            since: events at this moment or later.
            until: events before this moment.

        Raises:
            ValueError: more rows than the cap match.
        """
        return analysis.tasks_frame(
            self._rows.job_events(
                event_type=list(analysis.TASK_EVENTS), job_id=job_id, blueprint=blueprint, since=since, until=until
            )
        )

    def durations(
        self,
        by: str = "state",
        job_id: Words = None,
        blueprint: Words = None,
        since: Moment = None,
        until: Moment = None,
    ) -> Chart:
        """Returns how long things took.

        Args:
            by: ``state`` (from entering to leaving), ``task`` (the work on one attempt, by type), ``worker`` (likewise)
                or ``blueprint`` (from creation to the end).
            job_id: as for ``tasks``.
            blueprint: as for ``tasks``.
            since: as for ``tasks``.
            until: as for ``tasks``.

        Raises:
            ValueError: ``by`` is none of these, or more rows than the cap match.
        """
        if by not in _BY:
            raise ValueError(f"durations can be by {', '.join(_BY)}; got {by!r}.")
        event_type, column = _BY[by]
        events = self._rows.job_events(
            event_type=event_type, job_id=job_id, blueprint=blueprint, since=since, until=until
        )
        found = (
            (str((event["context_snapshot"] if column == "task_type" else event).get(column) or "?"), event)
            for event in events
        )
        seconds = [
            (name, float(event["duration_ms"]) / 1e3) for name, event in found if event["duration_ms"] is not None
        ]
        return analysis.durations(seconds, f"Durations by {by}")

    def success_rate(
        self, every: str | float = "hour", blueprint: Words = None, since: Moment = None, until: Moment = None
    ) -> Chart:
        """Returns which share of the jobs that ended did finish, over time.

        Args:
            every: ``minute``, ``hour``, ``day``, or seconds.
            blueprint: as for ``tasks``.
            since: as for ``tasks``.
            until: as for ``tasks``.

        Raises:
            ValueError: ``every`` is none of these, or more rows than the cap match.
        """
        seconds = _EVERY.get(every, 0.0) if isinstance(every, str) else float(every)
        if not 0 < seconds < float("inf"):
            raise ValueError(f"every is {', '.join(_EVERY)} or a positive number of seconds; got {every!r}.")
        events = self._rows.job_events(
            event_type=list(analysis.END_EVENTS), blueprint=blueprint, since=since, until=until
        )
        return analysis.success_rate(events, seconds)

    def conformance(self, graph: Graph, since: Moment = None, until: Moment = None) -> Chart:
        """Returns how the transitions that happened lie over the declared graph.

        Args:
            graph: of the blueprint, as ``bp.graph``.
            since: as for ``tasks``.
            until: as for ``tasks``.

        Raises:
            ValueError: more rows than the cap match.
        """
        events = self._rows.job_events(event_type="state_finished", blueprint=graph.name, since=since, until=until)
        return analysis.conformance(events, graph)
