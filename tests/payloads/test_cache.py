"""Copies of stored files on this machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from avtomatika.errors import PayloadNotFoundError
from avtomatika.payloads.base import PayloadStore
from avtomatika.payloads.cache import cached

LIMIT = 1000


class Counted:
    """A store that counts how often each file is fetched."""

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self.fetched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def read_file(self, key: str, path: Path) -> Any:
        """As of the store."""
        self.fetched.append(key)
        return await self._store.read_file(key, path)


@pytest.fixture
def counted(store: PayloadStore) -> Counted:
    """Each kind of store, behind the cache."""
    return Counted(store)


@pytest.fixture
def cache(counted: Counted, tmp_path: Path) -> PayloadStore:
    """What is tested."""
    return cached(counted, tmp_path / "cache", LIMIT)  # type: ignore[arg-type]


def copies(tmp_path: Path) -> list[str]:
    """The names of the copies, without anything half done."""
    return sorted(place.name for place in (tmp_path / "cache").iterdir())


async def test_file_comes_once_and_each_copy_is_its_own(cache: PayloadStore, counted: Counted, tmp_path: Path) -> None:
    """A task that changes its copy changes nobody else's."""
    stored = await cache.write_bytes("jobs/j/a", b"moon")

    first = await cache.read_file("jobs/j/a", tmp_path / "one" / "a")
    (tmp_path / "one" / "a").write_bytes(b"spoilt")
    second = await cache.read_file("jobs/j/a", tmp_path / "two" / "a")

    assert (tmp_path / "two" / "a").read_bytes() == b"moon"
    assert first == second == stored
    assert counted.fetched == ["jobs/j/a"]
    assert len(copies(tmp_path)) == 1


async def test_file_that_changed_is_fetched_anew(cache: PayloadStore, counted: Counted, tmp_path: Path) -> None:
    """A copy is of one version."""
    for data in (b"moon", b"star"):
        await cache.write_bytes("jobs/j/a", data)
        await cache.read_file("jobs/j/a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == data

    assert len(counted.fetched) == 2


async def test_file_that_is_removed_is_not_found(cache: PayloadStore, tmp_path: Path) -> None:
    """A copy is no second home."""
    await cache.write_bytes("jobs/j/a", b"moon")
    await cache.read_file("jobs/j/a", tmp_path / "a")
    await cache.remove("jobs/j/a")

    with pytest.raises(PayloadNotFoundError):
        await cache.read_file("jobs/j/a", tmp_path / "b")


async def test_tasks_that_want_the_same_file_wait_for_one_of_them(
    cache: PayloadStore, counted: Counted, tmp_path: Path
) -> None:
    """It goes over the line once."""
    await cache.write_bytes("jobs/j/a", b"moon")

    await asyncio.gather(*(cache.read_file("jobs/j/a", tmp_path / str(number)) for number in range(5)))

    assert counted.fetched == ["jobs/j/a"]


async def test_copies_that_were_not_used_for_longest_go(cache: PayloadStore, counted: Counted, tmp_path: Path) -> None:
    """Together they have no more than the limit."""
    for name in "abc":
        await cache.write_bytes(f"jobs/j/{name}", name.encode() * 400)
    for number, name in enumerate("abac"):
        await cache.read_file(f"jobs/j/{name}", tmp_path / name)
        # A file system may count in coarse steps.
        for place in (tmp_path / "cache").iterdir():
            if place.read_bytes()[:1] == name.encode():
                os.utime(place, (number, number))

    held = {(tmp_path / "cache" / name).read_bytes()[:1] for name in copies(tmp_path)}
    assert held == {b"a", b"c"}
    assert counted.fetched == ["jobs/j/a", "jobs/j/b", "jobs/j/c"]


async def test_file_above_the_limit_is_not_kept(cache: PayloadStore, tmp_path: Path) -> None:
    """It would push all others out."""
    await cache.write_bytes("jobs/j/a", b"x" * (LIMIT + 1))

    await cache.read_file("jobs/j/a", tmp_path / "a")

    assert not (tmp_path / "cache").exists()


async def test_broken_cache_fails_no_task(cache: PayloadStore, counted: Counted, tmp_path: Path) -> None:
    """A copy that was cut off is fetched anew, and where none can be kept the file comes all the same."""
    await cache.write_bytes("jobs/j/a", b"moon")
    await cache.read_file("jobs/j/a", tmp_path / "a")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(b"m")
    await cache.read_file("jobs/j/a", tmp_path / "b")
    kept.unlink()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("in the way")

    await cache.read_file("jobs/j/a", tmp_path / "c")

    assert {(tmp_path / name).read_bytes() for name in "bc"} == {b"moon"}
    assert counted.fetched == ["jobs/j/a"] * 3
