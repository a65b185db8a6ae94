"""What came of a call: how returned values and exceptions become the result of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import to_json
from avtomatika.protocol.messages import Result, TaskMessage
from avtomatika.protocol.results import CANCELLED, FAILURE, SUCCESS, parse_result
from avtomatika.worker import typed
from avtomatika.worker.task_errors import ContractViolationError, TaskError

_ENVELOPE = frozenset({"status", "data", "error"})


@dataclass(frozen=True, slots=True)
class Success:
    """A function's return value that chooses the way on.

    Args:
        data: any JSON value.
        status: the word that the job's blueprint maps to its next state.
    """

    data: Any = None
    status: str = SUCCESS


def result_of_return(task: TaskMessage, returned: Any, returns: Any = Any) -> Result:
    """Makes the result of a task whose function returned.

    ``Success`` says what it is. A dict that has ``status`` and no members besides ``status``, ``data`` and ``error`` is
    the result itself. Any other value is the data of a success.

    Args:
        task: the task.
        returned: by its function.
        returns: the type that the data of a success are to have.

    Raises:
        ContractViolationError: the value has no JSON form, is not what was promised, or its status is not a text.
    """
    if isinstance(returned, Success):
        returned = {"status": returned.status, "data": returned.data}
    elif not (isinstance(returned, Mapping) and "status" in returned and returned.keys() <= _ENVELOPE):
        returned = {"data": returned}
    try:
        checked = {
            key: to_json(typed.plain(value), "the result" if key == "data" else key) for key, value in returned.items()
        }
        result = parse_result({"status": SUCCESS, **checked, "job_id": task.job_id, "task_id": task.task_id})
    except ProtocolError as error:
        raise ContractViolationError(f"task '{task.type}' returned what cannot be sent: {error}") from error
    if result.status == SUCCESS and result.data is not None:
        try:
            typed.read(result.data, returns, "data")
        except typed.UnfitError as error:
            raise ContractViolationError(
                f"task '{task.type}' returned what its annotation does not promise: {error}",
                details={"path": error.path},
            ) from None
    return result


def result_of_error(task: TaskMessage, error: BaseException) -> Result:
    """Makes the result of a task whose function raised."""
    if not isinstance(error, TaskError):
        return failed(task, TaskError.code, f"{type(error).__name__}: {error}")
    try:
        details = to_json(error.details, "details")
    except ProtocolError:
        details = repr(error.details)
    return replace(failed(task, error.code, error.message, details), retry_after=max(0.0, error.retry_after))


def failed(task: TaskMessage, code: str, message: str, details: Any = None) -> Result:
    """Makes a failure."""
    return Result(
        task.job_id, task.task_id, status=FAILURE, error_code=code, error_message=message, error_details=details
    )


def cancelled(task: TaskMessage) -> Result:
    """Makes the result of a task that was stopped."""
    return Result(task.job_id, task.task_id, status=CANCELLED)


def failed_like(result: Result, code: str, message: str) -> Result:
    """Makes a failure in place of a result that cannot be delivered."""
    return Result(result.job_id, result.task_id, result.worker_id, FAILURE, error_code=code, error_message=message)
