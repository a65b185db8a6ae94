"""The capsule: one notebook that holds a job as it was, for whoever was not there, without network or engine."""

from __future__ import annotations

import base64
import datetime
import json
import pprint
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avtomatika.blueprints import Graph
from avtomatika.notebook import job_page
from avtomatika.notebook.analysis import timeline
from avtomatika.notebook.moments import Event
from avtomatika.notebook.replay import recorded_answers, recorded_decisions

_FACTS = ("id", "blueprint_name", "blueprint_version", "status", "current_state", "source", "client", "error_message")


def write_capsule(
    path: str | Path,
    job: Mapping[str, Any],
    events: Sequence[Event],
    graph: Graph | None,
    module: str,
    reason: str = "",
) -> Path:
    """Writes the notebook; an existing file is replaced.

    Args:
        path: of the notebook.
        job: as the API returns it.
        events: its history, oldest first.
        graph: of its blueprint, or None.
        module: text of a module that defines the blueprint as ``bp``, or empty where it is not known.
        reason: why it is not known.

    Returns:
        The path.
    """
    page = {"text/plain": str(job["id"]), "text/html": job_page.html(job, events, graph)}
    picture = timeline([(str(job["id"]), events)]).svg
    address = base64.b64encode(picture.encode()).decode("ascii")
    bars = {"text/plain": "timeline", "text/html": f'<img alt="timeline" src="data:image/svg+xml;base64,{address}">'}
    incident = {"job": _plain(job), "events": _plain(events)}
    cells = [
        _text(_heading(job)),
        _code("# The job as it was: run nothing to see it.", page),
        _code("# When what was done.", bars),
        _text("## What was recorded\n\nThe job and its history as the engine told them."),
        _code(f"import json\n\nincident = json.loads({json.dumps(incident)!r})\nlen(incident['events'])"),
    ]
    cells += _replay(module, events) if module else [_text(f"## Replay\n\nIt cannot be replayed here: {reason}")]
    notebook = {
        "cells": [{**cell, "id": f"cell-{number:02}"} for number, cell in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    file = Path(path)
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def _heading(job: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {_cell(job.get(name))} |" for name in _FACTS if job.get(name))
    moments = "\n".join(
        f"| {name} | {datetime.datetime.fromtimestamp(float(job[name]), datetime.UTC).isoformat()} |"
        for name in ("created_at", "updated_at")
    )
    return f"# Incident: job {_cell(job['id'])}\n\n| What | Value |\n|---|---|\n{rows}\n{moments}"


def _cell(value: Any) -> str:
    """Returns text that stays text in a Markdown table."""
    clean = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    return clean.replace("`", "\\`").replace("[", "\\[")


def _replay(module: str, events: Sequence[Event]) -> list[dict[str, Any]]:
    answers = pprint.pformat(recorded_answers(events), width=110, sort_dicts=False)
    decisions = pprint.pformat(recorded_decisions(events), width=110)
    return [
        _text("## Replay\n\nThe blueprint as it is where the capsule was written:"),
        _code(module.rstrip("\n")),
        _text(
            "What workers answered, in order, and what people decided. Results of a fan-out's branches are not part of "
            "a history: fill them in where it matters. Change an answer to see what would have happened."
        ),
        _code(f"answers = {answers}\ndecisions = {decisions}"),
        _text("The job runs again, in memory, with these answers instead of workers:"),
        _code(
            "from avtomatika.notebook.replay import replay\n\n"
            "again = replay(bp, incident['job']['initial_data'], answers, decisions)\nagain"
        ),
    ]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source.splitlines(keepends=True)}


def _code(source: str, shown: Mapping[str, str] | None = None) -> dict[str, Any]:
    output = {"output_type": "display_data", "metadata": {}, "data": dict(shown)} if shown is not None else None
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "source": source.splitlines(keepends=True),
        "outputs": [output] if output is not None else [],
    }
