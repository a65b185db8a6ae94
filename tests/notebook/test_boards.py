"""Boards in their static form: true, escaped, and without network."""

from __future__ import annotations

import socket
from typing import Any, NoReturn

import pytest

from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench, board_model, board_page
from avtomatika.notebook.feed import Sample
from avtomatika.notebook.job_book import JobBook, TableQuery

HOSTILE = "<script>alert(1)</script>\"'"


def test_dashboard_shows_jobs_queues_and_workers(
    workbench: Workbench, doubling: StateMachineBlueprint, patient: StateMachineBlueprint
) -> None:
    """What a saved notebook shows of a whole engine."""
    workbench.task("sing")(lambda: None)
    done = workbench.submit(doubling, {"number": 1}).wait(30)
    waiting = workbench.submit(patient, {"text": "a"})
    workbench.jobs()

    page = workbench.dashboard()._repr_mimebundle_()["text/html"]

    for word in (done.id, waiting.id, "shout", "notebook-1", "sing", "✔ finished", "tasks that wait: <b>1</b>"):
        assert word in page


def test_table_keeps_to_its_filter(workbench: Workbench, doubling: StateMachineBlueprint) -> None:
    """What was asked for is what is shown."""
    good, bad = workbench.submit(doubling, {"number": 1}).wait(30), workbench.submit(doubling).wait(30)

    page = workbench.job_table(status="failed")._repr_mimebundle_()["text/html"]

    assert bad.id in page
    assert good.id not in page


def test_boards_show_themselves_without_network(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is shown, nothing is asked; also after the stop."""
    boards = [workbench.dashboard(), workbench.job_table(), workbench.worker_board(), workbench.queue_chart()]

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a repr asks for something")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(workbench._background, "submit", refuse)
    shown = [board._repr_mimebundle_() for board in boards]
    monkeypatch.undo()
    workbench.stop()

    assert [bundle["text/plain"] for bundle in shown] == [repr(board) for board in boards]
    assert "Workers</b>: none." in boards[2]._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({}, ""),
        ({"load": 0.125}, "12% CPU"),
        (
            {
                "load": None,
                "usage": {
                    "ram_used_gb": 3.5,
                    "devices_usage": [
                        {"unit_id": "0", "load_percent": 40.0, "metrics": {}},
                        {"unit_id": "1", "load_percent": None, "metrics": {}},
                    ],
                },
            },
            "3.5 GB, GPU 0: 40%",
        ),
    ],
)
def test_board_says_how_busy_a_machine_is(told: dict[str, Any], text: str) -> None:
    """As far as its worker tells."""
    (row,) = board_model.workers_model([{"worker_id": "w", **told}], 1.0)

    assert row["machine"] == text
    assert text in board_page.workers_html([row])


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"status": "idle", "running_tasks": 0, "max_concurrent_tasks": 2}, "idle"),
        ({"status": "idle", "running_tasks": 1, "max_concurrent_tasks": 2}, "busy"),
        ({"status": "idle", "running_tasks": 2, "max_concurrent_tasks": 2}, "full"),
        ({"status": "idle", "running_tasks": 2}, "busy"),
        ({"status": "offline", "running_tasks": 2, "max_concurrent_tasks": 2}, "offline"),
    ],
)
def test_board_calls_no_worker_idle_that_has_tasks(told: dict[str, Any], status: str) -> None:
    """Its own word comes with its next sign of life, which may be minutes away."""
    (row,) = board_model.workers_model([{"worker_id": "w", **told}], 1.0)

    assert row["status"] == status


def test_hostile_values_stay_text() -> None:
    """Whatever a job or worker is called."""
    book = JobBook()
    book.change(
        {
            "job_id": HOSTILE,
            "blueprint_name": HOSTILE,
            "status": HOSTILE,
            "current_state": HOSTILE,
            "updated_at": 1.0,
        }
    )
    device = {"unit_id": HOSTILE, "load_percent": 1}
    worker = {"worker_id": HOSTILE, "status": HOSTILE, "skills": [HOSTILE], "last_seen_at": 1.0}
    worker["usage"] = {"devices_usage": [device]}
    numbers = {"tasks": {"queues": {HOSTILE: {"waiting": 1, "oldest_at": 1.0}}}}

    pages = [
        board_page.jobs_html(book.page(TableQuery())),
        board_page.workers_html(board_model.workers_model([worker], 2.0)),
        board_page.queues_html(board_model.queues_model(numbers, 2.0)),
        board_page.numbers_html({"jobs": {HOSTILE: 1}, "workers": 0, "waiting": 0}),
    ]

    assert not [page for page in pages if "<script" in page]


def test_chart_is_an_image_with_its_numbers_in_words() -> None:
    """Colours alone never carry the meaning."""
    samples = board_model.samples_model([Sample(float(n), n, 2 * n, 1, 0) for n in range(5)])

    page = board_page.chart_html(samples)

    assert "data:image/svg+xml" in page
    assert "tasks that wait 4 (orange), open jobs 8 (blue)" in page
    assert board_page.chart_html(samples[:1]) == ""


@pytest.mark.parametrize("numbers", [{}, {"tasks": None}, {"tasks": {"queues": None}}])
def test_numbers_that_are_missing_are_nothing(numbers: dict[str, Any]) -> None:
    """An engine of another version may tell less."""
    assert board_model.queues_model(numbers, 1.0) == []
