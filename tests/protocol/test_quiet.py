"""Heartbeats that a poll stands for: what engine and worker say of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from avtomatika.protocol.answers import parse_heartbeat_answer
from avtomatika.protocol.batches import task_bodies
from avtomatika.protocol.polls import Poll, encode_poll, parse_poll
from avtomatika.protocol.quiet import forgotten, parse_announcement, quiet_seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"quiet": 40}, 40.0),
        ({"quiet": 2.5}, 2.5),
        ({"quiet": 0}, 0.0),
        ({"quiet": -1}, 0.0),
        ({"quiet": "40"}, 0.0),
        ({"quiet": True}, 0.0),
        ({"quiet": float("nan")}, 0.0),
        ({"quiet": float("inf")}, 0.0),
        ({"quiet": [40]}, 0.0),
        ({"quiet": None}, 0.0),
        ({"status": "registered"}, 0.0),
        (None, 0.0),
        ([], 0.0),
    ],
)
def test_announcement_is_read_as_far_as_it_makes_sense(body: Any, seconds: float) -> None:
    """An engine that says nothing of it hears every heartbeat."""
    assert parse_announcement(body) == seconds


@pytest.mark.parametrize("ttl", [0.5, 10.0, 120.0, 3600.0])
def test_two_silences_and_a_late_writing_fit_into_the_memory_of_an_engine(ttl: float) -> None:
    """Moments are written at least every eighth part of it."""
    assert 0 < 2 * quiet_seconds(ttl) + ttl / 8 < ttl


def test_poll_says_for_which_registration_it_stands() -> None:
    """A worker that sends every heartbeat says nothing, as published ones do."""
    quiet, loud = encode_poll(30, ["a"], quiet="5f0c"), encode_poll(30, ["a"])

    assert quiet["quiet"] == "5f0c"
    assert parse_poll(urlencode(quiet)) == Poll(30.0, frozenset({"a"}), frozenset(), None, "5f0c")
    assert "quiet" not in loud
    assert parse_poll(urlencode(loud)).quiet == ""


def test_answer_to_a_forgotten_worker_is_read_as_a_poll_without_tasks() -> None:
    """And says with the word of a heartbeat what is wanted."""
    assert task_bodies(forgotten()) == []
    assert parse_heartbeat_answer(forgotten()).require_full_sync
