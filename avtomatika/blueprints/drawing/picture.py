"""The drawing of a blueprint's graph, as SVG and as HTML for a notebook.

The SVG is the same bytes on every machine. What happens to a job changes classes only: ``current``, ``visited`` and
``failed`` on a state, ``taken`` on an edge; a live view may toggle them by the ids that ``state_ids`` and ``edge_ids``
give, without drawing anew. Counts need a new drawing, in which everything else stays in its place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from avtomatika.blueprints.drawing.captions import (
    ICON_ROOM,
    LINE_HEIGHT,
    EdgeCaption,
    Role,
    StateCaption,
    caption_edges,
    caption_states,
)
from avtomatika.blueprints.drawing.icons import BADGES, ROLE_ICONS
from avtomatika.blueprints.drawing.layout import Box, Direction, Link, Point, Rect, Route, lay_out
from avtomatika.blueprints.drawing.lettering import shorten, text_width
from avtomatika.blueprints.drawing.theme import ROOT_CLASS, stylesheet
from avtomatika.blueprints.graph import Graph

_MARGIN, _HEADING_HEIGHT = 22.0, 30.0
_HEAD_LENGTH, _HEAD_WIDTH = 9.0, 4.5
_RING_DISTANCE = 3.0
# XML 1.0 section 2.2 allows no other control characters, and no halves of surrogate pairs.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

EdgeCounts = Mapping[tuple[str, str], int]
"""How often each edge, as (source, target), was taken."""


def svg(
    graph: Graph,
    *,
    current: str | None = None,
    visited: Collection[str] = (),
    failed: Collection[str] = (),
    edge_counts: EdgeCounts | None = None,
    direction: Direction | None = None,
) -> str:
    """Draws a graph.

    Names that the graph lacks are ignored, as a job may have run an older version of the blueprint.

    Args:
        graph: what to draw.
        current: name of the state that the job is in.
        visited: names of the states that it was in.
        failed: names of the states in which something failed.
        edge_counts: how often each edge was taken; None leaves no room for counts, an empty mapping does, so that a
            later drawing has everything in the same place.
        direction: where the edges lead; None for whichever fits the page.

    Returns:
        A complete SVG document.
    """
    states = caption_states(graph)
    edges = caption_edges(graph, is_counted=edge_counts is not None)
    index = {state.name: i for i, state in enumerate(states)}
    links = [
        Link(index[edge.source], index[edge.target], edge.width, edge.height, 1 if edge.is_failure else 4)
        for edge in edges
    ]
    layout = lay_out([state.box for state in states], links, direction)
    heading = _heading(graph)
    width = max(layout.width, heading[1]) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + _HEADING_HEIGHT
    ids = state_ids(graph)
    counts = edge_counts or {}
    moments = {name: _moments(name, current, visited, failed) for name in index}
    taken = [counts.get((edge.source, edge.target), 0) for edge in edges]
    drawn_edges = [
        (count > 0, _edge(edge, route, identifier, count))
        for edge, route, identifier, count in zip(edges, layout.routes, edge_ids(graph).values(), taken, strict=True)
    ]
    drawn_edges.sort(key=lambda item: item[0])  # what was taken lies over what was not, where ways run together
    drawn_states = [
        _state(state, rect, ids[state.name], moments[state.name])
        for state, rect in zip(states, layout.places, strict=True)
    ]
    left = _MARGIN + max(0.0, (heading[1] - layout.width) / 2)
    size = f'width="{_n(width)}" height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="{ROOT_CLASS}" role="img" '
        f'aria-label="{_escape(describe(graph, current=current, failed=failed))}">'
        f"<style>{stylesheet()}</style>"
        f'<rect class="card" x="0.5" y="0.5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="12"/>'
        f"{heading[0]}"
        f'<g transform="translate({_n(left)} {_n(_MARGIN + _HEADING_HEIGHT)})">'
        f"{''.join(edge for _, edge in drawn_edges)}{''.join(drawn_states)}</g></svg>\n"
    )


def html(
    graph: Graph,
    *,
    current: str | None = None,
    visited: Collection[str] = (),
    failed: Collection[str] = (),
    edge_counts: EdgeCounts | None = None,
    direction: Direction | None = None,
) -> str:
    """Draws a graph as HTML that JupyterLab shows even in a notebook that it does not trust.

    The drawing is an image with the SVG in its address; the states stand below it as a table that opens. Arguments as
    for ``svg``.
    """
    drawing = svg(graph, current=current, visited=visited, failed=failed, edge_counts=edge_counts, direction=direction)
    address = base64.b64encode(drawing.encode()).decode("ascii")
    rows = "".join(
        f"<tr><td>{_escape(state.name)}</td><td>{_escape(_happened(state.name, current, visited, failed))}</td>"
        f"<td>{_escape(state.description.removeprefix(state.name + ': '))}</td>"
        f"<td>{_escape(', '.join(_targets(graph, state.name))) or '-'}</td></tr>"
        for state in caption_states(graph)
    )
    return (
        '<div style="overflow-x:auto">'
        f'<img alt="{_escape(describe(graph, current=current, failed=failed))}" style="max-width:none" '
        f'src="data:image/svg+xml;base64,{address}">'
        f"<details><summary>{_counted(len(graph.states), 'state')} of {_escape(graph.name)}</summary>"
        "<table><thead><tr><th>state</th><th>job</th><th>what it is</th><th>leads to</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details></div>"
    )


def describe(graph: Graph, *, current: str | None = None, failed: Collection[str] = ()) -> str:
    """Returns the graph in one sentence, for those who do not see the drawing."""
    parts = [f"Blueprint {graph.name}: {_counted(len(graph.states), 'state')}"]
    starts = [state.name for state in graph if state.is_start]
    ends = [state.name for state in graph if state.is_end]
    if starts:
        parts.append(f"starts at {starts[0]}")
    if ends:
        parts.append(f"ends at {', '.join(ends[:5])}{' and others' if len(ends) > 5 else ''}")
    if current is not None and current in graph:
        parts.append(f"now at {current}")
    troubled = [state.name for state in graph if state.name in failed]
    if troubled:
        parts.append(f"failed at {', '.join(troubled)}")
    return ", ".join(parts) + "."


def state_ids(graph: Graph) -> dict[str, str]:
    """Returns the id of each state's element, by name: ``state-`` and the name, made fit for an id and unique."""
    names = [state.name for state in caption_states(graph)]
    return dict(zip(names, _unique(f"state-{_slug(name)}" for name in names), strict=True))


def edge_ids(graph: Graph) -> dict[tuple[str, str], str]:
    """Returns the id of each edge's element, by names of source and target: ``edge-<source>--<target>``."""
    pairs = list(dict.fromkeys((edge.source, edge.target) for edge in graph.edges))
    return dict(zip(pairs, _unique(f"edge-{_slug(source)}--{_slug(target)}" for source, target in pairs), strict=True))


def _heading(graph: Graph) -> tuple[str, float]:
    """Returns the name of the blueprint above the drawing, and how wide that is."""
    name = shorten(graph.name, 14, 360)
    aside = _counted(len(graph.states), "state")
    start = text_width(name, 14) + 10
    text = (
        f'<text class="heading" x="{_n(_MARGIN - 2)}" y="{_n(_MARGIN + 9)}">{_escape(name)}'
        f'<tspan class="aside" dx="8" font-weight="400">{aside}</tspan></text>'
    )
    return text, start + text_width(aside, 11)


def _moments(name: str, current: str | None, visited: Collection[str], failed: Collection[str]) -> str:
    flags = (("current", name == current), ("visited", name in visited), ("failed", name in failed))
    return "".join(f" {word}" for word, holds in flags if holds)


def _happened(name: str, current: str | None, visited: Collection[str], failed: Collection[str]) -> str:
    return ", ".join(_moments(name, current, visited, failed).split())


def _state(caption: StateCaption, rect: Rect, identifier: str, moments: str) -> str:
    box = caption.box
    # The moment "failed" is a class too, so the role of that name needs another.
    role = "failed-end" if caption.role is Role.FAILED else str(caption.role)
    is_end = caption.role in {Role.FINISHED, Role.FAILED}
    text_x = -box.width / 2 + ICON_ROOM + (8 if caption.role is Role.AGGREGATOR else 1)
    name_y = -2.5 if caption.note else 4.5
    note = f'<text class="note" x="{_n(text_x)}" y="14">{_escape(caption.note)}</text>' if caption.note else ""
    corner = f"translate({_n(box.width / 2 - max(3.0, box.rx / 4))} {_n(-box.height / 2 + 1)})"
    badges = "".join(
        f'<g class="badge {word}" transform="{corner}"><circle r="8.5"/><g class="icon">{icon}</g></g>'
        for word, icon in BADGES.items()
    )
    return (
        f'<g id="{identifier}" class="state {role}{" open" if caption.is_open else ""}{moments}" '
        f'data-state="{_escape(caption.name)}" transform="translate({_n(rect.x)} {_n(rect.y)})">'
        f"<title>{_escape(caption.description)}</title>"
        f'<path class="ring" d="{_outline(box, _RING_DISTANCE)}"/>'
        f'<path class="shape" d="{_outline(box, 0)}"/>'
        + (f'<path class="inner" d="{_outline(box, -3)}"/>' if is_end else "")
        + f'<g transform="translate({_n(text_x - 17)} 0)"><circle class="chip" r="10"/>'
        f'<g class="icon">{ROLE_ICONS[caption.role]}</g></g>'
        f'<text class="name" x="{_n(text_x)}" y="{_n(name_y)}">{_escape(caption.text)}</text>{note}{badges}</g>'
    )


def _outline(box: Box, grow: float) -> str:
    """Returns the path around a box of which each side lies ``grow`` pixels further out."""
    w, h = box.width / 2 + grow, box.height / 2 + grow
    if box.is_round:
        r = max(box.rx + grow, 1.0)
        arc = f"a{_n(r)} {_n(r)} 0 0 1"
        return (
            f"M{_n(r - w)} {_n(-h)}H{_n(w - r)}{arc} {_n(r)} {_n(r)}V{_n(h - r)}{arc} {_n(-r)} {_n(r)}"
            f"H{_n(r - w)}{arc} {_n(-r)} {_n(-r)}V{_n(r - h)}{arc} {_n(r)} {_n(-r)}Z"
        )
    # A cut corner moves out by the same distance when its legs grow by less than the sides.
    rx, ry = box.rx + grow * 0.5, min(box.ry + grow * 0.5 if box.ry < box.height / 2 else h, h)
    points = [
        (rx - w, -h),
        (w - rx, -h),
        (w, ry - h),
        (w, h - ry),
        (w - rx, h),
        (rx - w, h),
        (-w, h - ry),
        (-w, ry - h),
    ]
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in dict.fromkeys(points)) + "Z"


def _edge(caption: EdgeCaption, route: Route, identifier: str, count: int) -> str:
    classes = ["edge"]
    classes += ["failure"] if caption.is_failure else []
    classes += ["join"] if caption.is_join else []
    classes += ["taken"] if count else []
    curve, head = _with_head(route.curve)
    pieces = [curve[i : i + 3] for i in range(1, len(curve), 3)]
    line = f"M{_pair(curve[0])}" + "".join(_piece(*piece) for piece in _with_starts(curve[0], pieces))
    taken = f"; taken {count} times" if count > 1 else "; taken once" if count else ""
    return (
        f'<g id="{identifier}" class="{" ".join(classes)}" data-source="{_escape(caption.source)}" '
        f'data-target="{_escape(caption.target)}"><title>{_escape(caption.description + taken)}</title>'
        f'<path class="line" d="{line}"/><path class="head" d="M{"L".join(_pair(point) for point in head)}Z"/>'
        f"{_label(caption, route.label, count)}</g>"
    )


def _with_starts(start: Point, pieces: Iterable[Sequence[Point]]) -> Iterable[tuple[Point, Point, Point, Point]]:
    for first, second, end in pieces:
        yield start, first, second, end
        start = end


def _piece(start: Point, first: Point, second: Point, end: Point) -> str:
    if start[0] == first[0] == second[0] == end[0]:
        return f"V{_n(end[1])}"
    if start[1] == first[1] == second[1] == end[1]:
        return f"H{_n(end[0])}"
    return f"C{_pair(first)} {_pair(second)} {_pair(end)}"


def _with_head(curve: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """Returns the curve, ending inside the arrow's head, and the three corners of the head."""
    (from_x, from_y), (x, y) = curve[-2], curve[-1]
    across, along = x - from_x, y - from_y
    length = (across * across + along * along) ** 0.5
    dx, dy = across / length, along / length
    base_x, base_y = x - dx * _HEAD_LENGTH, y - dy * _HEAD_LENGTH
    side_x, side_y = -dy * _HEAD_WIDTH, dx * _HEAD_WIDTH
    inside = (round(x - dx * (_HEAD_LENGTH - 2), 1), round(y - dy * (_HEAD_LENGTH - 2), 1))
    return [*curve[:-1], inside], [(x, y), (base_x + side_x, base_y + side_y), (base_x - side_x, base_y - side_y)]


def _label(caption: EdgeCaption, rect: Rect | None, count: int) -> str:
    if rect is None:
        return ""
    shown = [("condition" if line.is_condition else "word", line.text) for line in caption.lines]
    if count:
        shown.append(("count", f"\N{MULTIPLICATION SIGN}{count if count < 1000 else '999+'}"))
    if not shown:
        return ""
    height = LINE_HEIGHT * len(shown) + 4
    top = rect.y - height / 2
    texts = "".join(
        f'<text class="{kind}" text-anchor="middle" x="{_n(rect.x)}" y="{_n(top + (i + 1) * LINE_HEIGHT - 2)}">'
        f"{_escape(text)}</text>"
        for i, (kind, text) in enumerate(shown)
    )
    return (
        f'<g class="label"><rect x="{_n(rect.x - rect.width / 2)}" y="{_n(top)}" width="{_n(rect.width)}" '
        f'height="{_n(height)}" rx="4"/>{texts}</g>'
    )


def _targets(graph: Graph, name: str) -> list[str]:
    return list(dict.fromkeys(edge.target for edge in graph.edges_from(name)))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _slug(name: str) -> str:
    return re.sub("[^A-Za-z0-9_]+", "-", name).strip("-") or "x"


def _unique(wanted: Iterable[str]) -> list[str]:
    """Returns the words, with a number behind those that were there before."""
    given: dict[str, None] = {}
    for word in wanted:
        fresh, number = word, 2
        while fresh in given:
            fresh, number = f"{word}-{number}", number + 1
        given[fresh] = None
    return list(given)


def _escape(text: str) -> str:
    """Makes any text safe between tags and inside of double quotes."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(character, entity)
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


def _pair(point: Point) -> str:
    return f"{_n(point[0])} {_n(point[1])}"


def _n(number: float) -> str:
    """Writes a coordinate with one decimal at most."""
    text = f"{number:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
