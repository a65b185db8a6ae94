"""Steps of the SQLite storage on the log of changes."""

from __future__ import annotations

from avtomatika.core.job import Job
from avtomatika.storage.base import Changes
from avtomatika.storage.codec import decode_change, encode_change
from avtomatika.storage.records import first_position, next_position
from avtomatika.storage.sqlite_step import Step


def append_change(step: Step, job: Job) -> None:
    """Appends what a commit made of a job."""
    position = next_position(step.value("last_change") or 0, step.now)
    step.write("put_change", position=position, raw=encode_change(job))


def read_changes(step: Step, after: int | None, limit: int) -> Changes:
    """Returns changes behind a position."""
    rows = [] if after is None else step.rows("list_changes", after=after, limit=limit)
    end = max(step.value("last_change") or 0, first_position(step.now) - 1)
    entries = [decode_change(position, raw) for position, raw in rows]
    return Changes(entries, step.value("changes_floor"), end)


def find_cut(step: Step, age: float, keep: int) -> int:
    """Returns below which position changes are too old or too many; 0 if none are."""
    cut = max(first_position(step.now - age), step.value("newest_changes_begin", keep=keep) or 0)
    oldest = step.value("first_change")
    return cut if oldest is not None and oldest < cut else 0


def trim_changes(step: Step, cut: int) -> None:
    """Forgets changes below a position, and remembers it."""
    if step.write("forget_changes", before=cut):
        step.write("raise_changes_floor", floor=cut)
