"""Many tasks in an answer and many results in a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.errors import ProtocolError
from avtomatika.protocol.batches import (
    MOST,
    brings_tasks,
    carried_tasks,
    encode_tasks,
    parse_announcement,
    parse_answers,
    parse_results,
    task_bodies,
    write_results,
)
from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.tasks import encode_task, parse_task

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


@pytest.mark.parametrize(
    ("body", "brings"),
    [({"tasks_with_results": True}, True), ({"tasks_with_results": "yes"}, False), ({"batch": 64}, False), (7, False)],
)
def test_engine_brings_tasks_with_results_only_if_it_says_so(body: Any, brings: bool) -> None:
    """Any other value may mean something else one day."""
    assert brings_tasks(body) is brings


def test_tasks_survive_the_wire_alone_and_together() -> None:
    """A worker reads both shapes."""
    body = encode_task(TASK)

    assert task_bodies(body) == [body]
    assert [parse_task(one) for one in task_bodies(encode_tasks([body, body]))] == [TASK, TASK]
    assert task_bodies({"tasks": []}) == []


@pytest.mark.parametrize(
    ("body", "carried"),
    [({"status": "accepted"}, []), ({"tasks": [{"n": 1}, 3]}, [{"n": 1}, 3]), ({"tasks": {}}, []), (None, [])],
)
def test_answer_to_a_result_carries_a_list_of_tasks_or_none(body: Any, carried: list[Any]) -> None:
    """Without the member, the answer itself is no task, as it is in a poll."""
    assert carried_tasks(body) == carried


@pytest.mark.parametrize("body", [{"tasks": [3]}, {"tasks": None}, {"tasks": 3}, {}, 7])
def test_odd_tasks_are_errors_in_their_places(body: Any) -> None:
    """One that cannot be understood is one of the tasks that came."""
    (one,) = task_bodies(body)

    with pytest.raises(ProtocolError):
        parse_task(one)


def test_results_are_written_as_one_json_object() -> None:
    """They are joined as they stand."""
    text = write_results("w1", ['{"task_id":"t"}', '{"task_id":"u"}'], 3.7)

    assert json.loads(text) == {"worker_id": "w1", "timestamp": 3, "results": [{"task_id": "t"}, {"task_id": "u"}]}
    assert parse_results(json.loads(text)) == [{"task_id": "t"}, {"task_id": "u"}]


@pytest.mark.parametrize("body", [None, {"answers": 3}, {"answers": []}, {"answers": [None]}, {"answers": [{}]}])
def test_result_without_an_answer_is_to_be_sent_again(body: Any) -> None:
    """Nothing is taken for delivered that the engine did not answer."""
    assert [answer["status"] for answer in parse_answers(body, 2)] == ["again", "again"]
