"""The theme: the colours of a drawing and its style sheet.

A drawing has a card of its own behind it, so that it reads the same on a light and on a dark page: as an image it
cannot know which one it is on. Each colour is also a CSS variable, so that a page that holds the drawing itself, and
not an image of it, may set others.
"""

from __future__ import annotations

from collections.abc import Mapping

ROOT_CLASS = "avtomatika-graph"
"""Class of the drawing's outermost element; every rule of the style sheet begins with it."""
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

LIGHT: Mapping[str, str] = {
    "card": "#fafbfc",
    "rim": "#d5dbe3",
    "text": "#1b2433",
    "muted": "#566274",
    "line": "#8a97aa",
    "taken": "#2f5fd0",
    "failure": "#cf6a6a",
    "failure-text": "#a32638",
    "plain": "#64748b",
    "plain-fill": "#ffffff",
    "start": "#4f46e5",
    "start-fill": "#eef0ff",
    "task": "#0e7490",
    "task-fill": "#e9f8fb",
    "aggregator": "#7c3aed",
    "aggregator-fill": "#f4efff",
    "human": "#be185d",
    "human-fill": "#fdeff6",
    "sleep": "#475e7d",
    "sleep-fill": "#eef2f8",
    "child": "#0f766e",
    "child-fill": "#e8f7f4",
    "finished": "#15803d",
    "finished-fill": "#eaf8ef",
    "failed": "#b91c1c",
    "failed-fill": "#fdeeee",
    "missing": "#b45309",
    "missing-fill": "#fff8e6",
    "current": "#e08600",
    "current-fill": "#fff1d0",
    "icon": "#ffffff",
}
"""Colours on a light card. Texts have a contrast of at least 4.5 to what is behind them (WCAG 2.2, 1.4.3)."""
DARK: Mapping[str, str] = {
    "card": "#1b2029",
    "rim": "#343c49",
    "text": "#e8ecf2",
    "muted": "#a7b1c0",
    "line": "#74808f",
    "taken": "#84a9ff",
    "failure": "#c26a6e",
    "failure-text": "#ff9d9f",
    "plain": "#8593a7",
    "plain-fill": "#252b36",
    "start": "#8b8cf9",
    "start-fill": "#26294a",
    "task": "#3bb0c9",
    "task-fill": "#15323a",
    "aggregator": "#b08cfa",
    "aggregator-fill": "#2e2549",
    "human": "#f07fb4",
    "human-fill": "#40202f",
    "sleep": "#92a9c9",
    "sleep-fill": "#27303e",
    "child": "#4fbfae",
    "child-fill": "#17332f",
    "finished": "#4cba77",
    "finished-fill": "#173325",
    "failed": "#f07a7a",
    "failed-fill": "#3d2226",
    "missing": "#e0a040",
    "missing-fill": "#3a2f1a",
    "current": "#ffb038",
    "current-fill": "#4a3512",
    "icon": "#11151c",
}
"""The same on a dark card, for pages that set the variables."""


def variables(palette: Mapping[str, str]) -> str:
    """Returns CSS declarations that give an inline drawing the colours of ``palette``."""
    return "".join(f"--{ROOT_CLASS}-{name}:{colour};" for name, colour in palette.items())


def stylesheet() -> str:
    """Returns the rules for a drawing; the classes current, visited, failed and taken need no new drawing."""
    roles = (
        "plain",
        "start",
        "task",
        "aggregator",
        "human",
        "sleep",
        "child",
        "finished",
        "failed-end",
        "missing",
    )
    rules = [
        ("", f"font-family:{FONT};font-size:13px"),
        (".card", _colours(fill="card", stroke="rim")),
        ("text", _colours(fill="text")),
        (".heading", "font-weight:600"),
        (".note,.aside", "font-size:11px;" + _colours(fill="muted")),
        (".name", "font-weight:500"),
        (".line", "fill:none;stroke-width:1.5;" + _colours(stroke="line")),
        (".head", _colours(fill="line")),
        (".join .line", "stroke-width:2.5"),
        (".failure .line", _colours(stroke="failure")),
        (".failure .head", _colours(fill="failure")),
        (".taken .line", "stroke-width:2.5;" + _colours(stroke="taken")),
        (".taken .head", _colours(fill="taken")),
        (".label rect", _colours(fill="card")),
        (".label text", "font-size:12px"),
        (".label .condition", "font-style:italic;" + _colours(fill="muted")),
        (".failure .label .word", _colours(fill="failure-text")),
        (".label .count", "font-weight:600;" + _colours(fill="taken")),
        (".shape", "stroke-width:1.5;stroke-linejoin:round"),
        (".inner", "fill:none;stroke-width:1;stroke-linejoin:round"),
        (".icon", "fill:none;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round;" + _colours(stroke="icon")),
        (".icon .solid", "stroke:none;" + _colours(fill="icon")),
    ]
    for role in roles:
        colour = role.removesuffix("-end")
        rules.append((f".{role} .shape", _colours(fill=f"{colour}-fill", stroke=colour)))
        rules.append((f".{role} .inner", _colours(stroke=colour)))
        rules.append((f".{role} .chip", _colours(fill=colour)))
    rules += [
        (".open .shape,.missing .shape", "stroke-dasharray:5 3"),
        (".visited .shape", "stroke-width:2.5"),
        (".ring", "fill:none;stroke-width:6;stroke-opacity:.3;stroke-linejoin:round;display:none"),
        (".badge", "display:none"),
        (".badge circle", "stroke-width:2;" + _colours(stroke="card")),
        (".visited .badge.was", "display:inline"),
        (".visited .badge.was circle", _colours(fill="taken")),
        (".current .ring,.failed .ring,.current .badge.is,.failed .badge.no", "display:inline"),
        (".current .badge.was,.failed .badge.was,.failed .badge.is", "display:none"),
        (".current .shape", "stroke-width:2.5;" + _colours(fill="current-fill", stroke="current")),
        (".current .ring", _colours(stroke="current")),
        (".current .badge.is circle", _colours(fill="current")),
        (".current.finished .shape", _colours(fill="finished-fill", stroke="finished")),
        (".current.finished .ring", _colours(stroke="finished")),
        (".current.finished .badge.is circle", _colours(fill="finished")),
        (
            ".failed .shape,.current.failed-end .shape",
            "stroke-width:2.5;" + _colours(fill="failed-fill", stroke="failed"),
        ),
        (".failed .ring,.current.failed-end .ring", _colours(stroke="failed")),
        (".failed .badge.no circle,.current.failed-end .badge.is circle", _colours(fill="failed")),
    ]
    return "".join(f"{_scoped(selector)}{{{body}}}" for selector, body in rules)


def _colours(**properties: str) -> str:
    """Returns each property twice: plain, for programs that know no variables, and as a variable."""
    return ";".join(
        f"{name}:{LIGHT[colour]};{name}:var(--{ROOT_CLASS}-{colour},{LIGHT[colour]})"
        for name, colour in properties.items()
    )


def _scoped(selector: str) -> str:
    return ",".join(f".{ROOT_CLASS} {part}".rstrip() for part in selector.split(","))
