"""The layout: laws that hold for every graph, and the places of a few plain ones."""

from __future__ import annotations

import cProfile
from collections.abc import Iterator
from itertools import combinations, pairwise
from math import dist

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avtomatika.blueprints.drawing.layout import PAGE_WIDTH, Box, Direction, Layout, Link, Point, Rect, lay_out

BOX = Box(100.0, 40.0)
DIRECTIONS = st.sampled_from([None, *Direction])
LONG_LOOP_LABEL = Link(0, 0, 180.0, 36.0)


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[Box], list[Link]]:
    """Makes up to twelve boxes with any links: cycles, loops, parts that hang together or not."""
    count = draw(st.integers(1, 12))
    corner = st.sampled_from([(10.0, 10.0, True), (20.0, 20.0, True), (12.0, 12.0, False), (14.0, 20.0, False)])
    boxes = [
        Box(draw(st.integers(60, 260)), 40.0, rx, ry, is_round)
        for rx, ry, is_round in draw(st.lists(corner, min_size=count, max_size=count))
    ]
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    size = st.sampled_from([(0.0, 0.0), (60.0, 20.0), (180.0, 36.0)])
    links = [
        Link(source, target, *draw(size), draw(st.sampled_from([1, 4])))
        for source, target in draw(st.lists(ends, unique=True, max_size=24))
    ]
    return boxes, links


def sides(rect: Rect) -> tuple[float, float, float, float]:
    """Returns left, top, right and bottom."""
    return (
        rect.x - rect.width / 2,
        rect.y - rect.height / 2,
        rect.x + rect.width / 2,
        rect.y + rect.height / 2,
    )


def overlap(one: Rect, other: Rect) -> bool:
    """Tells whether two places share more than their rims."""
    return (
        abs(one.x - other.x) < (one.width + other.width) / 2 - 0.01
        and abs(one.y - other.y) < (one.height + other.height) / 2 - 0.01
    )


def everything(layout: Layout) -> list[Rect]:
    """Returns the places of boxes and labels."""
    return [*layout.places, *(route.label for route in layout.routes if route.label)]


def points_on(curve: tuple[Point, ...]) -> Iterator[Point]:
    """Yields points along a Bézier curve, nowhere as far apart as the smallest label is high."""
    for i in range(0, len(curve) - 1, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = piece = curve[i : i + 4]
        steps = 4 + int(sum(dist(*leg) for leg in pairwise(piece)) / 10)
        for step in range(steps + 1):
            t = step / steps
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
            yield a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy


def inside(point: Point, rect: Rect, margin: float) -> bool:
    """Tells whether the point is in the rectangle, further than the margin from its rim."""
    left, top, right, bottom = sides(rect)
    return left + margin < point[0] < right - margin and top + margin < point[1] < bottom - margin


@given(drawings(), DIRECTIONS)
@example(([Box(60.0, 40.0)] * 3, [Link(0, 1), LONG_LOOP_LABEL, Link(0, 2)]), None)
@settings(deadline=None)
def test_boxes_and_labels_never_overlap(drawing: tuple[list[Box], list[Link]], direction: Direction | None) -> None:
    """Every state and every label can be read."""
    layout = lay_out(*drawing, direction)

    for one, other in combinations(everything(layout), 2):
        assert not overlap(one, other)


@given(drawings(), DIRECTIONS)
@example(([Box(60.0, 40.0)] * 4, [LONG_LOOP_LABEL, *(Link(0, i) for i in (1, 2, 3))]), None)
@settings(deadline=None)
def test_lines_never_run_through_other_boxes_or_labels(
    drawing: tuple[list[Box], list[Link]], direction: Direction | None
) -> None:
    """A line touches its two boxes and its own label, and goes around all others."""
    boxes, links = drawing
    layout = lay_out(boxes, links, direction)

    for link, route in zip(links, layout.routes, strict=True):
        for i, place in enumerate(layout.places):
            if i not in {link.source, link.target}:
                assert not any(inside(point, place, 1) for point in points_on(route.curve))
        for other in layout.routes:
            if other.label and other is not route:
                assert not any(inside(point, other.label, 1) for point in points_on(route.curve))


@given(drawings(), DIRECTIONS)
@example(
    (
        [*[Box(60.0, 40.0)] * 2, Box(168.0, 40.0), *[Box(60.0, 40.0)] * 3],
        [Link(2, 1), Link(5, 0), Link(0, 3, 180.0, 36.0), Link(1, 3), Link(0, 2), Link(4, 3, 60.0, 20.0)],
    ),
    None,
)
@settings(deadline=None)
def test_lines_lead_from_their_source_to_their_target(
    drawing: tuple[list[Box], list[Link]], direction: Direction | None
) -> None:
    """A line begins at the rim of one box and ends at the rim of the other, through the middle of its label."""
    boxes, links = drawing
    layout = lay_out(boxes, links, direction)

    for link, route in zip(links, layout.routes, strict=True):
        assert len(route.curve) % 3 == 1
        for end, box in ((route.curve[0], link.source), (route.curve[-1], link.target)):
            place = layout.places[box]
            assert not inside(end, place, 21)  # corners reach 20 pixels in
            assert inside(end, place, -0.2)
        assert (route.label is not None) == (link.label_width > 0)
        if route.label and link.source != link.target:
            assert any(inside(point, route.label, -0.2) for point in points_on(route.curve))


@given(drawings(), DIRECTIONS)
@settings(deadline=None)
def test_everything_lies_within_the_size(drawing: tuple[list[Box], list[Link]], direction: Direction | None) -> None:
    """Nothing is cut off at the rim of the picture."""
    layout = lay_out(*drawing, direction)

    for rect in everything(layout):
        left, top, right, bottom = sides(rect)
        assert left >= -0.01
        assert top >= -0.01
        assert right <= layout.width + 0.01
        assert bottom <= layout.height + 0.01
    for route in layout.routes:
        assert all(-0.1 <= x <= layout.width + 0.1 and -0.1 <= y <= layout.height + 0.1 for x, y in route.curve)


@given(drawings())
@settings(deadline=None, max_examples=20)
def test_equal_input_gives_equal_output(drawing: tuple[list[Box], list[Link]]) -> None:
    """There is no chance in it."""
    assert lay_out(*drawing) == lay_out(*drawing)


@given(drawings())
@settings(deadline=None, max_examples=30)
def test_width_decides_the_direction(drawing: tuple[list[Box], list[Link]]) -> None:
    """To the right if that fits on the page, else the narrower of the two."""
    right, down = (lay_out(*drawing, direction) for direction in Direction)

    chosen = lay_out(*drawing)

    assert chosen == (right if right.width <= PAGE_WIDTH or right.width < down.width else down)


def test_chain_is_a_straight_line() -> None:
    """Five states in a row stand at one height, and the lines between them are straight."""
    layout = lay_out([BOX] * 5, [Link(i, i + 1) for i in range(4)])

    assert layout.direction is Direction.RIGHT
    assert {place.y for place in layout.places} == {20.0}
    assert [place.x for place in layout.places] == sorted(place.x for place in layout.places)
    assert {y for route in layout.routes for _, y in route.curve} == {20.0}


def test_long_chain_leads_down() -> None:
    """What does not fit on the page from left to right goes downwards."""
    layout = lay_out([BOX] * 15, [Link(i, i + 1) for i in range(14)])

    assert layout.direction is Direction.DOWN
    assert layout.width == 100.0
    assert [place.y for place in layout.places] == sorted(place.y for place in layout.places)


def test_fan_out_is_symmetric() -> None:
    """Three branches stand around the line from the state before to the state after."""
    layout = lay_out([BOX] * 5, [*(Link(0, i) for i in (1, 2, 3)), *(Link(i, 4) for i in (1, 2, 3))])

    first, one, two, three, last = layout.places
    assert first.y == two.y == last.y
    assert two.y - one.y == three.y - two.y
    assert one.x == two.x == three.x


def test_line_back_leads_to_the_state_before() -> None:
    """A retry loop keeps the order of the states; the line back ends where it should."""
    layout = lay_out([BOX] * 3, [Link(0, 1), Link(1, 2), Link(2, 0)], Direction.RIGHT)

    assert [place.x for place in layout.places] == sorted(place.x for place in layout.places)
    # Within a pixel: the corners are round.
    assert layout.routes[2].curve[0][0] == pytest.approx(sides(layout.places[2])[0], abs=1)
    assert layout.routes[2].curve[-1][0] == pytest.approx(sides(layout.places[0])[2], abs=1)


def test_long_ways_to_one_state_run_together() -> None:
    """Failure routes of many states share one line, instead of filling the page."""
    links = [Link(i, i + 1) for i in range(6)] + [Link(i, 7, 50.0, 20.0) for i in range(6)]

    layout = lay_out([BOX] * 8, links, Direction.DOWN)

    assert layout.width < 300
    ends = {route.curve[-1] for route, link in zip(layout.routes, links, strict=True) if link.target == 7}
    assert len(ends) <= 2  # the line that they share, and the last state's own


def test_long_label_of_a_loop_parts_the_layers_no_more_than_needed() -> None:
    """The states beside it make room for the label, and the one with the loop stays in the middle of it."""
    links = [Link(0, 1), Link(1, 2)]

    plain = lay_out([BOX] * 3, links, Direction.RIGHT)
    short = lay_out([BOX] * 3, [*links, Link(1, 1, 90.0, 20.0)], Direction.RIGHT)
    long = lay_out([BOX] * 3, [*links, Link(1, 1, 180.0, 20.0)], Direction.RIGHT)

    assert [place.x for place in short.places] == [place.x for place in plain.places]
    assert [a.x - b.x for a, b in zip(long.places, plain.places, strict=True)] == [0.0, 40.0, 80.0]


def test_first_box_stands_first_even_in_a_cycle() -> None:
    """The start is on top, although a line leads back to it."""
    layout = lay_out([BOX] * 3, [Link(2, 0), Link(0, 1), Link(1, 2)], Direction.DOWN)

    assert [place.y for place in layout.places] == sorted(place.y for place in layout.places)


def test_unconnected_boxes_stand_in_rows_as_wide_as_the_page() -> None:
    """Parts without a line between them do not make the drawing wider than it need be."""
    layout = lay_out([BOX] * 20, [])

    assert layout.width <= PAGE_WIDTH
    assert len({place.y for place in layout.places}) > 1


def test_nothing_has_no_size() -> None:
    """A graph without states is an empty drawing, not an error."""
    assert lay_out([], []) == Layout(Direction.RIGHT, 0.0, 0.0, (), ())


def test_large_graph_takes_work_in_proportion_to_its_states() -> None:
    """A notebook draws while somebody waits: twice as many states take less than three times as many calls."""
    few, many = calls_for(150), calls_for(300)

    assert few < 150 * 10_000
    assert many < 3 * few


def calls_for(count: int) -> int:
    """Returns how many calls it takes to lay out a chain of states with failure routes, retries and short cuts."""
    links = [Link(i, i + 1, 60.0, 20.0, 4) for i in range(count - 2)]
    links += [Link(i, count - 1, 60.0, 20.0) for i in range(count - 2)]
    links += [Link(i, i - 3, 60.0, 20.0, 4) for i in range(5, count - 2, 7)]
    links += [Link(i, i + 4, 160.0, 20.0, 4) for i in range(0, count - 6, 5)]
    profile = cProfile.Profile()

    profile.runcall(lay_out, [BOX] * count, links)

    return sum(entry.callcount for entry in profile.getstats())
