"""The log lines that the workbench keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from avtomatika.notebook.ring import LogRing

LOGGER = logging.getLogger("avtomatika")
log = logging.getLogger("avtomatika.test")


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Checks after each test that neither logger has changed."""
    root = logging.getLogger()
    before = (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers), root.level, list(root.handlers))
    yield
    assert (LOGGER.level, LOGGER.propagate, list(LOGGER.handlers), root.level, list(root.handlers)) == before


def test_ring_keeps_the_newest_lines_in_order() -> None:
    """Old lines make room; ``last`` counts from the end."""
    ring = LogRing(size=3)
    ring.attach()
    for number in range(5):
        log.info("line %d", number)
    ring.detach()
    log.info("after the end")

    assert [line.rpartition(": ")[2] for line in ring.lines()] == ["line 2", "line 3", "line 4"]
    assert [line.rpartition(": ")[2] for line in ring.lines(2)] == ["line 3", "line 4"]
    assert ring.lines(0) == []
    assert len(ring.lines(99)) == 3


def test_line_tells_level_and_logger() -> None:
    """A line can be understood without its neighbours."""
    ring = LogRing()
    ring.attach()
    log.warning("look here")
    ring.detach()

    assert ring.lines()[0].endswith("WARNING avtomatika.test: look here")


def test_lines_go_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    """While a ring listens, the root logger hears nothing."""
    ring = LogRing()
    ring.attach()
    log.error("not for the root")
    ring.detach()
    log.error("for the root again")

    assert [record.message for record in caplog.records] == ["for the root again"]


@pytest.mark.parametrize("first_to_go", [0, 1])
def test_logger_is_restored_when_the_last_ring_goes(first_to_go: int) -> None:
    """Two workbenches may end in any order; as long as one lives, nothing is printed."""
    rings = [LogRing(), LogRing()]
    for ring in rings:
        ring.attach()
    rings.pop(first_to_go).detach()
    assert not LOGGER.propagate
    log.info("heard by the other")

    assert "heard by the other" in rings[0].lines()[0]
    rings[0].detach()
    rings[0].detach()


def test_more_talkative_logger_keeps_its_level() -> None:
    """Who has set DEBUG for a handler of their own still gets it."""
    LOGGER.setLevel(logging.DEBUG)
    ring = LogRing()
    ring.attach()
    assert LOGGER.level == logging.DEBUG
    log.debug("not for the ring")
    ring.detach()
    assert LOGGER.level == logging.DEBUG
    LOGGER.setLevel(logging.NOTSET)

    assert ring.lines() == []


def test_wrong_log_call_is_kept_as_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    """A mistake in a log call neither ends the engine nor prints a traceback between the cells."""
    ring = LogRing()
    ring.attach()
    log.info("%d things", "many")
    ring.detach()

    assert "a log call of avtomatika.test" in ring.lines()[0]
    assert capfd.readouterr() == ("", "")
