"""Files on the wire: paths, facts, and what is passed over."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.protocol.files import (
    MAX_FILES,
    FileFacts,
    find_files,
    is_same_store,
    read_files,
    store_fingerprint,
    write_files,
)
from avtomatika.protocol.messages import TaskMessage
from avtomatika.protocol.tasks import encode_task, parse_task

FACTS = FileFacts("s3://b/k", 3, "e", {"codec": "av1"})


def test_facts_written_are_read_again() -> None:
    """Nothing is lost on the way."""
    files = {"file": FACTS, "nested.list[0]": FileFacts("s3://b/other")}

    assert read_files(write_files(files)) == files


def test_facts_that_are_not_known_are_left_out() -> None:
    """A size of 0 would make the newest workers refuse the signature of a task."""
    assert write_files({"file": FileFacts("s3://b/k")}) == {"file": {"uri": "s3://b/k"}}


@pytest.mark.parametrize(
    "told",
    [
        "s3://b/k",
        {},
        {"uri": ""},
        {"uri": 5},
        {"uri": "s3://\ud800"},
        {"uri": "s3://b/k", "metadata": {"n": 2**70}},
        {"uri": "s3://b/k", "metadata": {"text": "x" * 5000}},
    ],
)
def test_facts_that_make_no_sense_are_passed_over(told: Any) -> None:
    """A result is not lost because of what it tells of its files."""
    assert read_files({"odd": told, "file": {"uri": "s3://b/k"}}) == {"file": FileFacts("s3://b/k")}


@pytest.mark.parametrize(("size", "read"), [(3, 3), (3.0, 3), (None, 0), (-1, 0), ("3", 0)])
def test_size_is_a_whole_number_or_unknown(size: Any, read: int) -> None:
    """Older workers write whole numbers with a point."""
    assert read_files({"file": {"uri": "u", "size": size}})["file"].size == read


def test_files_beyond_the_most_are_not_told_of() -> None:
    """A worker cannot fill a job with what it tells of its files."""
    told = {str(number): {"uri": "u"} for number in range(MAX_FILES + 5)}

    assert len(read_files(told)) == MAX_FILES


def test_file_is_found_wherever_params_name_it() -> None:
    """The path is made of members and of positions in lists."""
    value = {"file": "s3://b/k", "nested": {"list": ["s3://b/k", "s3://b/unknown"]}, "n": 5}

    assert find_files(value, {"s3://b/k": FACTS}) == {"file": FACTS, "nested.list[0]": FACTS}


def test_task_tells_its_worker_of_the_files_in_its_params() -> None:
    """The engine writes what a worker reads; a task without files has no such member."""
    task = TaskMessage("j", "t-1", "work", {"file": "s3://b/k"}, params_metadata={"file": FACTS})

    body = encode_task(task)

    assert body["params_metadata"] == {
        "file": {"uri": "s3://b/k", "size": 3, "etag": "e", "metadata": {"codec": "av1"}}
    }
    assert parse_task(body) == task
    assert "params_metadata" not in encode_task(TaskMessage("j", "t-1", "work"))


def test_fingerprint_of_a_store_is_that_of_the_protocol() -> None:
    """The test vector of the protocol; without one of its parts there is nothing to compare."""
    parts = ("http://s3.local:9000", "AKEXAMPLE", "bucket-a")

    assert store_fingerprint(*parts) == "c590d05df9f0d141"
    for missing in range(3):
        assert store_fingerprint(*("" if number == missing else part for number, part in enumerate(parts))) == ""
    assert is_same_store("", "c590d05df9f0d141") is None
