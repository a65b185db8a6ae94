"""What is special about PostgreSQL: its types, rights, versions, and a server that goes away."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avtomatika.core.document import Document
from avtomatika.core.history import HistoryEvent, WorkerEvent
from avtomatika.errors import ConfigError, StorageError
from avtomatika.history import postgres as backend
from avtomatika.history.postgres import PostgresHistory

MakeEvent = Callable[..., Any]


@pytest.fixture
def uri(postgres: Any) -> str:
    """The address of an empty schema."""
    return str(postgres.new_schema())


@pytest.fixture
async def history(uri: str) -> AsyncIterator[PostgresHistory]:
    """An open history in it."""
    history = PostgresHistory(uri)
    await history.open()
    yield history
    await history.close()


async def opened(uri: str) -> PostgresHistory:
    """Opens a history."""
    history = PostgresHistory(uri)
    await history.open()
    return history


async def test_tables_have_the_contracts_columns_and_types(
    postgres: Any, uri: str, history: PostgresHistory, job_event: MakeEvent, worker_event: MakeEvent
) -> None:
    """People query the tables by hand: moments have a time zone, and snapshots can be looked into."""
    await history.write([job_event(details={"code": "X"})])
    await history.write_workers([worker_event(), worker_event()])

    assert postgres.execute(
        "SET TIME ZONE 'UTC'; SELECT timestamp, context_snapshot->>'code' FROM job_history", uri
    ) == ("SET\n2026-01-01 12:00:00.25+00|X")
    columns = "event_id, worker_id, pg_typeof(timestamp), event_type, worker_info_snapshot->'n', snapshot_json"
    assert postgres.execute(f"SELECT {columns} FROM worker_history", uri) == (
        "w1:1|w1|timestamp with time zone|worker_registered|1|"
    )


async def test_rows_are_found_by_index(postgres: Any, uri: str, history: PostgresHistory) -> None:
    """Neither a job's history nor a stretch of time is searched for by reading everything."""
    for condition in ("job_id = 'j' ORDER BY sequence", "timestamp > now()", "event_id = 'x'"):
        plan = postgres.execute(
            f"SET enable_seqscan = off; SET enable_sort = off; EXPLAIN SELECT * FROM job_history WHERE {condition}", uri
        )
        assert "Index" in plan


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=3),
        st.one_of(
            st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False, allow_infinity=False), st.integers()
        ),
    )
)
def test_snapshot_comes_back_exactly(prepared: Callable[[Any], Any], snapshot: dict[str, Any]) -> None:
    """Whatever a job holds is read as it was, also NUL and floats that JSONB would turn into whole numbers."""
    found = prepared(WorkerEvent("w1:1", "w1", 0.0, "worker_registered", snapshot))

    assert found == snapshot
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in snapshot.items()}


@pytest.fixture
def prepared(postgres: Any) -> Iterator[Callable[[Any], Any]]:
    """A function that writes a worker's event and returns its snapshot as read again."""
    history = PostgresHistory(postgres.new_schema())
    with asyncio.Runner() as runner:
        runner.run(history.open())

        async def there_and_back(event: WorkerEvent) -> Any:
            await history.trim(0)
            await history.write([HistoryEvent("j", 1, 0.0, "x", details=event.info)])
            return (await history.job_events("j"))[0]["context_snapshot"]

        yield lambda event: runner.run(there_and_back(event))
        runner.run(history.close())


@pytest.mark.parametrize(
    ("text", "in_jsonb"),
    [
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("\\u0000", "\\u0000"),
        ("\\\x00\udfff\\\\", "\\\ufffd\ufffd\\\\"),
        ("1e+300", "1e+300"),
    ],
)
async def test_text_that_jsonb_refuses_is_replaced_there_and_kept_beside(
    postgres: Any, uri: str, history: PostgresHistory, job_event: MakeEvent, text: str, in_jsonb: str
) -> None:
    """A worker may say anything; one row that the server refuses would hold up all others for ever."""
    await history.write([job_event(details={text: text})])

    (row,) = await history.job_events("j1")

    assert row["context_snapshot"] == {text: text} or text == "\ud83d\ude00"
    stored = postgres.execute(
        "SELECT context_snapshot->>(SELECT jsonb_object_keys(context_snapshot)) FROM job_history", uri
    )
    assert stored == in_jsonb


async def test_names_that_text_cannot_hold_are_replaced(history: PostgresHistory) -> None:
    """The same for plain columns: the row is kept, and a look for such a name is no error."""
    await history.write([HistoryEvent("j\x00", 1, 0.0, "x", worker_id="w\ud800")])
    await history.write_workers([WorkerEvent("e", "w\x00", 0.0, "x")])

    (row,) = await history.job_events("j\x00")

    assert (row["job_id"], row["worker_id"]) == ("j\ufffd", "w\ufffd")


async def test_large_batch_is_written_whole_in_pieces(
    history: PostgresHistory, monkeypatch: pytest.MonkeyPatch, job_event: MakeEvent
) -> None:
    """Rows that do not fit one statement share one transaction: all or none."""
    monkeypatch.setattr(backend, "_CHUNK_CHARACTERS", 500)
    rows = [job_event(sequence=n, state_history=Document.of({"text": "x" * 200})) for n in range(1, 20)]

    with pytest.raises(StorageError):
        await history.write([*rows, job_event(sequence=20, attempt=2**70)])
    assert await history.job_events("j1") == []
    await history.write(rows)

    assert len(await history.job_events("j1")) == 19


async def test_trim_counts_rows_not_numbers(history: PostgresHistory, job_event: MakeEvent) -> None:
    """Rows that were there already have used up positions; what is kept is counted all the same."""
    for _ in range(5):
        await history.write([job_event(sequence=n) for n in (1, 2, 3)])
    await history.write([job_event(sequence=4)])

    assert await history.trim(4) == 0
    assert await history.trim(3) == 1
    assert [row["sequence"] for row in await history.job_events("j1")] == [2, 3, 4]


async def test_engines_that_start_together_make_the_tables_once(
    uri: str, job_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    """None stumbles over the other's work, and each reads what the other wrote."""
    histories = await asyncio.gather(*(opened(uri) for _ in range(4)))
    assert caplog.text == ""

    await asyncio.gather(
        *(history.write([job_event(sequence=n), job_event(sequence=9)]) for n, history in enumerate(histories, 1))
    )

    assert [row["sequence"] for row in await histories[0].job_events("j1")] == [1, 2, 3, 4, 9]
    await asyncio.gather(*(history.close() for history in histories))


async def test_older_tables_are_made_newer(
    postgres: Any, uri: str, history: PostgresHistory, monkeypatch: pytest.MonkeyPatch, job_event: MakeEvent
) -> None:
    """A new release adds what is missing and keeps the rows; an old one then refuses, and changes nothing."""
    await history.write([job_event()])
    real = backend.load_query
    added = "ALTER TABLE job_history ADD COLUMN note TEXT"
    with monkeypatch.context() as newer:
        newer.setattr(backend, "load_query", lambda kind, name: added if name == "schema_2" else real(kind, name))
        newer.setattr(backend, "MIGRATIONS", ("schema_1", "schema_2"))
        newer.setattr(backend, "SCHEMA_VERSION", 2)
        for _ in range(2):
            await (await opened(uri)).close()

    assert postgres.execute("SELECT event_id, note FROM job_history", uri) == "j1:1|"
    assert postgres.execute("SELECT version FROM history_schema ORDER BY 1", uri) == "1\n2"
    with pytest.raises(ConfigError, match="version 2, but this avtomatika knows versions up to 1; update"):
        await opened(uri)


async def test_table_of_another_program_is_refused_and_left_alone(postgres: Any, uri: str) -> None:
    """A job_history that somebody else made is not taken over."""
    postgres.execute("CREATE TABLE job_history (event_id TEXT)", uri)

    with pytest.raises(ConfigError, match=r"table 'job_history' that another program made; .*search_path"):
        await opened(uri)

    assert postgres.execute("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()", uri) == "1"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"password": "wrong-secret"}, "password authentication failed"),
        ({"database": "absent"}, 'database "absent" does not exist'),
        ({"more": "?search_path=absent"}, "no schema has been selected"),
        ({"more": "?no_such=1"}, "no_such"),
        ({"more": "?sslmode=nonsense"}, "sslmode"),
    ],
)
async def test_setting_that_cannot_work_is_refused_without_the_password(
    postgres: Any, changes: dict[str, Any], sentence: str
) -> None:
    """A mistake shows at the start; the sentence names the place, and neither password."""
    with pytest.raises(ConfigError, match=sentence) as refusal:
        await opened(postgres.uri(**changes))

    assert f"127.0.0.1:{postgres.port}" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


async def test_user_who_may_not_make_tables_is_told_so(postgres: Any, uri: str, job_event: MakeEvent) -> None:
    """Rights are named; once somebody else has made the tables, the right to read and write is enough."""
    schema = uri.partition("search_path=")[2]
    postgres.execute(f"CREATE ROLE {schema} LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA {schema} TO {schema}")
    poor = postgres.uri(user=schema, more=f"?search_path={schema}")
    with pytest.raises(ConfigError, match=r"permission denied .*GRANT CREATE ON SCHEMA"):
        await opened(poor)
    await (await opened(uri)).close()
    postgres.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO {schema}")

    history = await opened(poor)
    await history.write([job_event()])

    assert len(await history.job_events("j1")) == 1
    await history.close()


async def test_server_that_is_away_at_the_start_is_awaited(
    postgres: Any, uri: str, caplog: pytest.LogCaptureFixture, job_event: MakeEvent
) -> None:
    """An engine starts without its history, says so, and writes as soon as it is there."""
    postgres.stop()
    with caplog.at_level(logging.WARNING):
        history = await opened(uri)
    assert "did not answer" in caplog.text
    assert "hunter2" not in caplog.text
    with pytest.raises(StorageError, match=r"did not answer.*Does it run"):
        await history.write([job_event()])

    postgres.start()
    await history.write([job_event()])

    assert len(await history.job_events("j1")) == 1
    await history.close()


@pytest.mark.parametrize("kill", [False, True])
async def test_server_that_stops_and_starts_is_connected_to_again(
    postgres: Any, uri: str, job_event: MakeEvent, kill: bool
) -> None:
    """While it is away there is an error; afterwards the same object works, and what was confirmed is there."""
    history = await opened(uri)
    await asyncio.gather(*(history.write([job_event(f"j{n}")]) for n in range(6)))

    await asyncio.to_thread(postgres.stop, kill=kill)
    with pytest.raises(StorageError):
        await history.write([job_event("late")])
    with pytest.raises(StorageError):
        await history.job_events("j0")
    postgres.start()
    await history.write([job_event("late")])

    assert [len(await history.job_events(name)) for name in ("j0", "j5", "late")] == [1, 1, 1]
    await history.close()


async def test_connections_that_the_server_ends_are_replaced(
    postgres: Any, history: PostgresHistory, job_event: MakeEvent
) -> None:
    """An administrator, a firewall or a proxy may end what is idle."""
    await history.write([job_event()])
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND client_addr IS NOT NULL"
    )

    with suppress(StorageError):
        await history.write([job_event(sequence=2)])
    await history.write([job_event(sequence=2)])

    assert len(await history.job_events("j1")) == 2


async def test_tables_that_were_dropped_are_made_again(
    postgres: Any, uri: str, history: PostgresHistory, job_event: MakeEvent
) -> None:
    """Who restores a copy of the database while the engine runs must not restart it."""
    postgres.execute("DROP TABLE job_history, worker_history, history_schema", uri)
    with pytest.raises(StorageError, match="job_history"):
        await history.write([job_event()])

    await history.write([job_event()])

    assert len(await history.job_events("j1")) == 1


async def test_server_that_does_not_speak_is_not_awaited_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections and says nothing costs some seconds, and is named."""
    monkeypatch.setattr(backend, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes the connection, and nobody answers it
        history = await opened(f"postgresql://u:hunter2@127.0.0.1:{silent.getsockname()[1]}/h")
        with pytest.raises(StorageError, match="did not answer: no answer in time"):
            await history.job_events("j1")
        await history.close()


async def test_close_gives_up_a_connection_in_use(
    postgres: Any, uri: str, monkeypatch: pytest.MonkeyPatch, job_event: MakeEvent
) -> None:
    """A stop ends within seconds even if the server sits on a statement."""
    monkeypatch.setattr(backend, "CLOSE_SECONDS", 0.05)
    history, hog = await opened(uri), await opened(uri)
    async with hog._connected() as connection, connection.transaction():
        await connection.execute("LOCK TABLE job_history")
        stuck = asyncio.ensure_future(history.write([job_event()]))
        while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not stuck.done()
        await history.close()
        with pytest.raises(StorageError):
            await stuck
    await hog.close()


def test_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks asyncpg is told what to install, before anything starts."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(ConfigError, match=r"pip install 'avtomatika\[history\]'"):
        PostgresHistory("postgresql://db/h")


def test_uri_of_another_kind_is_refused() -> None:
    """The fault shows where the setting is."""
    with pytest.raises(ConfigError, match="postgresql://user:password@host"):
        PostgresHistory("sqlite:h.db")
