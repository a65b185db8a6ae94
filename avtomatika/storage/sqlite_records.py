"""Records and counters in the SQLite storage: steps that write them, and what is read of them."""

from __future__ import annotations

from avtomatika.core.document import Document
from avtomatika.storage.base import Count, Record, RecordWrite
from avtomatika.storage.records import counted
from avtomatika.storage.sqlite_step import Step


def is_expected(step: Step, write: RecordWrite) -> bool:
    """Whether the version stored is the one that the write expects."""
    if write.expected is None:
        return True
    record = find_record(step, write.space, write.key)
    return write.expected == (0 if record is None else record.version)


def put_record(step: Step, write: RecordWrite) -> bool:
    """Writes a record if the version stored is the one expected."""
    if not is_expected(step, write):
        return False
    step.write("forget_ended_records", now=step.now)
    if write.value is None:
        step.write("forget_record", space=write.space, key=write.key)
    else:
        ends_at = None if write.ttl is None else step.now + write.ttl
        step.write("put_record", space=write.space, key=write.key, ends_at=ends_at, raw=write.value.raw)
    return True


def find_record(step: Step, space: str, key: str) -> Record | None:
    """Returns the record if its time has not run out."""
    row = step.row("find_record", space=space, key=key, now=step.now)
    return None if row is None else Record(space, key, Document(row[0]), row[1], row[2])


def list_records(step: Step, space: str, after: str, limit: int) -> list[Record]:
    """Returns records of a space, by key."""
    rows = step.rows("list_records", space=space, after=after, limit=limit, now=step.now)
    return [Record(space, key, Document(raw), version, ends_at) for key, raw, version, ends_at in rows]


def look(step: Step, key: str, limit: int, ttl: float, amount: int) -> Count:
    """Returns what would come of counting; writes nothing."""
    return counted(step.row("find_counter", key=key, now=step.now), limit, step.now + ttl, amount)


def count(step: Step, key: str, limit: int, ttl: float, amount: int) -> Count:
    """Counts, unless that would be too much."""
    step.write("forget_ended_counters", now=step.now)
    outcome = look(step, key, limit, ttl, amount)
    if outcome.granted:
        query = "open_counter" if amount > 0 else "give_back"
        step.write(query, key=key, total=outcome.total, ends_at=outcome.resets_at)
    return outcome
