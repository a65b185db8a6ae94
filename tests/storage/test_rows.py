"""The rows of a step as bytes and back."""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.document import Document
from avtomatika.core.effects import RecordHistory
from avtomatika.errors import DocumentError, StorageError
from avtomatika.storage.rows import HistoryStep, encode_rows, parse_step_id

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(
    st.builds(
        RecordHistory,
        TEXT,
        TEXT,
        worker_id=TEXT,
        attempt=st.none() | st.integers(1, 99),
        previous_state=TEXT,
        duration=st.none() | st.floats(0, 1e9),
        details=st.dictionaries(TEXT, TEXT | st.integers(-(2**63), 2**64 - 1) | st.none(), max_size=3),
        state_history=st.none() | st.dictionaries(TEXT, TEXT, max_size=3).map(Document.of),
    ),
    max_size=4,
)


@given(ROWS, st.integers(1, 10**6))
def test_rows_after_a_round_trip_are_the_same(rows: list[RecordHistory], first: int) -> None:
    """Every row comes back with all that was recorded, its number, its moment and its blueprint."""
    step = HistoryStep("j1", first, encode_rows("orders", 5.0, rows))

    assert parse_step_id(step.id) == ("j1", first)
    for number, (event, row) in enumerate(zip(step.decode(), rows, strict=True), first):
        assert (event.job_id, event.sequence, event.at, event.blueprint) == ("j1", number, 5.0, "orders")
        for name in RecordHistory.__struct_fields__:
            assert getattr(event, name) == getattr(row, name)


def test_rows_of_a_newer_version_are_read_without_what_is_new() -> None:
    """New fields come last, and an older engine drops them; fields that are missing have their defaults."""
    raw = msgspec.msgpack.encode(["orders", 5, [["a", "start"], ["b", "end", *[None] * 8, "new"]], "new"])

    with pytest.raises(StorageError, match="newer avtomatika"):
        HistoryStep("j1", 1, msgspec.msgpack.encode(["orders"])).decode()
    rows = raw.replace(b"\xc0" * 8, b"\xa0\xc0" + b"\xa0" * 3 + b"\xc0\x80\xc0")
    first, second = HistoryStep("j1", 1, rows).decode()

    assert (first.type, first.worker_id, second.type, second.details) == ("a", "", "b", {})


def test_details_are_made_plain() -> None:
    """What a document takes, the details take too."""
    details = {"kind": MappingProxyType({"a": 1}), "share": Fraction(1, 2)}
    raw = encode_rows("orders", 5.0, [RecordHistory("a", "start", details=details)])

    assert HistoryStep("j1", 1, raw).decode()[0].details == {"kind": {"a": 1}, "share": 0.5}


@pytest.mark.parametrize("value", [object(), 2**70, "\ud800"])
def test_details_that_cannot_be_stored_are_named(value: Any) -> None:
    """The message says where they are."""
    with pytest.raises(DocumentError, match="details"):
        encode_rows("orders", 5.0, [RecordHistory("a", "start", details={"odd": value})])


@pytest.mark.parametrize("step_id", ["", "nonsense", "j1:", "j1:x", "j1:²", "j1:-1"])
def test_id_that_names_no_step_has_no_first_row(step_id: str) -> None:
    """What is acknowledged but was never made is found nowhere."""
    assert parse_step_id(step_id)[1] == 0
