"""Static pages of the tables and numbers of a whole engine: what a saved notebook shows of them."""

from __future__ import annotations

import datetime
import html as escaping
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avtomatika.lengths import length
from avtomatika.notebook.badges import badge
from avtomatika.notebook.job_book import Page, row_model

Model = Mapping[str, Any]

_CHART_WIDTH, _CHART_HEIGHT = 560, 56


def jobs_html(page: Page) -> str:
    """Returns a page of the table of jobs."""
    rows = [
        [
            f"<code>{_text(row['id'])}</code>",
            _text(row["blueprint"]),
            _badge(row["status"]),
            f"<code>{_text(row['state'])}</code>",
            "" if row["progress"] is None else f"{row['progress']:.0%}",
            _moment(row["created_at"]),
            "" if row["took"] is None else length(row["took"]),
        ]
        for row in map(row_model, page.rows)
    ]
    more = f"<p>{len(rows)} of {page.total:,} jobs.</p>" if page.total > len(rows) else ""
    return _table("Jobs", ("id", "blueprint", "status", "state", "progress", "created (UTC)", "took"), rows) + more


def workers_html(workers: Sequence[Model]) -> str:
    """Returns the worker board; the rows are those of ``board_model.workers_model``."""
    rows = [
        [
            f"<code>{_text(one['id'])}</code>",
            _text(one["status"]),
            _text(", ".join(one["skills"])),
            _text(f"{one['busy']} of {one['room']}" if one["room"] else one["busy"]),
            _text(one["machine"]),
            f"{one['quiet']:.0f} s ago",
        ]
        for one in workers
    ]
    return _table("Workers", ("worker", "status", "skills", "tasks", "machine", "heard of"), rows)


def queues_html(queues: Sequence[Model]) -> str:
    """Returns the queues; the rows are those of ``board_model.queues_model``."""
    rows = [
        [_text(one["name"]), f"{one['waiting']:,}", "" if one["oldest"] is None else f"{one['oldest']:.0f} s"]
        for one in queues
    ]
    return _table("Tasks that wait for a worker", ("task type", "waiting", "the oldest for"), rows)


def numbers_html(numbers: Model) -> str:
    """Returns the numbers above everything; they are those of ``board_model.numbers_model``."""
    jobs = " ".join(f"{_badge(status)} {count:,}" for status, count in sorted(numbers["jobs"].items()))
    return (
        f"<p>{jobs or 'No jobs yet.'} &nbsp; workers: <b>{numbers['workers']:,}</b> &nbsp; "
        f"tasks that wait: <b>{numbers['waiting']:,}</b></p>"
    )


def chart_html(samples: Sequence[Sequence[float]]) -> str:
    """Returns the chart as an image; the rows are those of ``board_model.samples_model``."""
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{_points([row[at] for row in samples])}"/>'
        for at, colour in ((1, "#bc4c00"), (2, "#0969da"), (3, "#1a7f37"))
    )
    if len(samples) < 2:
        return ""
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_CHART_WIDTH}" height="{_CHART_HEIGHT}">'
        f'<rect width="100%" height="100%" rx="6" fill="#fafbfc" stroke="#d5dbe3"/>{lines}</svg>'
    )
    address = picture.replace("#", "%23").replace('"', "'")
    last = samples[-1]
    words = f"tasks that wait {last[1]:.0f} (orange), open jobs {last[2]:.0f} (blue), ended in a second (green)"
    return f'<div><img alt="{words}" src="data:image/svg+xml;utf8,{escaping.escape(address)}"><br>{words}</div>'


def page_html(*parts: str) -> str:
    """Returns the parts as one output."""
    return f'<div style="font-family:system-ui,sans-serif;max-width:1100px">{"".join(parts)}</div>'


def _points(values: Sequence[float]) -> str:
    top = max([1.0, *values])
    step = (_CHART_WIDTH - 8) / max(1, len(values) - 1)
    room = _CHART_HEIGHT - 8
    return " ".join(
        f"{4 + i * step:.1f},{_CHART_HEIGHT - 4 - value / top * room:.1f}" for i, value in enumerate(values)
    )


def _table(title: str, headings: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return f"<p><b>{title}</b>: none.</p>"
    head = "".join(f'<th style="text-align:left">{heading}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, cells))}</tr>" for cells in rows)
    return f"<p><b>{title}</b></p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _badge(status: str) -> str:
    icon, colour = badge(status)
    style = f"background:{colour};color:#fff;border-radius:10px;padding:0 8px"
    return f'<span style="{style}">{icon} {_text(status)}</span>'


def _moment(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(value: Any) -> str:
    return escaping.escape(str(value))


def _cell(content: str) -> str:
    return f'<td style="text-align:left">{content}</td>'
