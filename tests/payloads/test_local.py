"""Files in a directory: what only a directory can do wrong."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from avtomatika.errors import PayloadMismatchError, PayloadNameError, PayloadNotFoundError, PayloadStoreError
from avtomatika.payloads import local
from avtomatika.payloads.local import LocalPayloads


@pytest.fixture
def store(tmp_path: Path) -> LocalPayloads:
    """Returns a store whose directory is not there yet."""
    return LocalPayloads(tmp_path / "files")


def test_directory_is_made_by_the_first_write_only(tmp_path: Path) -> None:
    """An engine that moves no files leaves no traces."""
    LocalPayloads(tmp_path / "files")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["file", "folder", "job"])
async def test_link_that_leads_out_is_not_followed(store: LocalPayloads, tmp_path: Path, what: str) -> None:
    """A link in the directory, however it came there, opens no way to other files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    await store.write_bytes("jobs/j1/x", b"x")
    root = store.directory / "jobs"
    key = {"file": "jobs/j1/link", "folder": "jobs/j1/link/secret", "job": "jobs/link/secret"}[what]
    places = {"file": (root / "j1/link", outside / "secret"), "folder": (root / "j1/link", outside)}
    link, target = places.get(what, (root / "link", outside))
    link.symlink_to(target)

    for call in (store.read_bytes(key), store.facts(key), store.write_bytes(key, b"!"), store.remove(key)):
        with pytest.raises(PayloadNameError, match="link"):
            await call
    assert [facts.uri async for facts in store.list("jobs/j1/")] == [store.uri_of("jobs/j1/x")]
    await store.remove_all("jobs/j1/")

    assert (outside / "secret").read_text() == "secret"


async def test_folder_and_pipe_are_no_files(store: LocalPayloads) -> None:
    """Only ordinary files are read: a pipe would hold the reader for ever."""
    await store.write_bytes("jobs/j1/a/b", b"x")
    os.mkfifo(store.directory / "jobs/j1/pipe")

    for key in ("jobs/j1/a", "jobs/j1/a/b/c"):
        assert await store.facts(key) is None
        with pytest.raises(PayloadNotFoundError):
            await store.read_bytes(key)
    assert await store.facts("jobs/j1/pipe") is None


async def test_name_that_is_file_and_folder_is_refused(store: LocalPayloads) -> None:
    """What a bucket could keep and a directory cannot is refused by name."""
    await store.write_bytes("jobs/j1/a/b", b"x")

    for key in ("jobs/j1/a", "jobs/j1/a/b/c"):
        with pytest.raises(PayloadNameError, match="at once"):
            await store.write_bytes(key, b"y")
    assert await store.read_bytes("jobs/j1/a/b") == b"x"


@pytest.mark.parametrize("change", ["longer", "shorter", "other"])
async def test_file_changed_in_place_while_read_is_noticed(store: LocalPayloads, change: str) -> None:
    """Who reads a file that somebody writes in place gets an error at its end, never a mixture."""
    size = 3 * 1024 * 1024
    await store.write_bytes("jobs/j1/x", b"a" * size)
    place = store.directory / "jobs/j1/x"

    async def read() -> None:
        first = True
        async for _ in store.read_stream("jobs/j1/x"):
            if first:
                first = False
                with place.open("r+b") as file:
                    file.truncate({"longer": size + 1, "shorter": size - 1, "other": size}[change])
                    if change == "other":
                        file.write(b"b")

    with pytest.raises(PayloadMismatchError) as caught:
        await read()
    assert caught.value.fact == ("etag" if change == "other" else "size")
    assert caught.value.uri == store.uri_of("jobs/j1/x")


async def test_file_replaced_while_read_is_read_as_it_was(store: LocalPayloads) -> None:
    """A reader keeps the version that it began with."""
    await store.write_bytes("jobs/j1/x", b"a" * 3 * 1024 * 1024)
    read = b""

    async for block in store.read_stream("jobs/j1/x"):
        if not read:
            await store.write_bytes("jobs/j1/x", b"new")
        read += block

    assert read == b"a" * 3 * 1024 * 1024


async def test_file_cut_short_on_the_disk_is_noticed(
    store: LocalPayloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write is only done when the system tells the size that was moved."""
    (tmp_path / "cut").write_bytes(b"hel")
    cut = (tmp_path / "cut").stat()

    async def save(chunks: AsyncIterator[bytes], path: Path, aside: Path) -> os.stat_result:
        _ = [chunk async for chunk in chunks]
        return cut

    monkeypatch.setattr(local, "save", save)

    with pytest.raises(PayloadMismatchError) as caught:
        await store.write_bytes("jobs/j1/x", b"hello")
    assert (caught.value.expected, caught.value.found) == (5, 3)


async def test_what_a_killed_process_left_aside_is_swept(store: LocalPayloads, tmp_path: Path) -> None:
    """Files that nobody writes any more go; those that somebody may still write stay."""
    incoming = store.directory / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "old").write_bytes(b"x")
    (incoming / "new").write_bytes(b"x")
    os.utime(incoming / "old", (time.time() - 7200,) * 2)

    await store.write_bytes("jobs/j1/x", b"x")

    assert [path.name for path in incoming.iterdir()] == ["new"]
    with pytest.raises(PayloadNameError):
        await store.read_bytes(".incoming/new")


async def test_directory_that_cannot_be_written_is_told_with_its_setting(tmp_path: Path) -> None:
    """The error says what to look at."""
    (tmp_path / "file").write_text("no directory")
    store = LocalPayloads(tmp_path / "file" / "files")

    with pytest.raises((PayloadStoreError, PayloadNameError)) as caught:
        await store.write_bytes("jobs/j1/x", b"x")
    assert isinstance(caught.value, PayloadStoreError)
    assert "TASK_FILES_DIR" in str(caught.value)


async def test_folder_that_holds_nothing_is_removed(store: LocalPayloads) -> None:
    """Jobs that have come and gone leave no empty folders."""
    await store.write_bytes("jobs/j1/a/b/c", b"x")

    await store.remove("jobs/j1/a/b/c")

    assert [path.name for path in store.directory.iterdir()] == [".incoming"]
