"""What the server writes: tasks that stop no worker, answers that silence none."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.errors import ProtocolError
from avtomatika.protocol.answers import IgnoredReason, cancel_command, heartbeat_answer, ignored, registered
from avtomatika.protocol.codec import dumps, loads
from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.tasks import MAX_PARAMS_DEPTH, encode_task

TASK = TaskMessage("j-7", "t-41-1", "resize", {"w": 64}, {"traceparent": "00-1"}, 2.0, 1_800_000_000)


def nested(depth: int) -> dict[str, Any]:
    """Returns objects inside each other."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_task_has_every_member_that_some_worker_needs() -> None:
    """Old workers stop polling for ever when params or tracing_context are missing."""
    assert encode_task(TaskMessage("j", "t", "echo")) == {
        "job_id": "j",
        "task_id": "t",
        "type": "echo",
        "params": {},
        "tracing_context": {},
        "priority": 0,
    }


def test_task_with_deadline_has_a_whole_number() -> None:
    """The newest workers refuse a float here."""
    body = encode_task(replace(TASK, deadline=1_800_000_000.0))  # type: ignore[arg-type]

    assert (body["deadline"], type(body["deadline"])) == (1_800_000_000, int)


def test_task_with_odd_tracing_context_keeps_the_texts() -> None:
    """The newest workers refuse a task for a number there."""
    context: Any = {"traceparent": "00-1", "depth": 3, "none": None}

    assert encode_task(replace(TASK, tracing_context=context))["tracing_context"] == {"traceparent": "00-1"}


def test_task_with_deep_params_is_refused() -> None:
    """One level more than a worker can read is found before the task is sent."""
    encode_task(replace(TASK, params=nested(MAX_PARAMS_DEPTH)))

    with pytest.raises(ProtocolError, match="nested more than 29 levels deep"):
        encode_task(replace(TASK, params=nested(MAX_PARAMS_DEPTH + 1)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": [1, {"b": {1, 2}}]}, r"params\.a\[1\]\.b is a set"),
        ({"a": b"x"}, r"params\.a is a bytes"),
        ({"n": 2**64}, r"params\.n is an integer beyond 64 bits"),
        ({("a", "b"): 1}, "params has the key"),
        ([1], "its params are a list"),
    ],
)
def test_task_with_params_that_cannot_be_sent_is_refused(params: Any, message: str) -> None:
    """The error has the path of what is wrong."""
    with pytest.raises(ProtocolError, match=message):
        encode_task(replace(TASK, params=params))


@pytest.mark.parametrize("change", [{"task_id": "../x"}, {"task_id": ""}, {"job_id": 5}, {"job_id": "x" * 129}])
def test_task_with_a_bad_id_is_refused(change: dict[str, Any]) -> None:
    """Workers make directories of these ids."""
    with pytest.raises(ProtocolError, match="expected 1 to 128 of the characters"):
        encode_task(replace(TASK, **change))


def test_task_without_a_type_is_refused() -> None:
    """A task must say which skill it needs."""
    with pytest.raises(ProtocolError, match="name of a skill"):
        encode_task(replace(TASK, type=""))


def test_task_with_nan_has_null() -> None:
    """Strict JSON has no NaN."""
    assert encode_task(replace(TASK, params={"x": float("nan"), "y": (1,)}))["params"] == {"x": None, "y": [1]}


def test_heartbeat_answer_without_cancellations_has_no_list() -> None:
    """A null or needless list silences some workers."""
    assert heartbeat_answer() == {"status": "ok"}
    assert heartbeat_answer(["t"], require_full_sync=True) == {
        "status": "ok",
        "cancel_task_ids": ["t"],
        "require_full_sync": True,
    }


def test_ignored_answer_has_reason_and_sentence() -> None:
    """A worker logs why its result was not wanted."""
    for reason in IgnoredReason:
        answer = ignored(reason)

        assert (answer["status"], answer["reason"]) == ("ignored", reason.value)
        assert answer["message"]


def test_registered_answer_leaves_out_what_is_not_set() -> None:
    """Optional members are there or not, never null."""
    assert registered(warning=None) == {"status": "registered"}
    assert registered(warning="old") == {"status": "registered", "warning": "old"}


def test_cancel_command_has_both_spellings() -> None:
    """The oldest workers read ``type``, all others ``command``."""
    assert cancel_command("t", "j") == {
        "command": "cancel_task",
        "type": "cancel_task",
        "task_id": "t",
        "job_id": "j",
    }


@pytest.mark.parametrize("text", [b"{", b"\xff", "[" * 100_000, "1" * 5000])
def test_loads_of_what_is_not_json_is_a_protocol_error(text: str | bytes) -> None:
    """Whatever the bytes, the reader gets one kind of error."""
    with pytest.raises(ProtocolError, match="the body is"):
        loads(text)


def test_loads_takes_the_literals_of_old_workers() -> None:
    """NaN and Infinity are read as floats."""
    assert loads('{"a": Infinity, "b": -Infinity}') == {"a": float("inf"), "b": float("-inf")}


def test_dumps_of_odd_numbers_and_texts_is_plain_ascii() -> None:
    """NaN becomes null, and any text survives."""
    assert dumps({"a": float("nan"), "b": "\ud800é", "c": (1,)}) == '{"a":null,"b":"\\ud800\\u00e9","c":[1]}'


def test_dumps_of_a_value_within_itself_is_refused() -> None:
    """A circle has no JSON form and ends in no endless loop."""
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(ProtocolError, match="nested more than 200 levels deep"):
        dumps(circle)
