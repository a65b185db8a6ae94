"""Layers: which row of the picture a state stands in, and the path of every edge through the rows between.

The first two steps of a layered drawing (K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of
hierarchical system structures", 1981): turn edges around until there is no cycle, then give each state the length of
the longest path to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layered:
    """A graph in layers. Vertices are numbers: first the states, then labels and bends of edges.

    Args:
        layers: the vertices of each layer; the order within a layer is that of the picture.
        paths: for each edge, its vertices from the upper state to the lower one.
        turned: for each edge, whether it leads upwards, against its path.
        labels: vertex of a label to its edge.
        segments: pairs of vertices in neighbouring layers that are joined by a line, to how much it should be straight.
    """

    layers: list[list[int]]
    paths: list[list[int]]
    turned: list[bool]
    labels: dict[int, int]
    segments: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """An edge for the layers: between two different states.

    Args:
        source: number of the state that it leaves.
        target: number of the state that it leads to.
        has_label: whether it needs a place for a label, next to its source.
        weight: how much it should be straight.
    """

    source: int
    target: int
    has_label: bool = False
    weight: int = 1


def make_layers(states: Sequence[int], lines: Sequence[Line], first_vertex: int) -> Layered:
    """Lays states and lines into layers.

    Labels stand in layers of their own between those of the states. Lines to the same state share their bends, so
    that many long ways to one failure state run together into one, as on a map of railways.

    Args:
        states: numbers of the states; the first one is above the others where the lines allow it.
        lines: between these states.
        first_vertex: number of the first vertex that is no state; above every state's.
    """
    turned = find_back_lines(states, lines)
    rank = _rank(states, lines, turned)
    label_ranks = [
        (rank[line.source] + (-1 if back else 1)) if line.has_label else None
        for line, back in zip(lines, turned, strict=True)
    ]
    used = sorted({*rank.values(), *(r for r in label_ranks if r is not None)})
    index = {r: i for i, r in enumerate(used)}
    row = {state: index[r] for state, r in rank.items()}
    layers: list[list[int]] = [[] for _ in used]
    for state in states:
        layers[row[state]].append(state)
    layered = Layered(layers, [], turned, {})
    next_vertex = first_vertex
    bends: dict[tuple[int, bool, int], int] = {}
    for number, (line, back, label_rank) in enumerate(zip(lines, turned, label_ranks, strict=True)):
        upper, lower = (line.target, line.source) if back else (line.source, line.target)
        path = [upper]
        for between in range(row[upper] + 1, row[lower]):
            is_label = label_rank is not None and index[label_rank] == between
            vertex = next_vertex if is_label else bends.setdefault((line.target, back, between), next_vertex)
            if vertex == next_vertex:
                next_vertex += 1
                layers[between].append(vertex)
            if is_label:
                layered.labels[vertex] = number
            path.append(vertex)
        path.append(lower)
        layered.paths.append(path)
        _add_segments(layered, path, line.weight, first_vertex)
    return layered


def find_back_lines(states: Sequence[int], lines: Sequence[Line]) -> list[bool]:
    """Returns for each line whether it closes a cycle, walking from the first state in order of the lines."""
    leaving: dict[int, list[int]] = {state: [] for state in states}
    for number, line in enumerate(lines):
        leaving[line.source].append(number)
    back = [False] * len(lines)
    seen: set[int] = set()
    for root in states:
        if root in seen:
            continue
        seen.add(root)
        on_path = {root}
        stack = [(root, iter(leaving[root]))]
        while stack:
            state, rest = stack[-1]
            for number in rest:
                target = lines[number].target
                if target in on_path:
                    back[number] = True
                elif target not in seen:
                    seen.add(target)
                    on_path.add(target)
                    stack.append((target, iter(leaving[target])))
                    break
            else:
                on_path.discard(state)
                stack.pop()
    return back


def _rank(states: Sequence[int], lines: Sequence[Line], turned: Sequence[bool]) -> dict[int, int]:
    """Returns the layer of each state by the longest path: even numbers, so that labels have the odd ones."""
    below: dict[int, list[int]] = {state: [] for state in states}
    above = dict.fromkeys(states, 0)
    for line, back in zip(lines, turned, strict=True):
        upper, lower = (line.target, line.source) if back else (line.source, line.target)
        below[upper].append(lower)
        above[lower] += 1
    sources = [state for state in states if not above[state]]
    rank = dict.fromkeys(states, 0)
    ready = list(sources)
    for state in ready:
        for lower in below[state]:
            rank[lower] = max(rank[lower], rank[state] + 2)
            above[lower] -= 1
            if not above[lower]:
                ready.append(lower)
    for state in sources[1:]:  # the first is the start; any other one stands right above what it leads to
        rank[state] = min((rank[lower] for lower in below[state]), default=2) - 2
    return rank


def _add_segments(layered: Layered, path: Sequence[int], weight: int, first_vertex: int) -> None:
    for upper, lower in itertools.pairwise(path):
        bends = (upper >= first_vertex) + (lower >= first_vertex)
        # The factors of E. Gansner and others, "A technique for drawing directed graphs", 1993, section 4.2.
        strength = weight * (1, 2, 8)[bends]
        layered.segments[upper, lower] = max(layered.segments.get((upper, lower), 0), strength)
