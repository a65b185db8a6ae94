"""What the SQLite storage asks its file, and how much that looks at."""

from __future__ import annotations

import pytest

from avtomatika.storage import SQLiteStorage
from avtomatika.storage.base import TaskClaim
from avtomatika.storage.sqlite_queries import QUERIES
from avtomatika.storage.sqlite_step import Step


@pytest.mark.parametrize("name", QUERIES)
async def test_query_looks_at_no_more_than_it_needs(storage: SQLiteStorage, name: str) -> None:
    """Each statement fits the tables, and finds its rows by an index; only lists of all rows go through all."""
    sql = QUERIES[name].replace("{filters}", "j.client = :client AND (j.created_at, j.id) < (:at, :id)")
    unbound = sql.count("?")

    def plan(step: Step) -> list[str]:
        values: object = (1,) * unbound if unbound else _Anything()
        return [row[3] for row in step._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    details = await storage._writer.submit(plan)

    # Small tables, lists of everything, a walk along a key, and the sorting of what one index has found already.
    reads_all = {
        "list_counts",
        "newest_changes_begin",
        "list_queues",
        "list_rows",
        "audit_jobs",
        "audit_outbox",
        "audit_messages",
        "next_moment",
    }
    sorts = {"list_workers", "timers_of_job"}
    scans = [detail for detail in details if detail.startswith("SCAN") and "INDEX" not in detail]
    assert name in reads_all or not [detail for detail in scans if detail != "SCAN CONSTANT ROW"]
    assert name in sorts or not [detail for detail in details if "TEMP B-TREE" in detail]


class _Anything(dict):
    """Gives a value for any name."""

    def __missing__(self, _name: str) -> int:
        return 1


async def test_name_that_cannot_be_written_is_not_found(storage: SQLiteStorage) -> None:
    """Half a character out of somebody's JSON is the name of nothing, and no error."""
    name = "\ud800"

    assert await storage.find_job(name) is None
    assert await storage.find_task(name) is None
    assert await storage.list_claims(name) == []
    assert await storage.renew_tasks([TaskClaim(name, 1, "w1")], 5) == [TaskClaim(name, 1, "w1")]
    await storage.remove_worker(name)
    await storage.ack_events([name])
