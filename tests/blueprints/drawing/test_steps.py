"""The steps of the layout one by one: layers, crossings, positions, lettering."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.blueprints.drawing.crossings import count_crossings, neighbours, reduce_crossings
from avtomatika.blueprints.drawing.layers import Line, find_back_lines, make_layers
from avtomatika.blueprints.drawing.lettering import shorten, text_width
from avtomatika.blueprints.drawing.positions import keep_apart

LINES = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda ends: ends[0] != ends[1]), unique=True, max_size=20
)
PLACES = st.floats(-1000, 1000)


@given(LINES)
def test_lines_turned_around_leave_no_cycle(ends: list[tuple[int, int]]) -> None:
    """With the back lines turned, every line can lead downwards."""
    lines = [Line(source, target) for source, target in ends]
    turned = find_back_lines(range(9), lines)
    left = [(t, s) if back else (s, t) for (s, t), back in zip(ends, turned, strict=True)]

    states = set(range(9))
    while free := {state for state in states if not any(t == state and s in states for s, t in left)}:
        states -= free

    assert not states


def test_tree_has_no_back_lines() -> None:
    """Lines are turned only where they close a cycle."""
    assert find_back_lines(range(4), [Line(0, 1), Line(0, 2), Line(1, 3), Line(2, 3)]) == [False] * 4
    assert find_back_lines(range(3), [Line(0, 1), Line(1, 2), Line(2, 0)]) == [False, False, True]


@given(LINES, st.booleans())
def test_paths_go_down_one_layer_at_a_time(ends: list[tuple[int, int]], has_label: bool) -> None:
    """Every line has one vertex in each layer between its states, and a label exactly if it asked for one."""
    layered = make_layers(range(9), [Line(source, target, has_label) for source, target in ends], 9)
    row = {vertex: i for i, layer in enumerate(layered.layers) for vertex in layer}

    for number, path in enumerate(layered.paths):
        assert [row[vertex] for vertex in path] == list(range(row[path[0]], row[path[-1]] + 1))
        assert path[0] != path[-1]
        assert [layered.labels[vertex] for vertex in path if vertex in layered.labels] == [number] * has_label
        assert all(segment in layered.segments for segment in pairwise(path))
    assert sorted(v for layer in layered.layers for v in layer) == list(range(len(row)))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(6, 11)), unique=True), st.permutations(range(6)), st.randoms())
def test_crossings_are_counted_as_by_hand(segments: list[tuple[int, int]], upper: list[int], random: object) -> None:
    """The quick count equals comparing every pair of lines."""
    layers = [upper, [11, 6, 9, 8, 10, 7]]
    place = {vertex: i for layer in layers for i, vertex in enumerate(layer)}
    _, below = neighbours(segments)

    by_hand = sum((place[a] - place[c]) * (place[b] - place[d]) < 0 for (a, b), (c, d) in combinations(segments, 2))

    assert count_crossings(layers, below) == by_hand


@given(LINES)
def test_reducing_crossings_keeps_every_vertex_in_its_layer(ends: list[tuple[int, int]]) -> None:
    """Only the order within a layer changes."""
    layered = make_layers(range(9), [Line(source, target, True) for source, target in ends], 9)
    before = [sorted(layer) for layer in layered.layers]

    reduce_crossings(layered)

    assert [sorted(layer) for layer in layered.layers] == before


def test_crossing_that_can_be_avoided_is_avoided() -> None:
    """Two pairs of states defined crosswise are drawn without a crossing."""
    layered = make_layers(range(6), [Line(0, 1), Line(0, 2), Line(1, 4), Line(2, 3), Line(4, 5), Line(3, 5)], 6)

    reduce_crossings(layered)

    assert count_crossings(layered.layers, neighbours(layered.segments)[1]) == 0


@given(st.lists(st.tuples(PLACES, st.floats(0.1, 10), st.floats(0, 100)), min_size=1, max_size=12))
def test_places_keep_their_order_and_distances(vertices: list[tuple[float, float, float]]) -> None:
    """Whatever is wanted, neighbours stand at least their distance apart; the sum of pulls is zero."""
    wanted, weights, distances = ([v[i] for v in vertices] for i in range(3))

    found = keep_apart(wanted, weights, distances[1:])

    for (left, right), distance in zip(pairwise(found), distances[1:], strict=True):
        assert right - left >= distance - 1e-6
    pull = sum(weight * (want - place) for want, weight, place in zip(wanted, weights, found, strict=True))
    assert pull == pytest.approx(0, abs=1e-6)


def test_places_that_are_apart_already_stay() -> None:
    """Nothing moves without need, and those in each other's way share the move by weight."""
    assert keep_apart([0.0, 50.0, 100.0], [1.0, 1.0, 1.0], [20.0, 20.0]) == [0.0, 50.0, 100.0]
    assert keep_apart([0.0, 0.0], [3.0, 1.0], [20.0]) == [-5.0, 15.0]


def test_wide_letters_take_more_room_than_narrow_ones() -> None:
    """The table knows that an m is wider than an i, and that a CJK character is as wide as high."""
    assert text_width("iii", 13) < text_width("aaa", 13) < text_width("mmm", 13)
    assert text_width("\u6570", 10) == pytest.approx(10.5)
    assert text_width("", 13) == 0


@given(st.text(max_size=40), st.floats(20, 300))
def test_shortened_text_fits_and_is_a_beginning(text: str, room: float) -> None:
    """What does not fit is cut, with an ellipsis in place of the rest."""
    short = shorten(text, 13, room)

    assert text_width(short, 13) <= room
    assert short == text or (short.endswith("\u2026") and text.startswith(short[:-1]))
