"""The feed: hears of everything while somebody looks, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from avtomatika import StateMachineBlueprint
from avtomatika.errors import ClientError
from avtomatika.notebook import Workbench
from avtomatika.notebook import feed as feed_module
from avtomatika.notebook.feed import Feed


def until(condition: Callable[[], bool]) -> None:
    """Waits until something holds that another thread brings about."""
    nobody = threading.Event()
    for _ in range(1000):
        if condition():
            return
        nobody.wait(0.01)
    raise AssertionError("it never came to hold")


@pytest.fixture
def feed(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Feed:
    """The feed of a workbench; it measures without letting a test wait."""
    monkeypatch.setattr(feed_module, "_SAMPLE_SECONDS", 0.01)
    monkeypatch.setattr(feed_module, "_AGAIN_SECONDS", 0.01)
    return workbench._feed


def test_feed_knows_earlier_jobs_and_hears_of_later_ones(
    workbench: Workbench, feed: Feed, doubling: StateMachineBlueprint, patient: StateMachineBlueprint
) -> None:
    """A job that was there, one that came while it listened, and the end of the second."""
    before = workbench.submit(doubling, {"number": 1}).wait(30)

    feed.join()
    until(lambda: feed.book.find(before.id) is not None)
    later = workbench.submit(patient, {"text": "a"})
    until(lambda: feed.book.find(later.id) is not None)
    later.cancel()
    until(lambda: feed.book.statuses() == {"cancelled": 1, "finished": 1})

    assert (feed.book.ended, feed.book.failed) == (1, 0)
    until(lambda: sum(sample.ended for sample in feed.samples) == 1)
    feed.leave()


def test_feed_that_nobody_looks_at_leaves_no_task(workbench: Workbench, feed: Feed) -> None:
    """It begins with the first view and ends with the last."""
    feed.join()
    feed.join()
    until(lambda: feed.is_listening and bool(feed.samples))
    feed.leave()
    feed.join()
    feed.leave()
    assert feed.is_listening
    feed.leave()

    until(lambda: not feed.is_listening)
    workbench._background.call(_none_listens())


async def _none_listens() -> None:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    assert not {"Feed._listen", "Feed._measure"} & set(names)


def test_static_view_looks_once(workbench: Workbench, feed: Feed, doubling: StateMachineBlueprint) -> None:
    """Without a live view one look tells everything, and nothing listens afterwards."""
    workbench.submit(doubling, {"number": 1}).wait(30)

    feed.look(10)

    assert feed.book.statuses() == {"finished": 1}
    assert feed.numbers["jobs"]["finished"] == 1
    assert not feed.is_listening


def test_feed_goes_on_after_a_failure(workbench: Workbench, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What broke is told, and gone when the engine answers again."""
    failures = [ClientError(500, "internal_error", "the engine is ill")] * 3
    dashboard = workbench._client.dashboard
    was_told = threading.Event()

    async def fail() -> dict[str, object]:
        if failures:
            if feed.trouble:
                was_told.set()
            raise failures.pop()
        return await dashboard()

    monkeypatch.setattr(workbench._client, "dashboard", fail)
    feed.join()

    assert was_told.wait(10)
    until(lambda: bool(feed.samples) and not feed.trouble)
    feed.leave()
