"""The worker SDK: functions that do tasks for an engine.

::

    worker = Worker("resizer", url="http://127.0.0.1:8080")

    @worker.task
    async def resize(path: str, width: int, context: Context) -> dict:
        ...

    worker.run()
"""

from avtomatika.worker.context import Context
from avtomatika.worker.outcome import Success
from avtomatika.worker.retries import Retry
from avtomatika.worker.skill_files import task
from avtomatika.worker.task_errors import (
    ContractViolationError,
    DependencyError,
    IntegrityError,
    InternalError,
    InvalidInputError,
    PermanentError,
    ResourceExhaustedError,
    SecurityError,
    TaskError,
    TaskTimeoutError,
    TransientError,
)
from avtomatika.worker.worker import Worker

__all__ = [
    "Context",
    "ContractViolationError",
    "DependencyError",
    "IntegrityError",
    "InternalError",
    "InvalidInputError",
    "PermanentError",
    "ResourceExhaustedError",
    "Retry",
    "SecurityError",
    "Success",
    "TaskError",
    "TaskTimeoutError",
    "TransientError",
    "Worker",
    "task",
]
