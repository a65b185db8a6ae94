"""Records as msgpack bytes, field by field.

A reader skips fields that it does not know and takes the default of fields that are missing, so that engines of two
versions can share a storage; a field's default therefore never changes. Documents are bytes already and go in as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Generic, TypeVar, get_args

import msgpack
import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import astuple, fields, replace

from avtomatika.core.document import Document
from avtomatika.core.job import Client, Failure, FanOut, Job, Task
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.waits import ApprovalWait, ChildWait, SleepWait
from avtomatika.errors import DocumentError, StorageError
from avtomatika.protocol.files import FileFacts
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage.base import Change, Message, Sighting

R = TypeVar("R", bound=Struct)
_ABSENT = object()

# Most fields of most jobs hold one of these; a look into a table is several times faster than msgpack.
_COMMON: dict[bytes, Any] = {msgpack.packb(value): value for value in (None, "", False, True, 0, 1, 2, 3, 0.0)}
_encode_plain, _decode_plain = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
# What it writes as msgpack does, and in a tenth of the time.
_SCALARS = frozenset({str, int, float, bool, type(None), JobStatus})


class _Kind:
    """How the value of one field becomes plain data and back; neither direction sees None.

    Args:
        pack: record to plain data.
        unpack: plain data to record.
    """

    __slots__ = ("pack", "unpack")

    def __init__(self, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        self.pack = pack
        self.unpack = unpack


class _Schema(Generic[R]):
    """How one class of records is written; a field without a kind holds plain data.

    Args:
        record: the class.
        kinds: the kind of each field that is no plain data.
    """

    def __init__(self, record: type[R], **kinds: _Kind) -> None:
        self.record = record
        self.kinds = kinds
        self.defaults: tuple[tuple[str, Any], ...] = tuple(
            (f.name, f.default_factory() if f.default_factory is not NODEFAULT else _or_absent(f.default))
            for f in fields(record)
        )
        self._names = frozenset(name for name, _ in self.defaults)

    def pack(self, record: R) -> dict[str, Any]:
        """Returns the fields that differ from their defaults as plain data."""
        plain = {}
        for name, default in self.defaults:
            value = getattr(record, name)
            if value is default or value == default:
                continue
            kind = self.kinds.get(name)
            plain[name] = value if kind is None or value is None else kind.pack(value)
        return plain

    def unpack(self, plain: Mapping[str, Any]) -> R:
        """Builds the record.

        Raises:
            StorageError: what is stored is no such record.
        """
        known = {}
        kinds = self.kinds
        try:
            for name, value in plain.items():
                if name in self._names:
                    kind = kinds.get(name)
                    known[name] = value if kind is None or value is None else kind.unpack(value)
            return self.record(**known)
        except (AttributeError, TypeError, ValueError) as error:
            raise _unreadable(self.record, error) from error

    def dump(self, record: R) -> bytes:
        """Returns the record as bytes."""
        return Document.of(self.pack(record), self.record.__name__).raw

    def load(self, raw: bytes) -> R:
        """Builds the record from bytes.

        Raises:
            StorageError: what is stored is no such record.
        """
        return self.unpack(_loads(raw, self.record))


def _or_absent(default: Any) -> Any:
    return _ABSENT if default is NODEFAULT else default


def _unreadable(record: type, error: Exception) -> StorageError:
    return StorageError(
        f"a stored {record.__name__} cannot be read: {error}. It was written by a newer avtomatika or is damaged; "
        "upgrade this engine, or restore the storage from a copy."
    )


def _loads(raw: bytes, record: type) -> Any:
    """Unpacks bytes that belong to a record."""
    common = _COMMON.get(raw, _ABSENT)
    if common is not _ABSENT:
        return common
    try:
        return _decode_plain(raw)
    except (msgspec.DecodeError, RecursionError):
        pass  # what it does not take, that may, or say why not
    try:
        return msgpack.unpackb(raw, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise _unreadable(record, error) from error


def _nested(schema: _Schema[Any]) -> _Kind:
    return _Kind(schema.pack, schema.unpack)


def _one_of(*records: type[Struct]) -> _Kind:
    """Returns the kind of a field that holds one of several records: its class's name goes along."""
    schemas = {record.__name__: _Schema(record) for record in records}

    def pack(record: Struct) -> list[Any]:
        name = type(record).__name__
        return [name, schemas[name].pack(record)]

    def unpack(plain: Sequence[Any]) -> Struct:
        name, content = plain
        if name not in schemas:
            raise ValueError(f"'{name}' is unknown")
        return schemas[name].unpack(content)

    return _Kind(pack, unpack)


_DOCUMENT = _Kind(lambda document: document.raw, Document)
_SET = _Kind(sorted, frozenset)
_TUPLE = _Kind(list, tuple)

_FAILURE = _nested(_Schema(Failure))
_SKILL = _nested(_Schema(Skill))
_SKILLS = _Kind(lambda skills: [_SKILL.pack(skill) for skill in skills], lambda plain: tuple(map(_SKILL.unpack, plain)))
_FACTS = _Schema(FileFacts)
_FILES = _Kind(
    lambda files: {name: _FACTS.pack(facts) for name, facts in files.items()},
    lambda plain: {name: _FACTS.unpack(facts) for name, facts in plain.items()},
)

_TASK = _Schema(
    Task,
    status=_Kind(str, TaskStatus),
    params=_DOCUMENT,
    data=_DOCUMENT,
    failure=_FAILURE,
    retry=_nested(_Schema(RetryPolicy, never=_TUPLE)),
    params_metadata=_FILES,
    data_metadata=_FILES,
)
# The same in C, and a tenth of the time: a task is written and read more often than anything else but a job.
_TASK_ENCODER = msgspec.msgpack.Encoder(enc_hook=lambda document: document.raw)
_TASK_DECODER = msgspec.msgpack.Decoder(Task, dec_hook=lambda _, raw: Document(raw))
_REFUSALS = (AttributeError, TypeError, ValueError, OverflowError, RecursionError, msgspec.DecodeError)
_MESSAGE = _Schema(Message, body=_DOCUMENT)
_WORKER = _Schema(WorkerProfile, skills=_SKILLS, available=_SET, hot=_SET, current_tasks=_TUPLE)
_JOB = _Schema(
    Job,
    status=_Kind(str, JobStatus),
    client=_nested(_Schema(Client)),
    fan_out=_nested(_Schema(FanOut, failure=_FAILURE)),
    wait=_one_of(SleepWait, ApprovalWait, ChildWait),
    failure=_FAILURE,
    file_facts=_FILES,
)
_JOB_DOCUMENTS = frozenset({"initial_data", "state_history", "result"})
_UNCHANGING = frozenset({int, float, bool, type(None), JobStatus, Document})
# Fields of a job that may hold something else.
_OTHER_FIELDS = frozenset(f.name for f in fields(Job) if not _UNCHANGING.issuperset(get_args(f.type) or (f.type,)))


def encode_job_fields(job: Job, names: Iterable[str] | None = None) -> dict[str, bytes]:
    """Returns the named fields of a job, each as bytes of its own, so that a step writes only what it changed.

    Args:
        job: the job.
        names: which fields; None for those that differ from their defaults, which is what a new job needs.

    Raises:
        AttributeError: a job has no such field.
        DocumentError: a value cannot be stored.
    """
    if names is None:
        every = zip(_JOB.defaults, astuple(job), strict=True)
        held = [(name, value) for (name, default), value in every if value is not default and value != default]
    else:
        held = [(name, getattr(job, name)) for name in names]
    encoded = {}
    for name, value in held:
        encoded[name] = _encode_plain(value) if type(value) in _SCALARS else _encode_job_field(name, value)
    return encoded


def _encode_job_field(name: str, value: Any) -> bytes:
    type_ = type(value)
    if type_ is Document:
        raw: bytes = value.raw
        return raw
    if type_ in _SCALARS or (type_ is Client and not value.params):
        return _encode_plain(value)
    kind = _JOB.kinds.get(name)
    return Document.of(value if kind is None else kind.pack(value), name).raw


def encode_changeable_fields(job: Job, names: Set[str] | None = None) -> dict[str, bytes]:
    """Returns as bytes those fields of a job in which somebody could change something.

    So a storage in the same process can keep the others as they are: to encode and decode them at every step was a
    fifth of the time of one.

    Args:
        job: the job.
        names: of which fields; None for all.

    Raises:
        DocumentError: a value cannot be stored.
    """
    encoded: dict[str, bytes] = {}
    for name in _OTHER_FIELDS if names is None else _OTHER_FIELDS & names:
        value = getattr(job, name)
        kind = type(value)
        # Text that may not be valid Unicode is looked at as well: no storage takes what another cannot.
        if not (kind in _UNCHANGING or (kind is str and value.isascii()) or (kind is Client and not value.params)):
            encoded[name] = _encode_job_field(name, value)
    return encoded


def decode_job_fields(encoded: Mapping[str, bytes]) -> dict[str, Any]:
    """Returns fields of a job that were encoded, each time new ones.

    Raises:
        StorageError: a field cannot be read.
    """
    return {name: _decode_job_field(name, raw) for name, raw in encoded.items()}


def _decode_job_field(name: str, raw: bytes) -> Any:
    if name in _JOB_DOCUMENTS:
        return Document(raw)
    value, kind = _loads(raw, Job), _JOB.kinds.get(name)
    return value if kind is None or value is None else kind.unpack(value)


def decode_job(stored: Mapping[str, bytes]) -> Job:
    """Builds a job from the fields that ``encode_job_fields`` made.

    Raises:
        StorageError: a field is missing that has no default, or cannot be read.
    """
    return _JOB.unpack(
        {name: Document(raw) if name in _JOB_DOCUMENTS else _loads(raw, Job) for name, raw in stored.items()}
    )


def encode_task(task: Task) -> bytes:
    """Returns a task as bytes.

    Raises:
        DocumentError: a value cannot be stored.
    """
    try:
        return _TASK_ENCODER.encode(task)
    except _REFUSALS:
        # What has to be made plain first, or cannot be stored at all.
        return _TASK.dump(task)


def decode_task(raw: bytes) -> Task:
    """Builds a task from bytes.

    Raises:
        StorageError: the bytes are no task.
    """
    try:
        return _TASK_DECODER.decode(raw)
    except _REFUSALS as error:
        raise _unreadable(Task, error) from error


def encode_worker(worker: WorkerProfile) -> bytes:
    """Returns what is known of a worker as bytes.

    Raises:
        DocumentError: a value cannot be stored.
    """
    return _WORKER.dump(worker)


def decode_worker(raw: bytes) -> WorkerProfile:
    """Builds a worker from bytes.

    Raises:
        StorageError: the bytes are no worker.
    """
    return _WORKER.load(raw)


def refresh_worker(raw: bytes | None, sighting: Sighting) -> bytes | None:
    """Returns a worker's bytes with the new ``seen_at``; None if it is not stored, or not as the sighting says."""
    if raw is None:
        return None
    worker = decode_worker(raw)
    if worker.seen_at not in {sighting.last_at, sighting.seen_at}:
        return None
    return encode_worker(replace(worker, seen_at=sighting.seen_at))


def encode_message(message: Message) -> bytes:
    """Returns a message as bytes.

    Raises:
        DocumentError: a value cannot be stored.
    """
    return _MESSAGE.dump(message)


def decode_message(raw: bytes) -> Message:
    """Builds a message from bytes.

    Raises:
        StorageError: the bytes are no message.
    """
    return _MESSAGE.load(raw)


def encode_change(job: Job) -> bytes:
    """Returns what the log of changes keeps of a commit, as bytes: a list, like an event."""
    fan_out = job.fan_out
    ended, total = (0, 0) if fan_out is None else (fan_out.total - fan_out.open, fan_out.total)
    row = (job.id, job.client.name, job.blueprint, job.status, job.state, job.version, job.updated_at, ended, total)
    try:
        return _encode_plain(row)
    except UnicodeEncodeError as error:
        raise DocumentError("change", str(error)) from error


def decode_change(position: int, raw: bytes) -> Change:
    """Builds a change from bytes.

    Raises:
        StorageError: the bytes are no change.
    """
    try:
        job_id, client, blueprint, status, state, version, at, ended, total = _loads(raw, Change)[:9]
        return Change(position, job_id, client, blueprint, JobStatus(status), state, version, at, ended, total)
    except (TypeError, ValueError) as error:
        raise _unreadable(Change, error) from error
