"""The heap with removal, against a sorted list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.storage.heap import LazyHeap

KEYS = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(st.sampled_from(["put", "discard", "pop"]), KEYS, st.integers(0, 3)), max_size=60)


@given(STEPS, st.integers(-1, 3), st.integers(0, 6))
def test_heap_after_any_steps_agrees_with_a_sorted_list(
    steps: list[tuple[str, str, int]], bound: int, limit: int
) -> None:
    """Order, size and membership are those of a list that is sorted anew each time."""
    heap: LazyHeap[str] = LazyHeap()
    model: dict[str, tuple[float, int]] = {}

    for moment, (step, key, rank) in enumerate(steps):
        if step == "put":
            heap.put(key, (rank,))
            model[key] = (rank, moment)
        elif step == "discard":
            heap.discard(key)
            model.pop(key, None)
        elif model:
            first = min(model, key=model.__getitem__)
            assert heap.pop() == first
            del model[first]

    order = sorted(model, key=model.__getitem__)
    due = [key for key in order if model[key][0] <= bound]
    assert len(heap) == len(model)
    assert {key for key in "abcdef" if key in heap} == set(model)
    assert heap.first() == (((model[order[0]][0],), order[0]) if order else None)
    assert heap.peek_until(bound, limit) == due[:limit]
    assert heap.pop_until(bound, limit) == due[:limit]
    assert heap.pop_until(bound) == due[limit:]


def test_heap_with_many_moves_stays_small() -> None:
    """Memory follows the live keys, not the number of moves."""
    heap: LazyHeap[str] = LazyHeap()

    for rank in range(10_000):
        heap.put("only", (rank,))

    assert len(heap._entries) < 100
    assert heap.first() == ((9_999,), "only")


def test_heap_pop_when_empty_raises() -> None:
    """There is nothing to take from an empty heap."""
    with pytest.raises(IndexError):
        LazyHeap[str]().pop()
