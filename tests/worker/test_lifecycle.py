"""The worker's decisions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.worker.lifecycle import (
    Backoff,
    RegisterStep,
    Reply,
    ResultStep,
    after_heartbeat,
    after_register,
    after_result,
    startable,
    status_word,
    why_ignored,
)


@pytest.mark.parametrize(
    ("status", "step"), [(200, "work"), (204, "work"), (403, "refused"), (401, "refused"), (0, "retry"), (500, "retry")]
)
def test_register_answer_decides_what_follows(status: int, step: str) -> None:
    """Only a refused token is a reason to give up."""
    assert after_register(Reply(status)) is RegisterStep(step)


@pytest.mark.parametrize(
    ("status", "body", "register", "cancelled"),
    [
        (200, {"cancel_task_ids": ["t"]}, False, ("t",)),
        (200, {"require_full_sync": True}, True, ()),
        (200, None, False, ()),
        (404, {"error": "Worker not found"}, True, ()),
        (403, {}, True, ()),
        (500, {}, False, ()),
        (0, None, False, ()),
    ],
)
def test_heartbeat_answer_decides_what_follows(
    status: int, body: Any, register: bool, cancelled: tuple[str, ...]
) -> None:
    """A worker that is forgotten registers again; one whose engine is in trouble waits."""
    step = after_heartbeat(Reply(status, body))

    assert (step.register, step.answer.cancel_task_ids) == (register, cancelled)


@pytest.mark.parametrize(
    ("status", "step"),
    [(200, "done"), (0, "retry"), (503, "retry"), (429, "retry"), (403, "retry"), (413, "replace"), (400, "replace")],
)
def test_result_answer_decides_what_follows(status: int, step: str) -> None:
    """A result is repeated as long as that may help."""
    assert after_result(Reply(status)) is ResultStep(step)


def test_ignored_result_has_a_reason() -> None:
    """The worker's log says why a result was not wanted."""
    assert why_ignored(Reply(200, {"status": "ignored", "reason": "stale_task"})) == "stale_task"
    assert why_ignored(Reply(200, {"status": "accepted"})) == ""


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1000))
def test_backoff_stays_between_what_was_asked_and_the_maximum(failures: int, asked: float | None) -> None:
    """Delays never undercut the server's wish, and never exceed both it and the maximum."""
    delay = Backoff(1.0, 60.0).delay(failures, asked)

    assert max(1.0, asked or 0.0) <= delay <= max(60.0, asked or 0.0)


def test_backoff_doubles() -> None:
    """One, two, four seconds."""
    assert [Backoff(1.0, 5.0).delay(failures) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("running", "available"),
    [([], {"a", "b"}), (["b"], {"a"}), (["a", "a"], {"a", "b"}), (["a", "a", "b"], set()), (["a", "b"], {"a"})],
)
def test_skill_at_its_limit_cannot_be_started(running: list[str], available: set[str]) -> None:
    """A skill's own limit holds besides the worker's."""
    assert startable({"a": None, "b": 1}, running, 3) == available


@pytest.mark.parametrize(
    ("available", "running", "is_leaving", "word"),
    [({"a"}, 1, False, "idle"), (set(), 1, False, "busy"), (set(), 2, False, "full"), ({"a"}, 0, True, "offline")],
)
def test_status_word_tells_what_can_be_started(available: set[str], running: int, is_leaving: bool, word: str) -> None:
    """The engine reads from one word whether to hand out a task."""
    assert status_word(frozenset(available), running, 2, is_leaving) == word
