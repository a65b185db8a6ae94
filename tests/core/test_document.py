"""Documents: what can be kept with a job, and what is refused with its path."""

from __future__ import annotations

import collections
import datetime
import enum
import fractions
import types
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.document import EMPTY, NULL, Document, check_depth
from avtomatika.errors import DocumentError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUE = st.recursive(
    st.none() | st.booleans() | TEXT | st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
MAPPING = st.dictionaries(TEXT, VALUE, max_size=4)


class Colour(enum.Enum):
    """An enum of texts."""

    RED = "red"


class Size(enum.IntEnum):
    """An enum of numbers."""

    BIG = 3


class Word(str):
    """A text of another class."""

    __slots__ = ()


Point = collections.namedtuple("Point", "x y")
UTC = datetime.UTC


@given(VALUE)
def test_document_gives_back_what_it_was_given(value: Any) -> None:
    """Every JSON value survives, with types."""
    back = Document.of(value).value()

    assert back == value
    assert repr(back) == repr(value)


@given(VALUE)
def test_equal_values_make_equal_documents(value: Any) -> None:
    """Documents compare and hash by value."""
    one, other = Document.of(value), Document.of(Document.of(value).value())

    assert one == other
    assert hash(one) == hash(other)
    assert len(one) == len(one.raw)


@given(MAPPING, MAPPING)
def test_merge_is_that_of_dicts(old: dict[str, Any], changes: dict[str, Any]) -> None:
    """The changes win, the rest stays."""
    assert Document.of(old).merged(changes).value() == old | changes


def test_merge_of_nothing_is_the_same_document() -> None:
    """Without changes nothing is written again."""
    document = Document.of({"a": 1})

    assert document.merged({}) is document


def test_reader_gets_a_copy() -> None:
    """Whoever changes what he read changes nothing else."""
    original = {"rows": [1]}
    document = Document.of(original)

    document.value()["rows"].append(2)
    original["rows"].append(3)

    assert document.value() == {"rows": [1]}


def test_document_differs_from_other_things() -> None:
    """A document equals documents only."""
    assert Document.of(1) != 1
    assert Document.of(1) != Document.of(2)
    assert (EMPTY.value(), NULL.value()) == ({}, None)


def test_repr_is_short() -> None:
    """A large document does not fill the screen."""
    assert repr(Document.of({"a": 1})) == "Document({'a': 1})"
    assert repr(Document.of("x" * 500)).endswith("xxx...)")
    assert len(repr(Document.of("x" * 500))) < 100


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (Size.BIG, 3),
        (Word("text"), "text"),
        (fractions.Fraction(1, 4), 0.25),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array(7), 7),
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        ({1: "one"}, {1: "one"}),
        ({np.int64(1): "one"}, {1: "one"}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
    ],
    ids=repr,
)
def test_value_of_another_library_becomes_plain(value: Any, plain: Any) -> None:
    """What has an obvious plain form is kept in it, wherever it stands."""
    back = Document.of({"deep": [value, {"er": value}]}).value()

    assert back == {"deep": [plain, {"er": plain}]}
    assert [type(one) for one in (back["deep"][0], back["deep"][1]["er"])] == [type(plain)] * 2


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        ({"rows": [1, {"when": {1, 2}}]}, "data.rows[1].when", "it is a set"),
        ({"a": object()}, "data.a", "it is a object"),
        ([1, (2, b"ok", lambda: None)], "data[1][2]", "it is a function"),
        ({"frame": np.zeros(3)}, "data.frame", "it is a ndarray"),
        ({"n": 1j}, "data.n", "it is a complex"),
        ({"n": 2**64}, "data.n", "the integer 18446744073709551616 does not fit into 64 bits"),
        ({"n": [-(2**63) - 1]}, "data.n[0]", "does not fit into 64 bits"),
        ({"groups": {("eu", 2026): 7}}, "data.groups", "the key ('eu', 2026) is a tuple"),
        ({frozenset("a"): 1}, "data", "is a frozenset"),
        ({"name": "caf\udce9"}, "data.name", r"the text 'caf\udce9' is not valid Unicode"),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_value_that_cannot_be_kept_is_refused_with_its_path(value: Any, path: str, problem: str) -> None:
    """The sentence says where it stands, what it is, and what can be kept."""
    with pytest.raises(DocumentError) as caught:
        Document.of(value, "data")

    assert caught.value.path == path
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"{path} cannot be stored: ")
    assert str(caught.value).endswith("Use dict (with string keys), list, str, int, float, bool or None.")


def test_value_that_contains_itself_is_refused() -> None:
    """A loop is found, and is no endless one."""
    value: dict[str, Any] = {}
    value["self"] = value

    with pytest.raises(DocumentError, match="nested more than 200 levels deep"):
        Document.of(value, "data")


def test_merge_names_what_cannot_be_kept() -> None:
    """Changes are checked like anything else."""
    with pytest.raises(DocumentError, match=r"state_history\.rows cannot be stored: it is a set"):
        EMPTY.merged({"rows": {1}}, "state_history")


@pytest.mark.parametrize("unit", ["ns", "us", "D"])
def test_moments_of_numpy_become_text(unit: str) -> None:
    """A moment in nanoseconds is not stored as a bare number."""
    moment = np.datetime64("2026-01-31", unit)

    assert Document.of({"at": moment}).value()["at"].startswith("2026-01-31")


@pytest.mark.parametrize("depth", [200, 201])
def test_depth_is_counted_in_lists_and_mappings(depth: int) -> None:
    """200 inside each other are allowed, one more is not, whichever they are and whatever else there is."""
    value: object = 1
    for number in range(depth):
        value = [value, "x"] if number % 2 else {"a": value, "b": [{}]} if number > 10 else {"a": value}

    if depth <= 200:
        check_depth(value, "it")
    else:
        with pytest.raises(DocumentError, match="it is nested more than 200 levels deep"):
            check_depth(value, "it")
