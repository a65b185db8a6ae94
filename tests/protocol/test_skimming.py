"""What is told of a result that goes by in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.protocol.messages import Result
from avtomatika.protocol.skimming import Skim

IDS = {"job_id": "j", "task_id": "j-2-0-1", "worker_id": "w"}
TOLD = Result("j", "j-2-0-1", "w")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[]:,é\n', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["job_id", "task_id", 'a"b', "worker_id", "\\"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def skim(body: bytes, length: int) -> Skim:
    """Lets a body go by in pieces of a length."""
    found = Skim()
    for start in range(0, len(body), length):
        found.feed(body[start : start + length])
    return found


@given(data=JSON, length=st.integers(1, 40), in_order=st.booleans(), is_ascii=st.booleans())
def test_ids_at_the_top_are_found_and_no_others(data: Any, length: int, *, in_order: bool, is_ascii: bool) -> None:
    """Whatever the data hold, wherever the pieces are cut, and on whichever side of the data the ids stand."""
    told = {"data": data, **IDS} if in_order else {**IDS, "data": data}
    body = json.dumps(told, ensure_ascii=is_ascii).encode()

    found = skim(body, length)

    assert found.result() == TOLD
    assert found.size == len(body)


def test_long_text_is_not_kept() -> None:
    """The memory it takes does not depend on the data."""
    found = Skim()

    found.feed(b'{"data":"')
    for _ in range(100):
        found.feed(b"x" * 10_000)

    assert len(found._text) < 20_000
    found.feed(b'","task_id":"t-1"}')
    assert found.result() == Result("", "t-1")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'["task_id", "t-1"]', b'{"task_id": 5}', b'{"task_id": "\\u00"}', b"}}]"]
)
def test_body_without_ids_has_none(body: bytes) -> None:
    """What is no result of a task is told so."""
    assert skim(body, 3).result() == Result("", "")
