"""DataFrames: fixed types with and without rows, exact values, and the reader over a real file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.document import Document
from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.errors import ConfigError
from avtomatika.history.base import History
from avtomatika.history.postgres import PostgresHistory
from avtomatika.history.sqlite import SQLiteHistory
from avtomatika.notebook.frames import (
    JOB_HISTORY_TYPES,
    JOB_TYPES,
    WORKER_HISTORY_TYPES,
    WORKER_TYPES,
    HistoryReader,
    job_history_frame,
    jobs_frame,
    workers_frame,
)

NOON = 1_767_268_800.25  # 2026-01-01T12:00:00.250000Z
JOB = {
    "id": "j1",
    "blueprint_name": "orders",
    "status": "finished",
    "current_state": "done",
    "progress": 1,
    "progress_message": None,
    "created_at": NOON,
    "updated_at": NOON + 1.5,
    "error_message": None,
    "attempt": 1,
    "initial_data": {"n": 1},
    "state_history": {"rows": [1, 2]},
    "result": [1, 2],
}


def types(frame: pd.DataFrame) -> dict[str, str]:
    """Returns the columns' types by name."""
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
async def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a history of two jobs and a worker, in each database."""
    if request.param == "sqlite":
        location = f"sqlite:{tmp_path / 'h.db'}"
        history: History = SQLiteHistory(location)
    else:
        location = request.getfixturevalue("postgres").new_schema()
        history = PostgresHistory(location)
    await history.open()
    data = Document.of({"total": 3})
    await history.write(
        [
            HistoryEvent("j1", 1, NOON, "job_created", "orders", "start"),
            HistoryEvent(
                "j1", 2, NOON + 1, "state_finished", "orders", "start", "", "end", 0.001234, state_history=data
            ),
            HistoryEvent("j2", 1, NOON + 2, "task_failed", "mail", "send", worker_id="w1", attempt=2, task_id="t1"),
        ]
    )
    await history.write_workers([WorkerEvent("e1", "w1", NOON, "worker_registered", {"skills": ["a"]})])
    await history.close()
    return location


@pytest.mark.parametrize(
    ("make", "row", "expected"),
    [
        (jobs_frame, JOB, JOB_TYPES),
        (workers_frame, {"worker_id": "w1", "skills": ["a"], "load": 0.5, "last_seen_at": NOON}, WORKER_TYPES),
        (job_history_frame, {"event_id": "j1:1", "duration_ms": 1.5, "sequence": 1}, JOB_HISTORY_TYPES),
    ],
)
def test_types_are_the_same_with_and_without_rows(
    make: Callable[[list[dict[str, Any]]], pd.DataFrame], row: dict[str, Any], expected: dict[str, str]
) -> None:
    """An empty table, one with a value missing everywhere and a full one have the same columns and types."""
    for rows in ([], [{}], [row], [row, {}]):
        frame = make(rows)
        assert types(frame) == dict(expected)
        assert len(frame) == len(rows)


def test_categories_have_one_type_with_and_without_rows() -> None:
    """The words of an empty category are strings too, so that tables can be joined."""
    for rows in ([], [JOB]):
        assert str(jobs_frame(rows)["status"].cat.categories.dtype) == "string"


# pandas 2.2 announces that it will do what pandas 3 does.
@pytest.mark.filterwarnings("ignore:The behavior of DataFrame concatenation:FutureWarning")
def test_tables_join_with_an_empty_one() -> None:
    """Adding nothing changes no type but that of words, whose lists differ."""
    joined = pd.concat([jobs_frame([]), jobs_frame([JOB])], ignore_index=True)

    words = {name for name, kind in JOB_TYPES.items() if kind == "category"}
    assert {n: k for n, k in types(joined).items() if n not in words} == {
        n: k for n, k in JOB_TYPES.items() if n not in words
    }


def test_job_row_keeps_its_values() -> None:
    """Moments are exact and in UTC, documents stay Python objects, a job that has ended has a duration."""
    job = jobs_frame([JOB]).iloc[0]

    assert job["created_at"] == pd.Timestamp("2026-01-01T12:00:00.250000Z")
    assert job["duration"] == pd.Timedelta(seconds=1.5)
    assert job["initial_data"] == {"n": 1}
    assert job["result"] == [1, 2]
    assert job["progress"] == 1.0
    assert job["error_message"] is pd.NA


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "running"}, pd.NaT),
        ({"status": "failed"}, pd.Timedelta(seconds=1.5)),
        ({"status": "running", "duration": 7}, pd.Timedelta(seconds=7)),
    ],
)
def test_duration_is_that_of_ended_jobs_or_the_rows_own(changes: dict[str, Any], expected: Any) -> None:
    """A job that goes on has no duration, unless the row says one."""
    (duration,) = jobs_frame([{**JOB, **changes}])["duration"]

    assert duration is pd.NaT if expected is pd.NaT else duration == expected


def test_members_that_are_new_follow_as_objects() -> None:
    """A newer server's members are not lost."""
    frame = jobs_frame([JOB, {**JOB, "approval": {"url": "u"}}])

    assert list(frame.columns) == [*JOB_TYPES, "approval"]
    assert types(frame)["approval"] == "object"
    assert list(frame["approval"]) == [None, {"url": "u"}]


def test_history_of_the_api_reads_like_that_of_the_file() -> None:
    """The API writes moments in the engine's time zone; the table has them in UTC."""
    frame = job_history_frame([{"timestamp": "2026-01-01T13:00:00.250000+01:00", "duration_ms": 0.001}])

    assert frame["timestamp"][0] == pd.Timestamp("2026-01-01T12:00:00.25Z")
    assert frame["duration"][0] == pd.Timedelta(microseconds=1)


@given(st.floats(-6e10, 2e11))
def test_moments_are_exact_to_the_microsecond(moment: float) -> None:
    """No detour loses digits or years: moments from the year 70 to 8300 come out as they went in."""
    (stored,) = jobs_frame([{"created_at": moment}])["created_at"].to_numpy(dtype="datetime64[us]")

    assert int(stored.astype(np.int64)) == round(moment * 1e6)


def test_history_is_read_with_types_and_values(location: str) -> None:
    """The table has the columns, types and values of the rows, whichever database they are in."""
    frame = HistoryReader(location).job_history()

    assert types(frame) == dict(JOB_HISTORY_TYPES)
    assert list(frame["event_id"]) == ["j1:1", "j1:2", "j2:1"]
    assert frame["timestamp"][0] == pd.Timestamp("2026-01-01T12:00:00.25Z")
    assert frame["duration"][1] == pd.Timedelta(microseconds=1234)
    assert frame["context_snapshot"][1] == {"state_history": {"total": 3}}
    assert frame["attempt_number"][2] == 2
    assert frame["previous_state"].isna().all()


def test_filters_reach_the_database(location: str) -> None:
    """Every filter chooses rows; one that finds nothing gives an empty table of the same types."""
    reader = HistoryReader(location)

    assert len(reader.job_history("j1")) == 2
    assert list(reader.job_history(event_type="task_failed", blueprint="mail", state="send")["job_id"]) == ["j2"]
    assert list(reader.job_history(since=NOON + 1, until=pd.Timestamp("2026-01-01T12:00:02Z"))["event_id"]) == ["j1:2"]
    assert list(reader.job_history(limit=1)["event_id"]) == ["j2:1"]
    assert types(reader.job_history("nobody")) == dict(JOB_HISTORY_TYPES)


def test_workers_are_read_alike(location: str) -> None:
    """What workers said of themselves comes as dicts."""
    reader = HistoryReader(location)
    frame = reader.worker_history("w1", event_type="worker_registered", since=NOON, until=NOON + 1, limit=5)

    assert types(frame) == dict(WORKER_HISTORY_TYPES) == types(reader.worker_history("nobody"))
    assert list(frame["worker_info_snapshot"]) == [{"skills": ["a"]}]


def test_unbounded_read_above_the_cap_is_refused(location: str) -> None:
    """The advice of the rows' reader reaches the notebook."""
    with pytest.raises(ValueError, match="more than 2 rows of job_history match; narrow them down"):
        HistoryReader(location, cap=2).job_history()


async def test_history_is_read_where_an_event_loop_runs(location: str) -> None:
    """A cell of a notebook runs inside the kernel's loop, and the call does not need it."""
    assert len(HistoryReader(location).job_history()) == 3


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A wrong path shows at once, not at the first read."""
    with pytest.raises(ConfigError, match="no history file"):
        HistoryReader(tmp_path / "typo.db")


def test_missing_pandas_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks pandas is told what to install."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'avtomatika\[notebook\]'"):
        jobs_frame([])
