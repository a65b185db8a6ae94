"""Records as bytes and back."""

from __future__ import annotations

from types import MappingProxyType

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.blueprints import RetryPolicy
from avtomatika.core.document import Document
from avtomatika.core.job import Client, Failure, FanOut, Job, Task, job_fields
from avtomatika.core.states import JobStatus, TaskStatus
from avtomatika.core.waits import ApprovalWait, ChildWait, SleepWait
from avtomatika.errors import DocumentError, StorageError
from avtomatika.protocol.files import FileFacts
from avtomatika.protocol.messages import Skill, WorkerProfile
from avtomatika.storage.base import Message
from avtomatika.storage.codec import (
    decode_job,
    decode_message,
    decode_task,
    decode_worker,
    encode_job_fields,
    encode_message,
    encode_task,
    encode_worker,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1)
VALUE = st.recursive(
    st.none() | st.booleans() | TEXT | NUMBER,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
MAPPING = st.dictionaries(TEXT, VALUE, max_size=3)
KINDS = {
    "str": TEXT,
    "int": st.integers(-(2**63), 2**64 - 1),
    # Also integers, as far as they are the same number as a float.
    "float": st.floats(allow_nan=False) | st.integers(-(2**53), 2**53),
    "bool": st.booleans(),
    "Document": VALUE.map(Document.of),
    "Mapping[str, Any]": MAPPING,
    "Mapping[str, str]": st.dictionaries(TEXT, TEXT, max_size=3),
    "Mapping[str, int]": st.dictionaries(TEXT, st.integers(1, 99), max_size=3),
    "Mapping[str, float]": st.dictionaries(TEXT, NUMBER, max_size=3),
    "JobStatus": st.sampled_from(JobStatus),
    "TaskStatus": st.sampled_from(TaskStatus),
    "frozenset[str]": st.frozensets(TEXT, max_size=3),
    "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
}


def records(record: type) -> st.SearchStrategy:
    """Returns a strategy of records in which each field has any value of its type."""
    return st.builds(record, **{name: values(kind) for name, kind in record.__annotations__.items()})


def values(annotation: str) -> st.SearchStrategy:
    """Returns a strategy of values of a type, given as it is written."""
    if annotation.endswith(" | None"):
        return st.none() | values(annotation.removesuffix(" | None"))
    return KINDS[annotation]


for nested in (Client, Failure, FanOut, Skill, SleepWait, ApprovalWait, ChildWait):
    KINDS[nested.__name__] = records(nested)
KINDS["Wait"] = KINDS["SleepWait"] | KINDS["ApprovalWait"] | KINDS["ChildWait"]
KINDS["RetryPolicy"] = st.builds(
    RetryPolicy,
    attempts=st.none() | st.integers(1, 99),
    delay=st.none() | st.floats(0, 1e6),
    factor=st.none() | st.floats(1, 1e6),
    max_delay=st.none() | st.floats(0, 1e6),
    never=st.none() | st.lists(TEXT, max_size=2).map(tuple),
)
KINDS["Mapping[str, FileFacts]"] = st.dictionaries(TEXT, records(FileFacts), max_size=3)
KINDS["tuple[Skill, ...]"] = st.lists(KINDS["Skill"], max_size=2).map(tuple)


def a_job(**facts: object) -> Job:
    """Returns a job with the given fields."""
    return Job("j1", "orders", "v1", JobStatus.RUNNING, "start", 1.0, 1.0, **facts)


@given(records(Job))
def test_job_after_a_round_trip_is_the_same(job: Job) -> None:
    """Decode after encode is the identity, with the fields that differ from defaults and with all of them."""
    assert decode_job(encode_job_fields(job)) == job
    assert decode_job(encode_job_fields(job, job_fields())) == job


@given(records(Message))
def test_message_after_a_round_trip_is_the_same(message: Message) -> None:
    """A message comes back as it was written."""
    assert decode_message(encode_message(message)) == message


@given(records(Task))
def test_task_after_a_round_trip_is_the_same(task: Task) -> None:
    """Decode after encode is the identity."""
    assert decode_task(encode_task(task)) == task


@given(records(WorkerProfile))
def test_worker_after_a_round_trip_is_the_same(worker: WorkerProfile) -> None:
    """Decode after encode is the identity."""
    assert decode_worker(encode_worker(worker)) == worker


def test_job_fields_named_are_the_only_ones_encoded() -> None:
    """A step writes what it changed."""
    stored = encode_job_fields(a_job(attempt=2), ["state", "attempt"])

    assert stored == {"state": msgpack.packb("start"), "attempt": msgpack.packb(2)}


def test_job_field_back_at_its_default_is_written() -> None:
    """A field that is named is written, whatever its value, so that it replaces the old one."""
    before = encode_job_fields(a_job(task_id="t1", failure=Failure("E", "m")))

    after = before | encode_job_fields(a_job(), ["task_id", "failure"])

    assert decode_job(after) == a_job()


def test_document_is_stored_as_its_own_bytes() -> None:
    """A document is not encoded again."""
    data = Document.of({"rows": [1, 2]})

    assert encode_job_fields(a_job(initial_data=data))["initial_data"] is data.raw


def test_job_with_a_field_of_a_newer_version_is_read() -> None:
    """Unknown fields are skipped, also in nested records."""
    stored = encode_job_fields(a_job(client=Client("c1")))
    stored["mood"] = msgpack.packb("good")
    stored["client"] = msgpack.packb({"name": "c1", "shoe_size": 43})

    assert decode_job(stored) == a_job(client=Client("c1"))


def test_task_with_a_field_of_a_newer_version_is_read() -> None:
    """Unknown fields are skipped."""
    task = Task("t1", "j1", "render", "render", TaskStatus.QUEUED, 1.0)
    raw = msgpack.packb({**msgpack.unpackb(encode_task(task)), "mood": "good"})

    assert decode_task(raw) == task


def test_job_without_a_needed_field_is_refused_with_a_remedy() -> None:
    """A job that lacks its status is damaged, and the message says what to do."""
    stored = encode_job_fields(a_job())
    del stored["status"]

    with pytest.raises(StorageError, match=r"stored Job cannot be read.*'status'.*upgrade this engine"):
        decode_job(stored)


def test_job_with_an_unknown_status_is_refused() -> None:
    """A status of a newer version cannot be guessed."""
    with pytest.raises(StorageError, match="'sleeping' is not a valid JobStatus"):
        decode_job(encode_job_fields(a_job()) | {"status": msgpack.packb("sleeping")})


@pytest.mark.parametrize("raw", [b"", b"\xc1", msgpack.packb(3), msgpack.packb({"id": "t1"})])
def test_task_from_damaged_bytes_is_refused(raw: bytes) -> None:
    """Bytes that are no task raise StorageError and nothing else."""
    with pytest.raises(StorageError, match="stored Task cannot be read"):
        decode_task(raw)


def test_field_with_an_unknown_name_is_refused() -> None:
    """A batch that names a field that jobs lack is a mistake."""
    with pytest.raises(AttributeError):
        encode_job_fields(a_job(), ["colour"])


def test_mapping_that_is_no_dict_is_stored_as_one() -> None:
    """Any mapping can be a field's value."""
    task = Task("t1", "j1", "a", "a", TaskStatus.QUEUED, 1.0, requirements=MappingProxyType({"gpu": (1, 2)}))

    assert decode_task(encode_task(task)).requirements == {"gpu": [1, 2]}


def test_value_that_cannot_be_stored_is_named() -> None:
    """The message has the path of the value."""
    task = Task("t1", "j1", "a", "a", TaskStatus.QUEUED, 1.0, requirements={"gpu": object()})

    with pytest.raises(DocumentError, match=r"Task\.requirements\.gpu"):
        encode_task(task)
