"""Crossings: the order of the vertices within their layers, so that few lines cross."""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence

from avtomatika.blueprints.drawing.layers import Layered

_EFFORT = 60_000  # vertices looked at in all sweeps together; bounds the time for large graphs
_MAX_SWEEPS = 16

Neighbours = dict[int, list[int]]


def reduce_crossings(layered: Layered) -> None:
    """Puts each layer in the best order found, by sweeps of barycenters and exchanges of neighbours.

    A vertex moves to the mean place of the vertices that it is joined to in the layer before; downwards, then upwards,
    and again. The order with the fewest crossings is kept; between equal ones the first, so that the result does not
    depend on chance.
    """
    above, below = neighbours(layered.segments)
    _walk(layered, above, below)
    best, fewest = _copy(layered.layers), count_crossings(layered.layers, below)
    vertices = sum(len(layer) for layer in layered.layers)
    for sweep in range(min(_MAX_SWEEPS, _EFFORT // max(1, vertices))):
        if not fewest:
            break
        down = sweep % 2 == 0
        ordered = layered.layers if down else layered.layers[::-1]
        for before, layer in itertools.pairwise(ordered):
            _by_barycenter(layer, before, above if down else below)
        if vertices <= _EFFORT // 100:
            _exchange(layered.layers, above, below)
        crossings = count_crossings(layered.layers, below)
        if crossings < fewest:
            best, fewest = _copy(layered.layers), crossings
    layered.layers[:] = best


def neighbours(segments: Iterable[tuple[int, int]]) -> tuple[Neighbours, Neighbours]:
    """Returns each vertex's neighbours in the layer above, and in the layer below."""
    above: Neighbours = {}
    below: Neighbours = {}
    for upper, lower in segments:
        below.setdefault(upper, []).append(lower)
        above.setdefault(lower, []).append(upper)
    return above, below


def count_crossings(layers: Sequence[Sequence[int]], below: Neighbours) -> int:
    """Returns how many pairs of lines cross between neighbouring layers."""
    crossings = 0
    for upper, lower in itertools.pairwise(layers):
        place = {vertex: i for i, vertex in enumerate(lower)}
        passed: list[int] = []
        for vertex in upper:
            ends = [place[end] for end in below.get(vertex, ())]
            crossings += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return crossings


def _copy(layers: list[list[int]]) -> list[list[int]]:
    return [list(layer) for layer in layers]


def _walk(layered: Layered, above: Neighbours, below: Neighbours) -> None:
    """Orders the layers as a walk from the first vertices meets them: trees have no crossings then."""
    rows = {vertex: row for row, layer in enumerate(layered.layers) for vertex in layer}
    met: set[int] = set()
    layers: list[list[int]] = [[] for _ in layered.layers]
    for root in [vertex for layer in layered.layers for vertex in layer if vertex not in above] + list(rows):
        stack = [root]
        while stack:
            vertex = stack.pop()
            if vertex not in met:
                met.add(vertex)
                layers[rows[vertex]].append(vertex)
                stack.extend(reversed(below.get(vertex, ())))
    layered.layers[:] = layers


def _by_barycenter(layer: list[int], before: Sequence[int], towards: Neighbours) -> None:
    place = {vertex: i for i, vertex in enumerate(before)}
    scale = len(before) / len(layer)
    wanted = {}
    for i, vertex in enumerate(layer):
        joined = towards.get(vertex, ())
        wanted[vertex] = sum(place[other] for other in joined) / len(joined) if joined else i * scale
    layer.sort(key=wanted.__getitem__)


def _exchange(layers: Sequence[list[int]], above: Neighbours, below: Neighbours) -> None:
    """Swaps neighbours within a layer as long as that saves crossings."""
    for _ in range(4):
        improved = False
        for row, layer in enumerate(layers):
            sides = []
            if row > 0:
                sides.append(({vertex: i for i, vertex in enumerate(layers[row - 1])}, above))
            if row + 1 < len(layers):
                sides.append(({vertex: i for i, vertex in enumerate(layers[row + 1])}, below))
            for i in range(len(layer) - 1):
                left, right = layer[i], layer[i + 1]
                gain = 0
                for place, towards in sides:
                    lefts = [place[other] for other in towards.get(left, ())]
                    rights = [place[other] for other in towards.get(right, ())]
                    gain += sum((a > b) - (a < b) for a in lefts for b in rights)
                if gain > 0:
                    layer[i], layer[i + 1] = right, left
                    improved = True
        if not improved:
            return
