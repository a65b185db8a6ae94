"""Laws of the protocol: reading never fails in an unexpected way, and undoes writing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.errors import ProtocolError
from avtomatika.protocol.answers import heartbeat_answer, parse_heartbeat_answer
from avtomatika.protocol.codec import dumps, loads
from avtomatika.protocol.heartbeats import adopt, apply_heartbeat, encode_heartbeat, parse_heartbeat
from avtomatika.protocol.messages import Heartbeat, Result, Skill, TaskMessage, WorkerEventMessage, WorkerProfile
from avtomatika.protocol.polls import encode_poll, parse_poll
from avtomatika.protocol.registration import encode_register, parse_register
from avtomatika.protocol.results import encode_result, parse_result
from avtomatika.protocol.tasks import encode_task, parse_task
from avtomatika.protocol.worker_events import encode_event, parse_event, progress_of

KEYS = (  # noqa: SIM905 - a list of sixty quoted words is harder to read
    "worker_id worker_type supported_tasks supported_skills available_skills hot_skills hot_cache max_concurrent_tasks "
    "cost_per_skill hostname ip_address resources installed_software installed_models installed_artifacts capabilities "
    "skills_hash security metadata timestamp status load usage current_tasks job_id task_id result data error costs "
    "data_metadata event type event_type event_id payload progress message target_job_id origin_task_id name version "
    "properties devices gpu_info vram_gb memory_gb model cpu_cores ram_gb extra s3_config_hash code details "
    "cpu_load_percent params tracing_context priority deadline cancel_task_ids next_heartbeat_jitter_ms"
).split()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = st.sampled_from(["progress_update", "idle", "offline", "success", "failure", "w"])
VALUES = st.recursive(
    SCALARS | WORDS | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=15,
)
BODIES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=10) | VALUES
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=12)
TEXTS = st.text(max_size=12)
SHARES = st.floats(0, 1)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
EXTRAS = st.dictionaries(st.just("output_statuses") | st.just("x"), st.integers(), max_size=2)
SKILLS = st.lists(
    st.builds(Skill, NAMES, NAMES, TEXTS, TEXTS, st.none() | OBJECTS, st.none() | OBJECTS, EXTRAS),
    max_size=3,
    unique_by=lambda skill: skill.name,
).map(tuple)
NAME_SETS = st.frozensets(NAMES, max_size=3)
COSTS = st.dictionaries(NAMES, st.floats(0, 100), max_size=3)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(value: Any, in_ascii: bool) -> None:
    """Numbers, texts and the literals that JSON lacks mean to us what they mean to the oldest workers."""
    text = json.dumps(value, ensure_ascii=in_ascii).encode("utf-8", "surrogatepass")
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ProtocolError):
            loads(text)
    else:
        assert repr(loads(text)) == repr(expected)


@pytest.mark.parametrize(
    "text", [b"1e400", b"-0", b'"\\ud800"', b'{"a":1,"a":2}', b"\xef\xbb\xbf1", b"18446744073709551616"]
)
def test_strange_json_is_read_as_the_standard_library_reads_it(text: bytes) -> None:
    """What two readers of JSON may take differently is taken in one way."""
    assert repr(loads(text)) == repr(json.loads(text))


def read_progress(body: Any) -> object:
    """Reads an event and the progress in it."""
    return progress_of(parse_event(body))


def read_twice(body: Any) -> object:
    """Reads a heartbeat and applies it both ways."""
    heartbeat = parse_heartbeat("w", body)
    return adopt(heartbeat, 1.0), apply_heartbeat(WorkerProfile("w"), heartbeat, 2.0)


@pytest.mark.parametrize(
    "parse",
    [
        lambda body: parse_register(body, 1.0),
        read_twice,
        parse_result,
        read_progress,
        parse_task,
        parse_heartbeat_answer,
    ],
    ids=["register", "heartbeat", "result", "event", "task", "answer"],
)
@given(body=BODIES)
def test_any_json_is_read_or_refused_with_a_protocol_error(parse: Callable[[Any], object], body: Any) -> None:
    """No message, however odd, raises anything but ProtocolError."""
    with contextlib.suppress(ProtocolError):
        parse(body)


@given(
    st.builds(
        WorkerProfile,
        worker_id=NAMES,
        type=NAMES,
        skills=SKILLS,
        available=st.none() | NAME_SETS,
        hot=NAME_SETS,
        max_tasks=st.none() | st.integers(1, 100),
        costs=COSTS,
        software=st.dictionaries(NAMES, NAMES, max_size=2),
        artifacts=st.dictionaries(NAMES, NAMES, max_size=2),
        resources=st.just({"cpu_cores": 4, "devices": [{"type": "gpu", "properties": {"memory_gb": 8.0}}]}),
        hostname=TEXTS,
        address=TEXTS,
        skills_hash=TEXTS,
        dialect=st.just("G4"),
        registered_at=st.just(5.0),
        seen_at=st.just(5.0),
        extra=EXTRAS,
    )
)
def test_registration_read_after_written_is_the_same(profile: WorkerProfile) -> None:
    """A profile survives the wire."""
    assert parse_register(loads(dumps(encode_register(profile, 5.0))), 5.0) == profile


@given(
    st.builds(
        Heartbeat,
        worker_id=NAMES,
        status=st.sampled_from(["idle", "busy", "full"]),
        current_tasks=st.lists(NAMES, unique=True, max_size=3).map(tuple),
        skills=st.none() | SKILLS,
        available=st.frozensets(NAMES, min_size=1, max_size=3),
        hot=NAME_SETS,
        skills_hash=TEXTS,
        dialect=st.just("G4"),
    )
)
def test_heartbeat_read_after_written_is_the_same(heartbeat: Heartbeat) -> None:
    """A heartbeat survives the wire."""
    assert parse_heartbeat(heartbeat.worker_id, loads(dumps(encode_heartbeat(heartbeat, 5.0)))) == heartbeat


@given(st.builds(Result, NAMES, NAMES, NAMES, NAMES.filter(lambda s: s != "success"), JSON, NAMES, TEXTS, costs=COSTS))
def test_result_read_after_written_is_the_same(result: Result) -> None:
    """A result survives the wire, whatever its status and data."""
    read = parse_result(loads(dumps(encode_result(result, 5.0))))

    assert encode_result(read, 5.0) == encode_result(result, 5.0)


@given(
    st.builds(
        WorkerEventMessage,
        NAMES,
        st.dictionaries(TEXTS, st.integers()),
        NAMES,
        NAMES,
        NAMES,
        NAMES,
        NAMES | st.just(""),
        st.lists(NAMES, max_size=32).map(tuple),
    ).filter(lambda event: event.origin != event.worker_id)
)
def test_event_read_after_written_is_the_same(event: WorkerEventMessage) -> None:
    """An event survives the wire."""
    assert parse_event(loads(dumps(encode_event(event, 5.0)))) == event


@given(
    st.builds(
        TaskMessage,
        NAMES,
        NAMES,
        NAMES,
        OBJECTS,
        st.dictionaries(NAMES, TEXTS, max_size=2),
        st.floats(-10, 10),
        st.none() | st.integers(0, 2**40),
    )
)
def test_task_read_after_written_is_the_same(task: TaskMessage) -> None:
    """A task survives the wire."""
    assert parse_task(loads(dumps(encode_task(task)))) == task


@given(st.lists(NAMES, unique=True, max_size=3), st.booleans())
def test_heartbeat_answer_read_after_written_is_the_same(cancelled: list[str], full_sync: bool) -> None:
    """A worker hears what the server said."""
    answer = parse_heartbeat_answer(heartbeat_answer(cancelled, full_sync))

    assert (list(answer.cancel_task_ids), answer.require_full_sync) == (cancelled, full_sync)


@given(st.floats(0, 1000), NAME_SETS, NAME_SETS)
def test_poll_read_after_written_is_the_same(timeout: float, available: frozenset[str], hot: frozenset[str]) -> None:
    """The query string of a poll loses nothing."""
    poll = parse_poll(urlencode(encode_poll(timeout, available, hot)))

    assert (poll.timeout, poll.available, poll.hot) == (timeout, available, hot)


@given(st.dictionaries(TEXTS, SCALARS))
def test_dumps_of_any_numbers_is_strict_json(value: dict[str, Any]) -> None:
    """NaN and the infinities never reach the wire."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(dumps(value), parse_constant=refuse)
