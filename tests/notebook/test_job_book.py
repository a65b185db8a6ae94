"""The job book: what a table of jobs knows and shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.notebook.job_book import JobBook, TableQuery, row_model


def event(job_id: str, status: str = "running", at: float = 1.0, **members: Any) -> dict[str, Any]:
    """Returns a ``job`` event."""
    return {
        "job_id": job_id,
        "blueprint_name": "orders",
        "status": status,
        "current_state": "pack",
        "progress": 0.5,
        "updated_at": at,
        **members,
    }


@pytest.fixture
def book() -> JobBook:
    """Five jobs, created one second after the other."""
    book = JobBook()
    for number in range(5):
        book.change(event(f"j{number}", at=float(number), blueprint_name="orders" if number % 2 else "bills"))
    return book


def test_newest_jobs_come_first(book: JobBook) -> None:
    """The table begins with what was created last."""
    page = book.page(TableQuery(size=2))

    assert [row.id for row in page.rows] == ["j4", "j3"]
    assert (page.total, page.page, page.pages) == (5, 0, 3)


def test_page_beyond_the_end_is_the_last_one(book: JobBook) -> None:
    """A filter may leave fewer pages than the one that was open."""
    assert [row.id for row in book.page(TableQuery(size=2, page=9)).rows] == ["j0"]
    assert book.page(TableQuery(text="nothing has this")) == ([], 0, 0, 1)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (TableQuery(blueprint="orders"), ["j3", "j1"]),
        (TableQuery(status="finished"), []),
        (TableQuery(text="j2"), ["j2"]),
        (TableQuery(text="bill", sort="updated", descending=False), ["j0", "j2", "j4"]),
    ],
)
def test_filter_and_order_choose_the_rows(book: JobBook, query: TableQuery, ids: list[str]) -> None:
    """By status, blueprint and text; by any column."""
    assert [row.id for row in book.page(query).rows] == ids


def test_end_of_a_job_is_counted_once(book: JobBook) -> None:
    """The rate of ended jobs is that of the jobs, whatever is told twice."""
    book.change(event("j0", "finished", 9.0))
    book.change(event("j0", "finished", 9.0))
    book.change(event("j1", "failed", 9.0))

    assert (book.ended, book.failed) == (2, 1)
    assert book.statuses() == {"failed": 1, "finished": 1, "running": 3}
    assert book.blueprints() == ["bills", "orders"]


def test_older_news_changes_nothing(book: JobBook) -> None:
    """A look that began before an event may end after it."""
    book.change(event("j0", "finished", 9.0))

    book.change(event("j0", "running", 8.0))
    book.load({**event(""), "id": "j0", "created_at": 0.0, "updated_at": 8.0})

    assert book.find("j0").status == "finished"  # type: ignore[union-attr]


def test_progress_moves_a_row_until_its_end(book: JobBook) -> None:
    """A report that comes after the end is not shown."""
    book.advance("j0", 0.9)
    book.change(event("j1", "finished", 9.0, progress=1.0))
    book.advance("j1", 0.2)
    book.advance("unknown", 0.2)

    assert [book.find(job_id).progress for job_id in ("j0", "j1")] == [0.9, 1.0]  # type: ignore[union-attr]


def test_oldest_jobs_are_forgotten() -> None:
    """The book is bounded, and its counts are those of what it knows."""
    book = JobBook(capacity=3)
    for number in range(10):
        book.change(event(f"j{number}", at=float(number)))

    assert len(book) == 3
    assert book.find("j6") is None
    assert book.statuses() == {"running": 3}


@given(
    given_query=st.dictionaries(
        st.sampled_from(["status", "text", "sort", "page", "size", "descending"]),
        st.none() | st.text() | st.integers() | st.lists(st.integers()),
    )
)
def test_any_query_of_a_front_end_is_understood(given_query: dict[str, Any]) -> None:
    """Whatever a page sends, a table comes back, and never a large one."""
    query = TableQuery.of(given_query)
    book = JobBook()
    for number in range(150):
        book.change(event(f"j{number}", at=float(number)))

    assert 1 <= query.size <= 100
    assert len(book.page(query).rows) <= 100


@pytest.mark.parametrize(
    ("status", "actions"), [("running", ["cancel"]), ("failed", ["requeue"]), ("finished", []), ("cancelled", [])]
)
def test_row_offers_what_is_possible(book: JobBook, status: str, actions: list[str]) -> None:
    """A button is there when the engine would do it."""
    book.change(event("j0", status, 9.0))

    assert row_model(book.find("j0"))["actions"] == actions  # type: ignore[arg-type]
