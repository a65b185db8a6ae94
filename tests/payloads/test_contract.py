"""What every store of files keeps to."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import pytest

from avtomatika.errors import PayloadNameError, PayloadNotFoundError, PayloadSizeError
from avtomatika.payloads.base import FileFacts, PayloadStore

PART = 5 * 1024 * 1024
LARGE = bytes(range(251)) * (2 * PART // 251 + 1000)  # three parts, none like another
NAMES = ["a.txt", "deep/er/b.txt", "naïve file (1).txt", "日本/ü.bin", "100%.txt", "a+b&c=d?.txt", "~x;y,[z]*.txt"]


async def stream(*chunks: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    """Yields chunks, and then fails if it should."""
    for chunk in chunks:
        yield chunk
    if error is not None:
        raise error


async def listed(store: PayloadStore, prefix: str) -> list[FileFacts]:
    """Returns all of a list."""
    return [facts async for facts in store.list(prefix)]


@pytest.mark.parametrize("data", [b"", b"hello", LARGE], ids=["empty", "small", "in-parts"])
async def test_file_written_comes_back_in_every_way(store: PayloadStore, tmp_path: Path, data: bytes) -> None:
    """What goes in comes out, whichever way, with the same facts."""
    source, copy = tmp_path / "source", tmp_path / "new" / "copy"
    source.write_bytes(data)

    written = await store.write_file("jobs/j1/x.bin", source)
    read = await store.read_file("jobs/j1/x.bin", copy)

    assert written == read == await store.facts("jobs/j1/x.bin")
    assert written.size == len(data)
    assert written.etag
    assert written.uri == store.uri_of("jobs/j1/x.bin")
    assert copy.read_bytes() == await store.read_bytes("jobs/j1/x.bin") == data
    assert list(copy.parent.iterdir()) == [copy]
    async with aclosing(store.read_stream("jobs/j1/x.bin")) as blocks:
        assert b"".join([block async for block in blocks]) == data


async def test_stream_of_odd_chunks_is_stored_whole(store: PayloadStore) -> None:
    """Chunks may have any size, none included."""
    cuts = [0, 0, 1, 3, 100_000, PART - 1, PART, PART + 1, len(LARGE)]

    await store.write_stream("jobs/j1/x", stream(*(LARGE[a:b] for a, b in pairwise(cuts))))

    assert await store.read_bytes("jobs/j1/x") == LARGE


@pytest.mark.parametrize("name", NAMES)
async def test_name_of_any_script_is_kept(store: PayloadStore, name: str) -> None:
    """A name comes back from the list as it was given, and leads from key to address and back."""
    key = f"jobs/j1/{name}"

    await store.write_bytes(key, name.encode())

    assert await store.read_bytes(key) == name.encode()
    assert [facts.uri for facts in await listed(store, "jobs/j1/")] == [store.uri_of(key)]
    assert store.key_of(store.uri_of(key)) == key


async def test_second_write_replaces_file_and_etag(store: PayloadStore) -> None:
    """A file of the same name takes the place of the one before, and is seen to be another."""
    first = await store.write_bytes("jobs/j1/x", b"one")

    second = await store.write_bytes("jobs/j1/x", b"two")

    assert await store.read_bytes("jobs/j1/x") == b"two"
    assert first.etag != second.etag


@pytest.mark.parametrize("before", [b"abc", LARGE], ids=["small", "in-parts"])
async def test_stream_that_fails_leaves_what_was_there(store: PayloadStore, before: bytes) -> None:
    """An error of the source passes through, and no half of a file is seen."""
    await store.write_bytes("jobs/j1/x", b"old")

    with pytest.raises(RuntimeError, match="source"):
        await store.write_stream("jobs/j1/x", stream(before, error=RuntimeError("source")))

    assert await store.read_bytes("jobs/j1/x") == b"old"
    assert len(await listed(store, "jobs/j1/")) == 1


async def test_stream_that_fails_leaves_no_new_file(store: PayloadStore) -> None:
    """A file that was never there whole is not there at all."""
    with pytest.raises(OSError, match="source"):
        await store.write_stream("jobs/j1/x", stream(LARGE, error=OSError("source")))

    assert await store.facts("jobs/j1/x") is None


async def test_cancelled_write_leaves_no_file(store: PayloadStore) -> None:
    """Who stops an upload finds nothing of it."""
    begun, never = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield LARGE
        begun.set()
        await never.wait()

    writing = asyncio.create_task(store.write_stream("jobs/j1/x", endless()))
    await begun.wait()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    assert writing.cancelled()
    assert await store.facts("jobs/j1/x") is None


async def test_missing_file_is_told_apart(store: PayloadStore, tmp_path: Path) -> None:
    """Facts of nothing are None; reading nothing is an error that names the file."""
    assert await store.facts("jobs/j1/x") is None
    with pytest.raises(PayloadNotFoundError) as caught:
        await store.read_bytes("jobs/j1/x")
    assert caught.value.uri == store.uri_of("jobs/j1/x")
    with pytest.raises(PayloadNotFoundError):
        await store.read_file("jobs/j1/x", tmp_path / "copies" / "x")
    assert not list(tmp_path.rglob("copies"))  # noqa: ASYNC240 - nothing else runs


async def test_read_beyond_limit_is_refused(store: PayloadStore) -> None:
    """A limit holds whatever the file's size."""
    await store.write_bytes("jobs/j1/x", b"12345")

    assert await store.read_bytes("jobs/j1/x", limit=5) == b"12345"
    with pytest.raises(PayloadSizeError) as caught:
        await store.read_bytes("jobs/j1/x", limit=4)
    assert caught.value.limit == 4


async def test_list_is_ordered_and_of_one_folder(store: PayloadStore) -> None:
    """A list has all files below a folder by key, and none of a folder whose name begins alike."""
    keys = ["jobs/j1/a/b", "jobs/j1/a-b", "jobs/j1/c", "jobs/j10/x", "jobs/j1/a.b"]
    for key in keys:
        await store.write_bytes(key, key.encode())

    found = await listed(store, "jobs/j1/")

    assert [facts.uri for facts in found] == [store.uri_of(key) for key in sorted(keys) if "j10" not in key]
    assert found == [await store.facts(key) for key in sorted(keys) if "j10" not in key]
    assert await listed(store, "jobs/j2/") == []


async def test_removed_files_are_gone_and_others_stay(store: PayloadStore) -> None:
    """Removing takes what was named, once or twice, and nothing beside it."""
    for key in ("jobs/j1/a/b", "jobs/j1/c", "jobs/j10/x"):
        await store.write_bytes(key, b"x")

    for _ in range(2):
        await store.remove("jobs/j1/c")
    await store.remove("jobs/j1/a")
    assert [facts.uri for facts in await listed(store, "jobs/j1/")] == [store.uri_of("jobs/j1/a/b")]
    for _ in range(2):
        await store.remove_all("jobs/j1/")

    assert await listed(store, "jobs/j1/") == []
    assert await store.read_bytes("jobs/j10/x") == b"x"


@pytest.mark.parametrize("key", ["", "/etc/passwd", "jobs/../x", "jobs/j1/..", "jobs//x", "a\0b", "a\\b", "%2e%2e/x"])
async def test_key_that_leads_out_is_refused_everywhere(store: PayloadStore, tmp_path: Path, key: str) -> None:
    """No method takes a key that is none; prefixes are no keys with a slash missing."""
    (tmp_path / "source").write_bytes(b"x")
    calls = [
        store.write_file(key, tmp_path / "source"),
        store.write_stream(key, stream(b"x")),
        store.write_bytes(key, b"x"),
        anext(store.read_stream(key)),
        store.read_bytes(key),
        store.read_file(key, tmp_path / "copy"),
        store.facts(key),
        store.remove(key),
        store.upload_url(key, 60),
        store.download_url(key, 60),
        store.local_path(key),
        listed(store, f"{key}/"),
        store.remove_all(f"{key}/"),
        listed(store, "jobs"),
        store.remove_all("jobs"),
    ]

    for call in calls:
        with pytest.raises(PayloadNameError):
            await call  # type: ignore[misc]
    with pytest.raises(PayloadNameError):
        store.uri_of(key)


def test_uri_of_another_place_is_no_key(store: PayloadStore) -> None:
    """A store knows its own files only."""
    own = store.uri_of("jobs/j1/x")

    for uri in ("", "s3://other-bucket/jobs/j1/x", "file:///etc/passwd", "https://example.org/x", f"{own}/../../y"):
        with pytest.raises(PayloadNameError):
            store.key_of(uri)


async def test_addresses_work_without_a_token(store: PayloadStore) -> None:
    """A store that has addresses takes and gives files at them; one that has none says so."""
    up, down = await store.upload_url("jobs/j1/ü %.txt", 60), await store.download_url("jobs/j1/ü %.txt", 60)

    if up is None or down is None:
        assert (up, down) == (None, None)
        return

    def use() -> bytes:
        # The default of this client, a form, would be read as one by moto.
        headers = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(up, b"hello", headers, method="PUT")).close()
        with urllib.request.urlopen(down) as answer:
            return answer.read()

    assert await asyncio.to_thread(use) == b"hello"
    assert await store.read_bytes("jobs/j1/ü %.txt") == b"hello"


async def test_many_transfers_at_once_do_not_disturb_each_other(store: PayloadStore) -> None:
    """Files that move side by side come out as they went in."""
    await asyncio.gather(*(store.write_bytes(f"jobs/j1/{n}", bytes([n]) * 1000) for n in range(20)))

    read = await asyncio.gather(*(store.read_bytes(f"jobs/j1/{n}") for n in range(20)))

    assert read == [bytes([n]) * 1000 for n in range(20)]
