"""What a task's function raises to say why it failed; the code decides whether the engine tries again.

TaskError                    the code is the caller's choice
├── TransientError           tried again later
├── ResourceExhaustedError   tried again later
├── TaskTimeoutError         tried again later
├── InternalError            tried again later
├── PermanentError           never tried again; the task is put into quarantine
├── DependencyError          never tried again; the task is put into quarantine
├── SecurityError            never tried again; the task is put into quarantine
├── InvalidInputError        the job fails at once
├── IntegrityError           the job fails at once
└── ContractViolationError   the job fails at once
"""

from __future__ import annotations

from typing import Any

from avtomatika.errors import AvtomatikaError


class TaskError(AvtomatikaError):
    """A task failed.

    Args:
        message: a sentence for people; it stands in the job's history.
        code: a word of the table above, or one of your own, which is treated as transient. None takes the class's own.
        details: any JSON value, or None.
        retry_after: seconds to leave this work alone before another attempt, as a rate limit says; 0 for none.
    """

    code = "TRANSIENT_ERROR"

    def __init__(self, message: str, code: str | None = None, details: Any = None, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class TransientError(TaskError):
    """It may work next time."""


class ResourceExhaustedError(TaskError):
    """Memory, disk or another resource ran out."""

    code = "RESOURCE_EXHAUSTED_ERROR"


class TaskTimeoutError(TaskError):
    """Something took too long."""

    code = "TIMEOUT_ERROR"


class InternalError(TaskError):
    """The worker itself is in trouble."""

    code = "INTERNAL_ERROR"


class PermanentError(TaskError):
    """It will never work."""

    code = "PERMANENT_ERROR"


class DependencyError(TaskError):
    """Something that the task needs is not there and will not come."""

    code = "DEPENDENCY_ERROR"


class SecurityError(TaskError):
    """The task must not be done."""

    code = "SECURITY_ERROR"


class InvalidInputError(TaskError):
    """The params are wrong."""

    code = "INVALID_INPUT_ERROR"


class IntegrityError(TaskError):
    """Data is not what it is said to be."""

    code = "INTEGRITY_MISMATCH_ERROR"


class ContractViolationError(TaskError):
    """The function broke its own promise."""

    code = "CONTRACT_VIOLATION_ERROR"
