"""The layout: where the states of a graph stand, and the curves that lead from one to another.

Sizes go in, coordinates come out; nothing here knows what is drawn. The steps have a module each: ``layers``,
``crossings``, ``positions``; this one turns their rows and places into pixels, and sets unconnected parts side by side.
Equal input gives equal output, on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from avtomatika.blueprints.drawing.crossings import reduce_crossings
from avtomatika.blueprints.drawing.layers import Layered, Line, make_layers
from avtomatika.blueprints.drawing.positions import keep_apart, place_vertices

Point = tuple[float, float]

PAGE_WIDTH = 960
"""Pixels that a notebook's output has beside it on a laptop."""
_PART_GAP = 40.0
_LOOP_REACH = 24.0
_LOOP_GAP = 3.0  # between a loop and its label
_PORT_GAP = 12.0  # the heads of two arrows side by side do not touch
_STRETCH, _MOST_STRETCH = 0.2, 50.0  # a line that goes far aside gets more room to turn


class Direction(StrEnum):
    """Where the lines lead."""

    RIGHT = "right"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Box:
    """The size of a state.

    Args:
        width: pixels.
        height: pixels.
        rx: how far its corners reach along the width.
        ry: how far they reach along the height.
        is_round: whether the corners are arcs, not straight cuts.
    """

    width: float
    height: float
    rx: float = 10.0
    ry: float = 10.0
    is_round: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between two boxes, at most one for each ordered pair.

    Args:
        source: index of the box that it leaves.
        target: index of the box that it leads to; the same one for a loop.
        label_width: pixels; 0 for no label.
        label_height: pixels; 0 for no label.
        weight: how much it should be straight, from 1.
    """

    source: int
    target: int
    label_width: float = 0.0
    label_height: float = 0.0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Rect:
    """A place: the middle and the size, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an edge.

    Args:
        curve: the first point, then three for each piece of a cubic Bézier curve.
        label: the label's place on the curve, or None.
    """

    curve: tuple[Point, ...]
    label: Rect | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The coordinates of a drawing; all of it lies between 0 and width, 0 and height.

    Args:
        direction: where the lines lead.
        width: pixels.
        height: pixels.
        places: of the boxes, in their order.
        routes: of the links, in their order.
    """

    direction: Direction
    width: float
    height: float
    places: tuple[Rect, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Pixels between things: along the lines, and across them."""

    plain: float
    to_label: float
    from_label: float
    across: float


_GAPS = {Direction.RIGHT: _Gaps(44.0, 16.0, 24.0, 18.0), Direction.DOWN: _Gaps(38.0, 15.0, 22.0, 22.0)}


def lay_out(boxes: Sequence[Box], links: Sequence[Link], direction: Direction | None = None) -> Layout:
    """Computes a layered drawing.

    Args:
        boxes: the first one is the start.
        links: between them.
        direction: None for to the right if that fits on the page, else whichever of the two is less wide.
    """
    parts = [_Part(boxes, links, members) for members in _connected(len(boxes), links)]
    if direction is not None:
        return _combine(parts, direction, len(boxes), len(links))
    downwards: Layout | None = None
    if (least := max((part.least_width() for part in parts), default=0.0)) > PAGE_WIDTH:
        downwards = _combine(parts, Direction.DOWN, len(boxes), len(links))
        if downwards.width <= least:  # the other one need not be tried
            return downwards
    rightwards = _combine(parts, Direction.RIGHT, len(boxes), len(links))
    if rightwards.width <= PAGE_WIDTH:
        return rightwards
    downwards = downwards or _combine(parts, Direction.DOWN, len(boxes), len(links))
    return min(downwards, rightwards, key=lambda layout: layout.width)


class _Part:
    """A connected part of the graph: ordered once, then placed in either direction.

    Coordinates in here are along the lines, then across them.
    """

    def __init__(self, boxes: Sequence[Box], links: Sequence[Link], members: Sequence[int]) -> None:
        self.boxes = boxes
        self.members = members
        inside = set(members)
        self.loops = {n: link for n, link in enumerate(links) if link.source == link.target and link.source in inside}
        self.links = {n: link for n, link in enumerate(links) if link.source != link.target and link.source in inside}
        lines = [Line(link.source, link.target, link.label_width > 0, link.weight) for link in self.links.values()]
        self.layered: Layered = make_layers(members, lines, len(boxes))
        reduce_crossings(self.layered)
        numbers = list(self.links)
        self.label_link = {vertex: self.links[numbers[line]] for vertex, line in self.layered.labels.items()}

    def least_width(self) -> float:
        """Returns what the boxes side by side take at least when lines lead to the right."""
        inside = [[self.boxes[v].width for v in layer if v < len(self.boxes)] for layer in self.layered.layers]
        return sum(max(widths, default=0.0) for widths in inside)

    def place(self, direction: Direction) -> tuple[dict[int, Rect], dict[int, Route], float, float]:
        """Returns the places of boxes and the routes of links by number, width and height."""
        placed = _Placed(self, direction)
        places = {state: placed.rect(state) for state in self.members}
        routes = {
            number: placed.route(path, back)
            for number, path, back in zip(self.links, self.layered.paths, self.layered.turned, strict=True)
        }
        routes.update((number, placed.loop(link)) for number, link in self.loops.items())
        return _to_origin(places, routes)


class _Placed:
    """A part in one direction: knows every vertex's place and every layer's extent."""

    def __init__(self, part: _Part, direction: Direction) -> None:
        self.part = part
        self.direction = direction
        self.gaps = _GAPS[direction]
        self.row_of = {vertex: row for row, layer in enumerate(part.layered.layers) for vertex in layer}
        before = {vertex: self.size(vertex)[1] / 2 for vertex in self.row_of}
        after = dict(before)
        self.room_along = {vertex: self.size(vertex)[0] for vertex in self.row_of}
        for loop in part.loops.values():
            along, across = self.turn(loop.label_width, loop.label_height)
            after[loop.source] += _LOOP_REACH + _LOOP_GAP + across
            # A loop's label may be longer than its state: without room in the layer it would reach into the gaps,
            # where lines turn, and into the layers beyond.
            self.room_along[loop.source] = max(self.room_along[loop.source], along)
        self.across = place_vertices(part.layered, before, after, self.gaps.across)
        self.ports = self._find_ports()
        self.extents = self._find_extents()

    def turn(self, width: float, height: float) -> tuple[float, float]:
        """Turns width and height into what they are along and across the lines, and back."""
        return (width, height) if self.direction is Direction.RIGHT else (height, width)

    def size(self, vertex: int) -> tuple[float, float]:
        """Returns what the vertex takes along and across the lines; nothing for a bend."""
        if vertex < len(self.part.boxes):
            return self.turn(self.part.boxes[vertex].width, self.part.boxes[vertex].height)
        if (link := self.part.label_link.get(vertex)) is not None:
            return self.turn(link.label_width, link.label_height)
        return 0.0, 0.0

    def rect(self, vertex: int) -> Rect:
        """Returns the place of a state or a label."""
        start, end = self.extents[self.row_of[vertex]]
        return Rect(*self.turn((start + end) / 2, self.across[vertex]), *self.turn(*self.size(vertex)))

    def route(self, path: Sequence[int], back: bool) -> Route:
        """Returns the way of a link along its path, which it follows upwards if it was turned ``back``."""
        upper, lower = path[0], path[-1]
        points = [(self._edge(upper, path[1], 1), self.ports[upper, path[1]])]
        points.append((self.extents[self.row_of[upper]][1], points[0][1]))
        for vertex in path[1:-1]:
            points += [(bound, self.across[vertex]) for bound in self.extents[self.row_of[vertex]]]
        port = self.ports[lower, path[-2]]
        points += [(self.extents[self.row_of[lower]][0], port), (self._edge(lower, path[-2], -1), port)]
        curve = _curve(points)
        label = next((vertex for vertex in path[1:-1] if vertex in self.part.label_link), None)
        return Route(
            tuple(self.turn(*point) for point in (curve[::-1] if back else curve)),
            self.rect(label) if label is not None else None,
        )

    def loop(self, link: Link) -> Route:
        """Returns a curve from a state to itself, on the side that no other line uses."""
        start, end = self.extents[self.row_of[link.source]]
        middle, side = (start + end) / 2, self.across[link.source] + self.size(link.source)[1] / 2
        reach, spread = side + _LOOP_REACH * 4 / 3, 9.0  # a cubic curve comes as far as 3/4 of its control points
        curve = [(middle + spread, side), (middle + 2 * spread, reach), (middle - 2 * spread, reach)]
        curve.append((middle - spread, side))
        label = None
        if link.label_width:
            along, across = self.turn(link.label_width, link.label_height)
            label = Rect(*self.turn(middle, side + _LOOP_REACH + _LOOP_GAP + across / 2), *self.turn(along, across))
        return Route(tuple(self.turn(*point) for point in curve), label)

    def _find_ports(self) -> dict[tuple[int, int], float]:
        """Returns for each state and each vertex joined to it where across the lines they meet.

        As near as may be to straight ahead, in order, and apart from each other.
        """
        sides: dict[tuple[int, bool], list[tuple[int, int]]] = {}
        for (upper, lower), strength in self.part.layered.segments.items():
            sides.setdefault((upper, True), []).append((lower, strength))
            sides.setdefault((lower, False), []).append((upper, strength))
        ports: dict[tuple[int, int], float] = {}
        for (vertex, _), joined in sides.items():
            if vertex >= len(self.part.boxes):
                continue
            here, reach = self.across[vertex], self._reach(vertex)
            joined.sort(key=lambda item: (self.across[item[0]], item[0]))
            offsets = [self.across[other] - here for other, _ in joined]
            if len(joined) == 1:
                found = offsets if abs(offsets[0]) <= reach else [0.0]
            else:
                found = _spread(offsets, [float(strength) for _, strength in joined], reach)
            for (other, _), port in zip(joined, found, strict=True):
                ports[vertex, other] = here + round(port, 1)
        return ports

    def _reach(self, vertex: int) -> float:
        """Returns how far from the middle of a state's side a line may meet it."""
        box = self.part.boxes[vertex]
        corner = self.turn(box.rx, box.ry)[1]
        # Corners are left out where they are small; a side that is all corner is met near its middle.
        return self.size(vertex)[1] / 2 - min(max(corner, 6.0), 8.0 if self.direction is Direction.RIGHT else 20.0)

    def _edge(self, vertex: int, other: int, sign: int) -> float:
        """Returns where along the lines the state's outline is, at the port to ``other``."""
        start, end = self.extents[self.row_of[vertex]]
        box, (along, across) = self.part.boxes[vertex], self.size(vertex)
        corner_along, corner_across = self.turn(box.rx, box.ry)
        into = max(0.0, abs(self.ports[vertex, other] - self.across[vertex]) - (across / 2 - corner_across))
        share = min(1.0, into / corner_across) if corner_across else 0.0
        inset = corner_along * (1 - (1 - share * share) ** 0.5 if box.is_round else share)
        return round((start + end) / 2 + sign * (along / 2 - inset), 1)

    def _find_extents(self) -> list[tuple[float, float]]:
        """Returns where along the lines each layer begins and ends."""
        layers = self.part.layered.layers
        aside = [0.0] * len(layers)
        for upper, lower in self.part.layered.segments:
            row = self.row_of[upper]
            here = self.ports.get((upper, lower), self.across[upper])
            there = self.ports.get((lower, upper), self.across[lower])
            aside[row] = max(aside[row], abs(here - there))
        extents: list[tuple[float, float]] = []
        position = 0.0
        for row, layer in enumerate(layers):
            thickness = max(self.room_along[vertex] for vertex in layer)
            extents.append((position, position + thickness))
            position += thickness + self._gap_below(row) + float(round(min(_MOST_STRETCH, aside[row] * _STRETCH)))
        return extents

    def _gap_below(self, row: int) -> float:
        layers = self.part.layered.layers
        has_label = [any(vertex in self.part.label_link for vertex in layer) for layer in layers[row : row + 2]]
        match has_label:
            case [False, True]:
                return self.gaps.to_label
            case [True, *_]:
                return self.gaps.from_label
            case _:
                return self.gaps.plain


def _spread(offsets: Sequence[float], weights: Sequence[float], reach: float) -> list[float]:
    """Returns places within ``reach`` of the middle, near the offsets, in order and apart."""
    last = len(offsets) - 1
    gap = min(_PORT_GAP, 2 * reach / last)
    wanted = [min(max(offset, -reach), reach) for offset in offsets]
    found = keep_apart(wanted, weights, [gap] * last)
    return [min(max(place, i * gap - reach), reach - (last - i) * gap) for i, place in enumerate(found)]


def _curve(points: Sequence[Point]) -> list[Point]:
    """Joins points (along, across) by straight pieces where they are in line, else by S-shaped ones."""
    kept = [points[0]]
    for point in points[1:]:
        if len(kept) > 1 and kept[-2][1] == kept[-1][1] == point[1]:
            kept[-1] = point
        elif point != kept[-1]:
            kept.append(point)
    curve = [kept[0]]
    for (along, across), (next_along, next_across) in itertools.pairwise(kept):
        middle = (along + next_along) / 2
        curve += [(middle, across), (middle, next_across), (next_along, next_across)]
    return curve


def _connected(count: int, links: Iterable[Link]) -> list[list[int]]:
    """Returns the connected parts, each in order of the boxes."""
    joined: list[list[int]] = [[] for _ in range(count)]
    for link in links:
        joined[link.source].append(link.target)
        joined[link.target].append(link.source)
    parts: list[list[int]] = []
    seen: set[int] = set()
    for root in range(count):
        if root in seen:
            continue
        seen.add(root)
        members = [root]
        for state in members:
            fresh = [other for other in dict.fromkeys(joined[state]) if other not in seen]
            seen.update(fresh)
            members += fresh
        parts.append(sorted(members))
    return parts


def _combine(parts: Sequence[_Part], direction: Direction, boxes: int, links: int) -> Layout:
    """Sets the parts side by side, in rows as wide as the page or the widest part."""
    placed = [part.place(direction) for part in parts]
    page = max([float(PAGE_WIDTH), *(width for _, _, width, _ in placed)])
    places: dict[int, Rect] = {}
    routes: dict[int, Route] = {}
    x = y = row_height = total_width = 0.0
    for part_places, part_routes, width, height in placed:
        if x and x + width > page:
            x, y, row_height = 0.0, y + row_height + _PART_GAP, 0.0
        places.update((n, _moved(rect, x, y)) for n, rect in part_places.items())
        routes.update((n, _moved_route(route, x, y)) for n, route in part_routes.items())
        total_width = max(total_width, x + width)
        row_height = max(row_height, height)
        x += width + _PART_GAP
    return Layout(
        direction,
        total_width,
        y + row_height,
        tuple(places[n] for n in range(boxes)),
        tuple(routes[n] for n in range(links)),
    )


def _to_origin(
    places: dict[int, Rect], routes: dict[int, Route]
) -> tuple[dict[int, Rect], dict[int, Route], float, float]:
    """Moves a part so that it begins at (0, 0); returns its size too."""
    rects = [*places.values(), *(route.label for route in routes.values() if route.label)]
    points = [point for route in routes.values() for point in route.curve]
    left = min([rect.x - rect.width / 2 for rect in rects] + [x for x, _ in points])
    top = min([rect.y - rect.height / 2 for rect in rects] + [y for _, y in points])
    right = max([rect.x + rect.width / 2 for rect in rects] + [x for x, _ in points])
    bottom = max([rect.y + rect.height / 2 for rect in rects] + [y for _, y in points])
    return (
        {n: _moved(rect, -left, -top) for n, rect in places.items()},
        {n: _moved_route(route, -left, -top) for n, route in routes.items()},
        right - left,
        bottom - top,
    )


def _moved(rect: Rect, x: float, y: float) -> Rect:
    return replace(rect, x=rect.x + x, y=rect.y + y)


def _moved_route(route: Route, x: float, y: float) -> Route:
    curve = tuple((round(px + x, 1), round(py + y, 1)) for px, py in route.curve)
    return Route(curve, _moved(route.label, x, y) if route.label else None)
