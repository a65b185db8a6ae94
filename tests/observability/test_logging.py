"""Log lines: their shape, their ids, and that no other logger is touched."""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import logging
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest

from avtomatika.errors import StorageError
from avtomatika.log_context import log_context
from avtomatika.observability.logging import LOGGER, setup_logging

log = logging.getLogger("avtomatika.tests")


@pytest.fixture(autouse=True)
def untouched_logger() -> Iterator[None]:
    """Gives the logger back as it was."""
    logger = logging.getLogger(LOGGER)
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Returns what was logged, each line parsed."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_has_named_fields() -> None:
    """A JSON line says when, how severe, who and what, and holds the extra facts."""
    stream = io.StringIO()
    setup_logging("INFO", "json", stream=stream)

    log.warning("job %s: ünexpected", "j-1", extra={"action": "retry"})

    (line,) = json_lines(stream)
    moment = datetime.datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == datetime.timedelta(0)
    assert line == {
        "level": "WARNING",
        "logger": "avtomatika.tests",
        "message": "job j-1: ünexpected",
        "action": "retry",
    }


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_outage_of_the_storage_is_one_line(level: str) -> None:
    """A minute of it would be thousands of lines otherwise; whoever looks for a defect asks for them."""
    stream = io.StringIO()
    setup_logging(level, "text", stream=stream)

    log.error("cannot claim %s", "jobs", exc_info=StorageError("Redis does not answer."))

    first, *others = stream.getvalue().splitlines()
    if level == "INFO":
        assert first.endswith("cannot claim jobs: Redis does not answer.")
        assert others == []
    else:
        assert others[-1] == "avtomatika.errors.StorageError: Redis does not answer."


def test_other_errors_keep_their_tracebacks() -> None:
    """A defect is to be found."""
    stream = io.StringIO()
    setup_logging("INFO", "text", stream=stream)

    log.error("a step failed", exc_info=ValueError("a defect"))

    assert stream.getvalue().splitlines()[-1] == "ValueError: a defect"


def test_moments_are_in_the_given_zone() -> None:
    """The time zone of the settings shows in every line, and the moment is the record's."""
    stream = io.StringIO()
    setup_logging("INFO", "text", zoneinfo.ZoneInfo("Asia/Tokyo"), stream)
    record = log.makeRecord(log.name, logging.INFO, "here.py", 1, "hello", (), None)
    record.created = 1_700_000_000.25

    log.handle(record)

    assert stream.getvalue() == "2023-11-15T07:13:20.250+09:00 INFO     avtomatika.tests: hello\n"


def test_context_ids_are_in_every_line_inside() -> None:
    """Ids of an outer block stay in an inner one, and end with their block."""
    stream = io.StringIO()
    setup_logging(stream=stream)

    with log_context(job_id="j-1"):
        with log_context(task_id="t-1", worker_id="w-1"):
            log.info("inner")
        log.info("outer")
    log.info("none")

    ids = [{k: v for k, v in line.items() if k.endswith("_id")} for line in json_lines(stream)]
    assert ids == [{"job_id": "j-1", "task_id": "t-1", "worker_id": "w-1"}, {"job_id": "j-1"}, {}]


def test_context_ids_of_an_explicit_extra_win() -> None:
    """A line that names its job itself keeps that name."""
    stream = io.StringIO()
    setup_logging(stream=stream)

    with log_context(job_id="outer"):
        log.info("about another", extra={"job_id": "other"})

    assert json_lines(stream)[0]["job_id"] == "other"


async def test_context_ids_of_concurrent_tasks_do_not_mix() -> None:
    """Two jobs at once log their own ids."""
    stream = io.StringIO()
    setup_logging(stream=stream)
    both_inside = asyncio.Barrier(2)

    async def run(job_id: str) -> None:
        with log_context(job_id=job_id):
            await both_inside.wait()
            log.info(job_id)

    await asyncio.gather(run("j-1"), run("j-2"))

    assert [line["job_id"] == line["message"] for line in json_lines(stream)] == [True, True]


def test_text_line_shows_ids_at_its_end() -> None:
    """People find the ids behind the message."""
    stream = io.StringIO()
    setup_logging("INFO", "text", stream=stream)

    with log_context(job_id="j-1", task_id="t-1"):
        log.info("task dispatched")

    assert stream.getvalue().endswith("avtomatika.tests: task dispatched [job_id=j-1 task_id=t-1]\n")


def test_text_line_with_foreign_line_breaks_stays_one_entry() -> None:
    """What a worker sent cannot look like a line of ours, nor reach the terminal as a command."""
    stream = io.StringIO()
    setup_logging("INFO", "text", stream=stream)

    log.info("worker says: %s", "boom\n2023-11-15 ERROR avtomatika: forged\x1b[2J\r")

    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("    2023-11-15 ERROR")
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_exception_is_logged_with_its_trace(style: Any) -> None:
    """The trace of an exception is part of the line or follows it."""
    stream = io.StringIO()
    setup_logging("INFO", style, stream=stream)

    try:
        _ = dict[str, int]()["no such thing"]
    except KeyError:
        log.exception("failed")

    assert "Traceback (most recent call last)" in stream.getvalue()
    assert "no such thing" in stream.getvalue()


def test_lines_below_the_level_are_dropped() -> None:
    """The level of the settings is the least that is written."""
    stream = io.StringIO()
    setup_logging("WARNING", "text", stream=stream)

    log.info("quiet")
    log.warning("loud")

    assert len(stream.getvalue().splitlines()) == 1


def test_second_setup_replaces_the_first_and_keeps_foreign_handlers() -> None:
    """Setting up twice does not write lines twice, and a handler of the program stays."""
    first, second, foreign = io.StringIO(), io.StringIO(), logging.NullHandler()
    logging.getLogger(LOGGER).addHandler(foreign)
    setup_logging("INFO", "text", stream=first)

    setup_logging("INFO", "text", stream=second)
    log.info("once")

    assert (first.getvalue(), len(second.getvalue().splitlines())) == ("", 1)
    assert foreign in logging.getLogger(LOGGER).handlers


def test_setup_leaves_the_root_logger_alone() -> None:
    """A program's own logging is its own business."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, root.filters[:])

    setup_logging("DEBUG", "text", stream=io.StringIO())

    assert (root.handlers, root.level, root.filters) == before
    assert not logging.getLogger(LOGGER).propagate


def test_import_sets_up_nothing() -> None:
    """Importing the module installs no handler anywhere."""
    code = (
        "import logging, avtomatika.observability.logging as ours\n"
        "loggers = [logging.getLogger(), logging.getLogger(ours.LOGGER)]\n"
        "assert [(x.handlers, x.propagate) for x in loggers] == [([], True)] * 2"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
