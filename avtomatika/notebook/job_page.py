"""The page of a job: static HTML that a saved, exported or mailed notebook still shows."""

from __future__ import annotations

import html as escaping
import json
from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.blueprints import Graph
from avtomatika.blueprints.drawing import html as graph_html
from avtomatika.lengths import length
from avtomatika.notebook.badges import BROKEN, badge
from avtomatika.notebook.moments import lights_at, seconds_at

_MAX_ROWS = 200
_MAX_TEXT = 20_000
# A result of this size is shown at once; a larger one would push the rest out of sight.
_SHORT_LINES, _SHORT_TEXT = 12, 1000


def html(job: Mapping[str, Any], events: Sequence[Mapping[str, Any]], graph: Graph | None) -> str:
    """Returns the page.

    It uses inline styles, ``<details>`` and a picture as data URI, which notebook front ends leave in place. Values of
    the job are escaped.

    Args:
        job: as the API returns it.
        events: its history, oldest first.
        graph: of its blueprint, or None.
    """
    parts = [_head(job)]
    if graph is not None:
        parts.append(_picture(job, events, graph))
    if job.get("error_message"):
        parts.append(_box(str(job["error_message"]), "#cf222e"))
    if job.get("result") is not None:
        result = _json(job["result"])
        is_short = len(result) <= _SHORT_TEXT and result.count("\n") <= _SHORT_LINES
        parts.append(_details("Result", _pre(result), is_open=is_short))
    parts.append(_details("Data (state_history)", _pre(_json(job.get("state_history")))))
    if events:
        parts.append(_details(f"Timeline ({len(events)} events)", _timeline(events)))
    return f'<div style="font-family:system-ui,sans-serif;max-width:960px">{"".join(parts)}</div>'


def _head(job: Mapping[str, Any]) -> str:
    status = str(job["status"])
    icon, colour = badge(status)
    progress = float(job.get("progress") or 0.0)
    took = length(float(job["updated_at"]) - float(job["created_at"]))
    message = _text(job.get("progress_message") or "")
    return (
        f'<div style="display:flex;gap:12px;align-items:baseline;flex-wrap:wrap;margin:4px 0">'
        f'<b style="font-size:1.1em">{_text(job["blueprint_name"])}</b>'
        f'<span style="background:{colour};color:#fff;border-radius:10px;padding:1px 10px">'
        f"{icon} {_text(status)}</span>"
        f"<span>state <code>{_text(job['current_state'])}</code></span>"
        f'<span style="opacity:.7">{took}</span>'
        f'<code style="opacity:.7;font-size:.85em">{_text(job["id"])}</code></div>'
        f"{'' if status in BROKEN else _bar(progress * 100, colour)}"
        f'<div style="opacity:.7;font-size:.85em">{message}</div>'
    )


def _bar(percent: float, colour: str) -> str:
    return (
        f'<div role="progressbar" aria-valuenow="{percent:.0f}" aria-valuemin="0" aria-valuemax="100" '
        f'style="height:6px;border-radius:3px;background:#8884;margin:4px 0">'
        f'<div style="height:6px;border-radius:3px;width:{percent:.1f}%;background:{colour}"></div></div>'
    )


def _picture(job: Mapping[str, Any], events: Sequence[Mapping[str, Any]], graph: Graph) -> str:
    lights = lights_at(events)
    # The job itself is heard of before its history: where it stands is what it says.
    status, state = str(job["status"]), str(job["current_state"])
    has_failed = status in BROKEN - {"cancelled"}
    return graph_html(
        graph,
        current=None if has_failed else state,
        visited=lights.visited,
        failed=[state] if has_failed else [],
        edge_counts=lights.steps,
    )


def _timeline(events: Sequence[Mapping[str, Any]]) -> str:
    first = seconds_at(events[0])
    shown = events[-_MAX_ROWS:]
    rows = "".join(
        "<tr>"
        f'<td style="text-align:right">{seconds_at(event) - first:.3f} s</td>'
        f'<td style="text-align:left">{_text(event["event_type"])}</td>'
        f'<td style="text-align:left">{_text(event.get("state") or "")}</td>'
        f'<td style="text-align:left">{_text(event.get("worker_id") or "")}</td>'
        f'<td style="text-align:right">{_duration(event)}</td>'
        "</tr>"
        for event in shown
    )
    left_out = f"<p>The first {len(events) - len(shown)} events are left out.</p>" if len(events) > len(shown) else ""
    return (
        f"{left_out}<table><thead><tr><th>after</th><th>event</th><th>state</th><th>worker</th><th>took</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _duration(event: Mapping[str, Any]) -> str:
    took = event.get("duration_ms")
    return "" if took is None else f"{float(took):,.1f} ms"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _pre(text: str) -> str:
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}\n… {len(text) - _MAX_TEXT:,} more characters"
    style = (
        "font-family:monospace;white-space:pre-wrap;max-height:320px;overflow:auto;border-left:2px solid #8886;"
        "margin:4px 0 8px 4px;padding-left:12px"
    )
    return f'<pre style="{style}">{_text(text)}</pre>'


def _details(title: str, body: str, *, is_open: bool = False) -> str:
    return f"<details{' open' if is_open else ''}><summary>{_text(title)}</summary>{body}</details>"


def _box(text: str, colour: str) -> str:
    return f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:6px 0">{_text(text)}</div>'


def _text(value: Any) -> str:
    return escaping.escape(str(value))
