"""Charts: a table that shows itself as a picture, as SVG without any package and with matplotlib on request."""

from __future__ import annotations

import base64
import html as escaping
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avtomatika.blueprints.drawing import LIGHT
from avtomatika.lengths import length
from avtomatika.notebook.bars import Bar, BarKind

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 760
_LEFT, _RIGHT, _ROW, _HEAD = 170, 130, 20, 34
_MAX_ROWS = 200
_MAX_WORDS = 12  # points of a line; more of them would hide each other's words
BAR_COLOURS = {
    BarKind.STATE: LIGHT["start"],
    BarKind.WAIT: LIGHT["rim"],
    BarKind.WORK: LIGHT["task"],
    BarKind.FAILED: LIGHT["failed"],
}
"""Colours of a timeline's bars."""


class Chart:
    """A table with its picture.

    Args:
        title: what it shows.
        frame: the table.
        svg: the picture.
        draw: draws it into matplotlib's axes.

    Attributes:
        frame: the table.
        svg: the picture as text.
    """

    def __init__(self, title: str, frame: pd.DataFrame, svg: str, draw: Callable[[Any], None]) -> None:
        self.title = title
        self.frame = frame
        self.svg = svg
        self._draw = draw

    def plot(self, ax: Any = None) -> Any:
        """Draws it with matplotlib.

        Args:
            ax: axes to draw into; None for new ones.

        Returns:
            The axes.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        if ax is None:
            import matplotlib.pyplot as plt  # noqa: PLC0415 - optional, and slow to import

            _, ax = plt.subplots(figsize=(9, 4), layout="constrained")
        self._draw(ax)
        ax.set_title(self.title)
        return ax

    def __repr__(self) -> str:
        return f"{self.title} ({len(self.frame)} rows)\n{self.frame.to_string(max_rows=20)}"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        del include, exclude  # the front end chooses among what is there
        address = base64.b64encode(self.svg.encode()).decode("ascii")
        alternative = escaping.escape(f"{self.title}, {len(self.frame)} rows; the table below has the numbers")
        table = self.frame.head(_MAX_ROWS).to_html(border=0, index=False)
        page = (
            f'<div style="overflow-x:auto"><img alt="{alternative}" style="max-width:none" '
            f'src="data:image/svg+xml;base64,{address}"><details><summary>The numbers</summary>{table}</details></div>'
        )
        return {"text/plain": repr(self), "text/html": page, "image/svg+xml": self.svg}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart of bars.

    Args:
        label: what stands before it.
        value: where the bar ends.
        far: where the thin line behind it ends.
        note: what stands after it.
    """

    label: str
    value: float
    far: float
    note: str


def gantt_svg(title: str, bars: Sequence[Bar], now: float) -> str:
    """Returns a timeline: one line for each lane, time from left to right.

    Args:
        title: above it.
        bars: in order of their start; beyond 200 lanes the rest is left out, with a note.
        now: where a bar ends that lasts, Unix seconds.
    """
    lanes: dict[str, list[Bar]] = {}
    for bar in bars:
        lanes.setdefault(bar.lane, []).append(bar)
    shown = list(lanes.values())[:_MAX_ROWS]
    start = min((bar.start for bar in bars), default=0.0)
    end = max([start + 1e-3, *(bar.until(now) for bar in bars)])
    scale = (WIDTH - _LEFT - _RIGHT) / (end - start)
    parts = []
    for number, lane in enumerate(shown):
        top = _HEAD + number * _ROW
        indent = 0 if lane[0].kind is BarKind.STATE else 12
        parts.append(_words(8 + indent, top + 14, lane[0].label, "muted" if indent else "text", room=24 - indent // 6))
        for bar in lane:
            left, right = _LEFT + (bar.start - start) * scale, _LEFT + (bar.until(now) - start) * scale
            note = f"{bar.label}: {length(bar.until(now) - bar.start)}{', ' + bar.note if bar.note else ''}"
            parts.append(
                f'<rect x="{left:.1f}" y="{top + 3}" width="{max(right - left, 2):.1f}" height="{_ROW - 7}" rx="3" '
                f'fill="{BAR_COLOURS[bar.kind]}"><title>{_text(note)}</title></rect>'
            )
    if len(lanes) > len(shown):
        title = f"{title} (the first {len(shown)} of {len(lanes)} lanes)"
    return _picture(title, len(shown), parts, length(end - start))


def bars_svg(title: str, rows: Sequence[Row], unit: Callable[[float], str]) -> str:
    """Returns a chart of bars, with a thin line from the end of each to its far value."""
    top_value = max([1e-9, *(row.far for row in rows)])
    scale = (WIDTH - _LEFT - _RIGHT) / top_value
    parts = []
    for number, row in enumerate(rows[:_MAX_ROWS]):
        top = _HEAD + number * _ROW
        parts.append(_words(8, top + 14, row.label, "text"))
        parts.append(
            f'<line x1="{_LEFT}" y1="{top + 10}" x2="{_LEFT + row.far * scale:.1f}" y2="{top + 10}" '
            f'stroke="{LIGHT["line"]}" stroke-width="2"/>'
            f'<rect x="{_LEFT}" y="{top + 3}" width="{max(row.value * scale, 1):.1f}" height="{_ROW - 7}" rx="3" '
            f'fill="{LIGHT["task"]}"><title>{_text(f"{row.label}: {row.note}")}</title></rect>'
        )
        parts.append(_words(WIDTH - _RIGHT + 8, top + 14, row.note, "muted"))
    return _picture(title, min(len(rows), _MAX_ROWS), parts, unit(top_value))


def line_svg(title: str, values: Sequence[float | None], first: str, last: str) -> str:
    """Returns a line from left to right over values between 0 and 1; None leaves a gap."""
    height, room = 6, WIDTH - _LEFT - _RIGHT
    bottom = _HEAD + height * _ROW
    step = room / max(1, len(values) - 1)
    known = [(_LEFT + i * step, value) for i, value in enumerate(values) if value is not None]
    points = [(x, bottom - value * height * _ROW, f"{value:.0%}") for x, value in known]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    parts = [
        _words(_LEFT - 46, _HEAD + 6, "100 %", "muted"),
        _words(_LEFT - 46, bottom, "0 %", "muted"),
        f'<polyline fill="none" stroke="{LIGHT["finished"]}" stroke-width="2" points="{line}"/>',
        *(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{LIGHT["finished"]}"><title>{share}</title></circle>'
            for x, y, share in points
        ),
        *(_words(x + 6, y + 16, share, "muted") for x, y, share in points if len(points) <= _MAX_WORDS),
        _words(_LEFT, bottom + 20, first, "muted"),
    ]
    return _picture(title, height, parts, last)


def _picture(title: str, rows: int, parts: Sequence[str], right: str) -> str:
    height = _HEAD + max(rows, 1) * _ROW + 28
    axis = height - 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{_text(title)}" font-family="system-ui,sans-serif" font-size="12">'
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10" fill="{LIGHT["card"]}" '
        f'stroke="{LIGHT["rim"]}"/>'
        f'<text x="8" y="20" font-weight="600" fill="{LIGHT["text"]}">{_text(title)}</text>{"".join(parts)}'
        f'<line x1="{_LEFT}" y1="{axis}" x2="{WIDTH - _RIGHT}" y2="{axis}" stroke="{LIGHT["rim"]}"/>'
        f'<text x="{WIDTH - _RIGHT}" y="{axis + 14}" text-anchor="end" fill="{LIGHT["muted"]}">{_text(right)}</text>'
        "</svg>\n"
    )


def _words(x: float, y: float, text: str, colour: str, room: int = 24) -> str:
    short = text if len(text) <= room else f"{text[: room - 1]}…"
    return f'<text x="{x}" y="{y}" fill="{LIGHT[colour]}">{_text(short)}</text>'


def _text(value: Any) -> str:
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return escaping.escape(clean)
