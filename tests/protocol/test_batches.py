"""Many tasks in an answer and many results in a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.errors import ProtocolError
from avtomatika.protocol.batches import (
    MOST,
    encode_tasks,
    parse_announcement,
    parse_answers,
    parse_results,
    parse_tasks,
    write_results,
)
from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.tasks import encode_task

TASK = TaskMessage("j", "t", "work")


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ({"batch": 8}, 8),
        ({"batch": 1000}, MOST),
        ({"batch": 0}, 1),
        ({"batch": "8"}, 1),
        ({"status": "registered"}, 1),
        (None, 1),
        ([], 1),
    ],
)
def test_announcement_is_read_as_far_as_it_makes_sense(body: Any, number: int) -> None:
    """An engine that says nothing of it takes one at a time."""
    assert parse_announcement(body) == number


def test_tasks_survive_the_wire_alone_and_together() -> None:
    """A worker reads both shapes."""
    body = encode_task(TASK)

    assert parse_tasks(body) == [TASK]
    assert parse_tasks(encode_tasks([body, body])) == [TASK, TASK]
    assert parse_tasks({"tasks": []}) == []


@pytest.mark.parametrize("body", [{"tasks": [3]}, {"tasks": None}, {"tasks": 3}, {}, 7])
def test_odd_tasks_are_errors_in_their_places(body: Any) -> None:
    """One that cannot be understood raises nothing."""
    assert [type(one) for one in parse_tasks(body)] == [ProtocolError]


def test_results_are_written_as_one_json_object() -> None:
    """They are joined as they stand."""
    text = write_results("w1", ['{"task_id":"t"}', '{"task_id":"u"}'], 3.7)

    assert json.loads(text) == {"worker_id": "w1", "timestamp": 3, "results": [{"task_id": "t"}, {"task_id": "u"}]}
    assert parse_results(json.loads(text)) == [{"task_id": "t"}, {"task_id": "u"}]


@pytest.mark.parametrize("body", [None, {"answers": 3}, {"answers": []}, {"answers": [None]}, {"answers": [{}]}])
def test_result_without_an_answer_is_to_be_sent_again(body: Any) -> None:
    """Nothing is taken for delivered that the engine did not answer."""
    assert [answer["status"] for answer in parse_answers(body, 2)] == ["again", "again"]
