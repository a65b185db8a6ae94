"""Odd registrations, results and events: what is forgiven and what is refused."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from avtomatika.errors import ProtocolError
from avtomatika.protocol.messages import Skill
from avtomatika.protocol.polls import Poll, encode_wish, parse_poll, parse_wish
from avtomatika.protocol.registration import parse_register
from avtomatika.protocol.results import parse_result
from avtomatika.protocol.worker_events import parse_event


@pytest.mark.parametrize("body", [{}, {"worker_id": None}, {"worker_id": ""}, {"worker_id": []}])
def test_registration_without_worker_id_is_refused(body: dict[str, Any]) -> None:
    """The one thing that a registration must have is named in the error."""
    with pytest.raises(ProtocolError, match="registration: 'worker_id' is"):
        parse_register(body, 1.0)


def test_registration_with_odd_types_is_taken_as_not_said() -> None:
    """A member of a wrong type costs that member, not the worker."""
    worker = parse_register(
        {
            "worker_id": 7,
            "supported_skills": [None, 3.5, "a", {"type": "x"}, {"name": "b", "input_schema": "?"}, {"name": "a"}],
            "max_concurrent_tasks": "many",
            "resources": {"cpu_cores": "4", "devices": [None, {"type": "gpu", "properties": [1]}]},
            "installed_artifacts": "none",
            "cost_per_skill": {"a": "cheap", "b": 1, "c": 10**400, "d": float("nan"), "e": True},
        },
        1.0,
    )

    assert worker.worker_id == "7"
    assert worker.skills == (Skill("a", "a"), Skill("b", "b"))
    assert worker.max_tasks is None
    assert worker.resources == {"devices": [{"type": "gpu"}]}
    assert worker.costs == {"b": 1.0}


def test_registration_with_unknown_members_is_read() -> None:
    """A newer worker may say more than is known here."""
    assert parse_register({"worker_id": "w", "from_the_future": {"a": 1}}, 1.0).worker_id == "w"


@pytest.mark.parametrize("whole", [3, 3.0])
def test_limit_as_integer_or_float_is_the_same(whole: float) -> None:
    """Some workers write 3 as 3.0."""
    assert parse_register({"worker_id": "w", "resources": {"max_concurrent_tasks": whole}}, 1.0).max_tasks == 3


@pytest.mark.parametrize(
    ("returned", "data"),
    [(None, None), ("ok", "ok"), (3, 3), ({"n": 1}, {"n": 1}), ({"data": [1]}, [1]), ({}, None)],
)
def test_nested_result_of_any_type_is_a_success(returned: Any, data: Any) -> None:
    """The first workers send whatever the function returned."""
    result = parse_result({"job_id": "j", "task_id": "t", "result": returned})

    assert (result.status, result.data) == ("success", data)


def test_result_with_data_named_result_is_not_nested() -> None:
    """A newer worker with a member ``result`` of its own is still read from the top."""
    result = parse_result({"task_id": "t", "status": "failure", "result": {"status": "success"}})

    assert result.status == "failure"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"code": "RATE_LIMIT", "retry_after": 30}, 30.0),
        ({"code": "RATE_LIMIT", "details": {"retry_after": 2.5}}, 2.5),
        ({"code": "RATE_LIMIT", "retry_after": "30"}, 0.0),
        ({"code": "RATE_LIMIT", "retry_after": -1, "details": "soon"}, 0.0),
        ("slow down", 0.0),
        (None, 0.0),
    ],
)
def test_failure_may_ask_for_a_pause(error: Any, seconds: float) -> None:
    """Beside the code, or in the details, which is what a function of a published worker can fill."""
    assert parse_result({"task_id": "t", "status": "failure", "error": error}).retry_after == seconds


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("disk full", ("", "disk full", None)),
        ({"code": "X", "message": "m"}, ("X", "m", None)),
        (["odd"], ("", "", ["odd"])),
        (None, ("", "", None)),
    ],
)
def test_failure_with_any_error_is_read(error: Any, expected: tuple[str, str, Any]) -> None:
    """An error may be a text, an object, or nothing."""
    result = parse_result({"task_id": "t", "status": "failure", "error": error})

    assert (result.error_code, result.error_message, result.error_details) == expected


@pytest.mark.parametrize("body", [{"status": "success"}, {"task_id": "t", "status": []}, [], None, "text"])
def test_result_that_cannot_be_understood_is_refused(body: Any) -> None:
    """Without a task, or with a status that is no word, a result means nothing."""
    with pytest.raises(ProtocolError):
        parse_result(body)


def test_event_without_type_is_refused() -> None:
    """An event must say what happened."""
    with pytest.raises(ProtocolError, match="event: 'event_type' is missing"):
        parse_event({"payload": {}})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (None, None, None)),
        ("timeout=30.0&available_skills=a,b&hot_skills=", (30.0, {"a", "b"}, set())),
        ("available_skills=a%2Cb+c&available_skills=d", (None, {"a", "b c"}, None)),
        ("timeout=soon", (None, None, None)),
        ("timeout=nan", (None, None, None)),
        ("timeout=-3&&%ff=%zz", (0.0, None, None)),
    ],
)
def test_poll_query_is_read(query: str, expected: tuple[Any, Any, Any]) -> None:
    """A missing list says nothing, an empty one says none; of what is said twice the first counts."""
    poll = parse_poll(query)

    assert (poll.timeout, poll.available, poll.hot) == expected


@pytest.mark.parametrize(("query", "limit"), [("batch=3", 3), ("batch=0", None), ("batch=", None), ("timeout=1", None)])
def test_wish_is_a_poll_that_says_how_many(query: str, limit: int | None) -> None:
    """A result whose address says anything else wants no tasks."""
    wish = parse_wish(query)

    assert (wish and wish.limit) == limit


def test_wish_read_after_written_is_the_same() -> None:
    """What a worker asks for reaches the engine."""
    wish = parse_wish(urlencode(encode_wish(["b", "a c"], ["m"], 5)))

    assert wish == Poll(None, frozenset({"a c", "b"}), frozenset({"m"}), 5)


def test_event_whose_way_cannot_be_read_is_taken_all_the_same() -> None:
    """Who passed it on is for people; what is no id, or too much, is left out."""
    odd = {"event_type": "x", "worker_id": "w", "origin_worker_id": "no id!", "bubbling_chain": ["a", 7, "b c", "d"]}

    event = parse_event(odd)

    assert (event.origin, event.via) == ("", ("a", "d"))
    assert parse_event({**odd, "bubbling_chain": "a"}).via == ()
    assert len(parse_event({**odd, "bubbling_chain": ["a"] * 1000}).via) == 32
