"""Every error of the package; one class for each decision that a caller can make.

::

    AvtomatikaError
    ├── ConfigError            a setting or a file of settings is wrong; nothing was started
    ├── BlueprintError         a blueprint cannot be registered, or does not exist
    │   ├── ConditionError     the text of a condition cannot be parsed
    │   └── ValidationError    the graph of a blueprint has faults (all of them are listed)
    ├── HandlerError           a handler cannot be called or asked for something impossible
    │   ├── ArgumentError      a handler asks for an argument that the job does not have
    │   └── ActionError        an action is malformed, or is the second one of a handler
    ├── DocumentError          a value cannot be stored with a job
    │   └── DataSizeError      it is too large
    ├── ContractError          data do not fit the schema that was promised
    ├── JobNotFoundError       no such job (or not of this client)
    ├── JobFailedError         the job that somebody waited for did not finish
    ├── JobStateError          the job's status does not allow the request
    ├── PastStateError         the job was never in that state, or its history is not kept
    ├── DecisionError          a person decided something that was not offered
    ├── StorageError           the storage did not answer or refused
    ├── PayloadError           a file of a job cannot be read or written
    │   ├── PayloadNameError      its name is not allowed
    │   ├── PayloadNotFoundError  there is no such file
    │   ├── PayloadSizeError      it is too large for what was asked
    │   ├── PayloadMismatchError  what the store holds is not what was moved
    │   ├── PayloadStoreError     the store of files did not answer or refused
    │   └── PayloadLostError      a document that left its job is gone or damaged
    ├── ProtocolError          a message of the worker protocol cannot be understood
    ├── AuthError              a token is missing or wrong
    └── ClientError            the server refused a request of our own client
        └── ConnectionFailedError  no server answered

Facts are fields, the sentence is made from them. A message says what happened, what was expected and what to do; it
never holds a token or a payload.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ActionError",
    "ArgumentError",
    "AuthError",
    "AvtomatikaError",
    "BlueprintError",
    "ClientError",
    "ConditionError",
    "ConfigError",
    "ConnectionFailedError",
    "ContractError",
    "DataSizeError",
    "DecisionError",
    "DocumentError",
    "HandlerError",
    "JobFailedError",
    "JobNotFoundError",
    "JobStateError",
    "PastStateError",
    "PayloadError",
    "PayloadLostError",
    "PayloadMismatchError",
    "PayloadNameError",
    "PayloadNotFoundError",
    "PayloadSizeError",
    "PayloadStoreError",
    "ProtocolError",
    "StorageError",
    "ValidationError",
    "suggest",
]


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the known word nearest to ``word``, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""


class AvtomatikaError(Exception):
    """Base of every error that this package raises on purpose."""

    code = "error"
    """A stable word for programs; the ``code`` member of an HTTP error."""


class ConfigError(AvtomatikaError, ValueError):
    """A setting is wrong."""

    code = "invalid_config"


class BlueprintError(AvtomatikaError, ValueError):
    """A blueprint is wrong or unknown."""

    code = "invalid_blueprint"


class ConditionError(BlueprintError):
    """The text of a condition cannot be parsed.

    Args:
        text: the condition as written.
        position: index of the first character that does not fit, counted from 0.
        reason: what was expected there.
    """

    def __init__(self, text: str, position: int, reason: str) -> None:
        self.text = text
        self.position = position
        self.reason = reason
        super().__init__(f"{reason}\n  {text}\n  {' ' * position}^")


class ValidationError(BlueprintError):
    """The graph of a blueprint has faults.

    Args:
        blueprint: its name.
        faults: one sentence for each fault, at least one.
    """

    def __init__(self, blueprint: str, faults: Iterable[str]) -> None:
        self.blueprint = blueprint
        self.faults = tuple(faults)
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(f"blueprint '{blueprint}' cannot be registered:{lines}")


class HandlerError(AvtomatikaError):
    """A handler cannot be called, or what it asked for is impossible."""

    code = "handler_error"


class ArgumentError(HandlerError, TypeError):
    """A handler asks for an argument that the job does not have.

    Args:
        handler: name of the handler function.
        argument: the argument's name.
        available: the names that could have been injected.
    """

    def __init__(self, handler: str, argument: str, available: Iterable[str]) -> None:
        self.handler = handler
        self.argument = argument
        self.available = tuple(available)
        super().__init__(
            f"handler '{handler}' asks for argument '{argument}', which is neither a known name nor in state_history "
            f"nor in initial_data; there is: {', '.join(self.available)}."
            f"{suggest(argument, self.available)} Rename the argument or give it a default."
        )


class ActionError(HandlerError, ValueError):
    """An action is malformed, or is the second one of the same handler."""


class DocumentError(AvtomatikaError, TypeError):
    """A value cannot be stored with a job.

    Args:
        path: where the value stands, such as ``state_history.rows[3].when``.
        problem: what is wrong with it.
    """

    code = "invalid_data"

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(
            f"{path} cannot be stored: {problem}. Use dict (with string keys), list, str, int, float, bool or None."
        )


class DataSizeError(DocumentError):
    """A value is too large to be kept with a job.

    Args:
        path: what it is, such as ``state_history``.
        size: its bytes.
        limit: how many are allowed.
    """

    def __init__(self, path: str, size: int, limit: int) -> None:
        self.path = path
        self.size = size
        self.limit = limit
        AvtomatikaError.__init__(
            self,
            f"{path} has {size:,} bytes, and at most {limit:,} are kept with a job (JOB_MAX_DATA_BYTES). Put large "
            "data into files, and their names here.",
        )


class ContractError(AvtomatikaError, ValueError):
    """Data do not fit the schema that was promised for them.

    Args:
        path: of the first member that does not fit, such as ``initial_data.items[2].kg``.
        reason: what is wrong with it; without the value.
    """

    code = "contract_violation"

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class JobNotFoundError(AvtomatikaError, LookupError):
    """There is no job of this id that the caller may see."""

    code = "job_not_found"

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job '{job_id}' not found; GET /api/v1/jobs lists your jobs.")


class JobFailedError(AvtomatikaError):
    """The job that somebody waited for ended otherwise than finished.

    Args:
        job_id: its id.
        status: how it ended.
        reason: what failed, or an empty string.
    """

    code = "job_failed"

    def __init__(self, job_id: str, status: str, reason: str) -> None:
        self.job_id = job_id
        self.status = status
        self.reason = reason
        super().__init__(f"job {job_id} is {status}{': ' + reason if reason else '.'}")


class JobStateError(AvtomatikaError):
    """The status of the job does not allow what was asked."""

    code = "job_state_conflict"


class PastStateError(AvtomatikaError, LookupError):
    """A job cannot start again from a moment of its past.

    Args:
        job_id: the job.
        state: the state that was meant, or empty.
        sequence: the row of history that was meant, or None.
        known: the moments that there are, as (sequence, state); empty if that part of the history is not kept.
    """

    code = "unknown_past_state"

    def __init__(self, job_id: str, state: str, sequence: int | None, known: Iterable[tuple[int, str]]) -> None:
        self.job_id = job_id
        self.known = tuple(known)
        meant = f"state '{state}'" if sequence is None else f"row {sequence} of its history"
        if not self.known:
            super().__init__(
                f"job '{job_id}' cannot start again from {meant}: its history of that time is not kept (any more). Set "
                "HISTORY_DATABASE_URI to keep the history."
            )
            return
        states = dict.fromkeys(one for _, one in self.known)
        listed = ", ".join(f"{one} ({number})" for number, one in self.known[-20:])
        super().__init__(
            f"job '{job_id}' did not enter {meant}; it entered (rows in brackets): {listed}.{suggest(state, states)}"
        )


class DecisionError(AvtomatikaError, ValueError):
    """A person decided something that the job does not offer.

    Args:
        decision: the word.
        known: the decisions offered.
    """

    code = "unknown_decision"

    def __init__(self, decision: str, known: Iterable[str]) -> None:
        self.decision = decision
        self.known = tuple(known)
        super().__init__(f"'{decision}' is not offered; known: {', '.join(self.known)}.{suggest(decision, self.known)}")


class StorageError(AvtomatikaError):
    """The storage did not answer, or refused."""

    code = "storage_unavailable"


class PayloadError(AvtomatikaError):
    """A file of a job cannot be read or written."""

    code = "file_error"


class PayloadNameError(PayloadError, ValueError):
    """The name of a file is not allowed.

    Args:
        name: as it was given.
        reason: what is wrong with it; the rest of a sentence about the name.
    """

    code = "invalid_file_name"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        super().__init__(f"{shown!a} cannot be the name of a file: it {reason}. Use a name such as 'out/report.csv'.")


class PayloadNotFoundError(PayloadError, LookupError):
    """There is no such file.

    Args:
        uri: where it was looked for.
    """

    code = "file_not_found"

    def __init__(self, uri: str) -> None:
        self.uri = uri
        super().__init__(f"there is no file {uri}.")


class PayloadSizeError(PayloadError):
    """A file is too large for what was asked.

    Args:
        uri: the file.
        limit: how many bytes are allowed.
    """

    code = "file_too_large"

    def __init__(self, uri: str, limit: int) -> None:
        self.uri = uri
        self.limit = limit
        super().__init__(f"{uri} has more than the {limit:,} bytes that are allowed here.")


class PayloadMismatchError(PayloadError):
    """What the store holds is not what was moved: it was changed meanwhile, cut short or damaged.

    Args:
        uri: the file.
        fact: ``size`` or ``etag``.
        expected: its value by what was moved.
        found: its value by what the store says.
    """

    code = "file_mismatch"

    def __init__(self, uri: str, fact: str, expected: object, found: object) -> None:
        self.uri = uri
        self.fact = fact
        self.expected = expected
        self.found = found
        super().__init__(
            f"{uri}: {fact} is {found}, but {expected} was expected from what was moved. Somebody changed the file "
            "meanwhile, or the transfer was damaged; move it again."
        )


class PayloadStoreError(PayloadError):
    """The store of files did not answer, or refused.

    Args:
        uri: the file.
        reason: what the store said.
    """

    code = "file_store_unavailable"

    def __init__(self, uri: str, reason: str) -> None:
        self.uri = uri
        self.reason = reason
        super().__init__(f"the store of files cannot be used for {uri}: {reason}")


class PayloadLostError(PayloadError):
    """A document that left its job is gone from the store of files, or damaged."""

    code = "payload_lost"


class ProtocolError(AvtomatikaError, ValueError):
    """A message of the worker protocol cannot be understood."""

    code = "invalid_message"


class AuthError(AvtomatikaError, PermissionError):
    """A token is missing or wrong."""

    code = "unauthorized"


class ClientError(AvtomatikaError):
    """The server refused a request.

    Args:
        status: HTTP status code, or 0 if there was no answer.
        error_code: the stable word from the server's answer.
        message: the server's sentence.
        retry_after: seconds after which it may be asked again, as it said; 0 if it did not.
    """

    def __init__(self, status: int, error_code: str, message: str, retry_after: float = 0.0) -> None:
        self.status = status
        self.code = error_code
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"{message} (HTTP {status}, {error_code})" if status else message)


class ConnectionFailedError(ClientError, ConnectionError):
    """No server answered at the address.

    Args:
        url: address of the engine.
        reason: what went wrong, in words.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(0, "connection_failed", f"no answer from {url}: {reason}. Is the engine running there?")
