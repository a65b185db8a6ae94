"""How return values and exceptions become results."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.results import encode_result, parse_result
from avtomatika.worker import ContractViolationError, PermanentError, Success, TaskError
from avtomatika.worker.outcome import result_of_error, result_of_return

TASK = TaskMessage("j", "t", "resize")


@pytest.mark.parametrize(
    ("returned", "status", "data"),
    [
        ({"n": 1}, "success", {"n": 1}),
        (None, "success", None),
        ([1, (2,)], "success", [1, [2]]),
        (Success({"n": 1}, "needs_review"), "needs_review", {"n": 1}),
        (Success(), "success", None),
        ({"status": "needs_review", "data": {"n": 1}}, "needs_review", {"n": 1}),
        ({"status": "success", "data": 3, "error": None}, "success", 3),
        ({"status": "done", "width": 3}, "success", {"status": "done", "width": 3}),
        ({"data": {"n": 1}}, "success", {"data": {"n": 1}}),
        ({"day": datetime.date(2026, 1, 1)}, "success", {"day": "2026-01-01"}),
    ],
)
def test_return_value_is_data_unless_it_is_a_result(returned: Any, status: str, data: Any) -> None:
    """Only Success, or a dict of nothing but status, data and error, says more than its data."""
    result = result_of_return(TASK, returned)

    assert (result.job_id, result.task_id, result.status, result.data) == ("j", "t", status, data)


def test_returned_failure_keeps_code_and_message() -> None:
    """The published shape of a failure is understood."""
    result = result_of_return(TASK, {"status": "failure", "error": {"code": "PERMANENT_ERROR", "message": "no"}})

    assert (result.status, result.error_code, result.error_message) == ("failure", "PERMANENT_ERROR", "no")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"rows": [1, {"when": range(2)}]}, r"the result\.rows\[1\]\.when is a range"),
        ({"status": "success", "data": object()}, "the result is a object"),
        ({"status": ["odd"]}, "'status' is a list"),
    ],
)
def test_return_value_without_json_form_is_a_contract_violation(returned: Any, message: str) -> None:
    """The error names the place, and the task."""
    with pytest.raises(ContractViolationError, match=f"task 'resize' returned what cannot be sent: .*{message}"):
        result_of_return(TASK, returned)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("bad"), "TRANSIENT_ERROR", "ValueError: bad"),
        (TaskError("later"), "TRANSIENT_ERROR", "later"),
        (TaskError("mine", "MY_ERROR"), "MY_ERROR", "mine"),
        (PermanentError("never"), "PERMANENT_ERROR", "never"),
    ],
)
def test_exception_becomes_a_failure_with_its_code(error: Exception, code: str, message: str) -> None:
    """TaskErrors choose their code, everything else may work next time."""
    result = result_of_error(TASK, error)

    assert (result.status, result.error_code, result.error_message) == ("failure", code, message)


def test_details_without_json_form_become_text() -> None:
    """An error is never lost because of its details."""
    assert result_of_error(TASK, TaskError("x", details={1, 2})).error_details == "{1, 2}"


def test_pause_that_an_error_asks_for_goes_along() -> None:
    """A function that hit a rate limit says for how long to leave it alone."""
    assert result_of_error(TASK, TaskError("slow down", "RATE_LIMIT", retry_after=30)).retry_after == 30
    assert result_of_error(TASK, TaskError("slow down", retry_after=-1)).retry_after == 0


def test_pause_survives_the_wire() -> None:
    """What the worker's SDK writes, the engine reads."""
    sent = result_of_error(TASK, TaskError("slow down", retry_after=30))

    assert parse_result(encode_result(sent, 0.0)).retry_after == 30
