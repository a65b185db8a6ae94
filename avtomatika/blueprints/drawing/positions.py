"""Positions: where along its layer each vertex stands, so that lines are straight and nothing overlaps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import fsum

from avtomatika.blueprints.drawing.layers import Layered

_SWEEPS, _FEWER_SWEEPS = 6, 2
_LARGE = 600  # vertices from which on time counts more than looks
_SETTLING, _SETTLED = 10, 0.5
_FAR = 1e9
_INERTIA = 0.05  # weight of staying where it is, for a vertex that nothing pulls


def place_vertices(
    layered: Layered, before: Mapping[int, float], after: Mapping[int, float], gap: float
) -> dict[int, float]:
    """Returns the place of every vertex along its layer, in pixels.

    Each sweep asks for every vertex the mean place of those that it is joined to, and finds the nearest places that
    keep the order and the distances. At last long lines are made exactly straight where there is room.

    Args:
        layered: in the order of the picture.
        before: what each vertex needs on the near side of its place, pixels.
        after: what it needs on the far side.
        gap: free pixels between neighbours.
    """
    pulls: dict[int, list[tuple[int, int, bool]]] = {}
    for (upper, lower), strength in layered.segments.items():
        pulls.setdefault(upper, []).append((lower, strength, True))
        pulls.setdefault(lower, []).append((upper, strength, False))
    gaps = [
        [after[left] + gap + before[right] for left, right in itertools.pairwise(layer)] for layer in layered.layers
    ]
    places: dict[int, float] = {}
    for layer, distances in zip(layered.layers, gaps, strict=True):
        _put(places, layer, keep_apart([0.0] * len(layer), [1.0] * len(layer), distances))

    def sweep(rows: Iterable[int], wanted: Callable[[bool], bool]) -> None:
        for row in rows:
            layer = layered.layers[row]
            means, weights = [], []
            for vertex in layer:
                joined = [(places[other], strength) for other, strength, down in pulls.get(vertex, ()) if wanted(down)]
                total = sum(strength for _, strength in joined)
                means.append(fsum(p * s for p, s in joined) / total if total else places[vertex])
                weights.append(float(total) or _INERTIA)
            _put(places, layer, keep_apart(means, weights, gaps[row]))

    downwards = range(len(layered.layers))
    for _ in range(_SWEEPS if len(places) < _LARGE else _FEWER_SWEEPS):
        sweep(downwards, lambda down: not down)
        sweep(reversed(downwards), lambda down: down)
    for _ in range(_SETTLING):
        earlier = dict(places)
        sweep(downwards, lambda _: True)
        sweep(reversed(downwards), lambda _: True)
        if all(abs(places[vertex] - place) < _SETTLED for vertex, place in earlier.items()):
            break
    for layer, distances in zip(layered.layers, gaps, strict=True):
        _round(places, layer, distances)
    _straighten(layered, places, gaps)
    return places


def keep_apart(wanted: Sequence[float], weights: Sequence[float], distances: Sequence[float]) -> list[float]:
    """Returns the places nearest to the wanted ones that keep their order and at least the distances.

    Nearest by the weighted sum of squares: the isotonic regression of the places less the distances, found by pooling
    neighbours that violate the order.

    Args:
        wanted: one place for each.
        weights: how much each place matters, above 0.
        distances: between each and the next; one less than the places.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, size
    offset = 0.0
    offsets = []
    for i, place in enumerate(wanted):
        offset += distances[i - 1] if i else 0.0
        offsets.append(offset)
        mean, weight, size = place - offset, weights[i], 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_size = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight += other_weight
            size += other_size
        blocks.append((mean, weight, size))
    means = [mean for mean, _, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _put(places: dict[int, float], layer: Sequence[int], found: Sequence[float]) -> None:
    places.update(zip(layer, found, strict=True))


def _round(places: dict[int, float], layer: Sequence[int], distances: Sequence[float]) -> None:
    """Moves to whole pixels, each at least its distance from the one before."""
    for i, vertex in enumerate(layer):
        rounded = float(round(places[vertex]))
        if i:
            rounded = max(rounded, places[layer[i - 1]] + distances[i - 1])
        places[vertex] = rounded


def _straighten(layered: Layered, places: dict[int, float], gaps: Sequence[Sequence[float]]) -> None:
    """Moves the bends of each line to one place, where their neighbours leave room for it."""
    row_of = {vertex: (r, i) for r, layer in enumerate(layered.layers) for i, vertex in enumerate(layer)}

    def room(vertex: int) -> tuple[float, float]:
        row, i = row_of[vertex]
        layer, distances = layered.layers[row], gaps[row]
        low = places[layer[i - 1]] + distances[i - 1] if i else -_FAR
        high = places[layer[i + 1]] - distances[i] if i + 1 < len(layer) else _FAR
        return low, high

    done: set[int] = set()
    for path, back in sorted(zip(layered.paths, layered.turned, strict=True), key=lambda item: -len(item[0])):
        bends = [vertex for vertex in path[1:-1] if vertex not in layered.labels]
        inner = [vertex for vertex in bends if vertex not in done]
        settled = [vertex for vertex in bends if vertex in done]
        done.update(inner)
        aim = places[settled[0] if settled else path[0] if back else path[-1]]
        for run, low, high in _runs(inner, room):
            middle = sorted(places[vertex] for vertex in run)[len(run) // 2]
            place = min(max(aim if low <= aim <= high else middle, low), high)
            places.update(dict.fromkeys(run, place))


def _runs(
    vertices: Sequence[int], room: Callable[[int], tuple[float, float]]
) -> Iterator[tuple[list[int], float, float]]:
    """Yields stretches of a line, as long as may be, with the bounds that all of their vertices share."""
    run: list[int] = []
    low, high = -_FAR, _FAR
    for vertex in vertices:
        least, most = room(vertex)
        if run and max(low, least) > min(high, most):
            yield run, low, high
            run, low, high = [], -_FAR, _FAR
        run.append(vertex)
        low, high = max(low, least), min(high, most)
    if run:
        yield run, low, high
