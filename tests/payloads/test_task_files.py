"""The argument ``task_files``: the files of one job."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from avtomatika.errors import PayloadNameError, PayloadNotFoundError, PayloadSizeError
from avtomatika.payloads.base import FileFacts, PayloadStore
from avtomatika.payloads.local import LocalPayloads
from avtomatika.payloads.task_files import TaskFiles


@pytest.fixture
def local(tmp_path: Path) -> LocalPayloads:
    """Returns an empty store."""
    return LocalPayloads(tmp_path / "files")


@pytest.fixture
async def files(local: LocalPayloads) -> AsyncIterator[TaskFiles]:
    """Returns the files of job ``j1``: none."""
    made = TaskFiles(local, "j1")
    yield made
    await made.close()


async def test_small_files_are_written_and_read(store: PayloadStore) -> None:
    """Text, JSON and bytes come back as they were, in either store."""
    files = TaskFiles(store, "j1")

    facts = await files.write_text("a.txt", "grüße")
    await files.write_json("out/b.json", {"ü": [1, None]})
    await files.write_bytes("c", b"\0\1")

    assert facts.uri == store.uri_of("jobs/j1/a.txt") == files.uri("a.txt")
    assert await files.read_text("a.txt") == "grüße"
    assert await files.read_json("out/b.json") == {"ü": [1, None]}
    assert await files.read_bytes("c") == b"\0\1"
    assert await files.list() == ["a.txt", "c", "out/b.json"]
    assert await files.list("out/") == await files.list("out") == ["out/b.json"]
    assert await files.facts("a.txt") == facts
    assert (await files.exists("c"), await files.exists("d")) == (True, False)


async def test_file_goes_to_this_machine_and_back(store: PayloadStore, tmp_path: Path) -> None:
    """A download leads to a path, and what stands at a path is uploaded under its name."""
    files = TaskFiles(store, "j1")
    await files.write_text("in/a.txt", "hello")

    place = await files.download("in/a.txt")
    files.path("out/b.txt").write_text(place.read_text().upper())
    uploaded = await files.upload("out/b.txt")
    elsewhere = await files.download("out/b.txt", tmp_path / "copy.txt")
    await files.upload(elsewhere)
    await files.upload(elsewhere, "renamed.txt")

    assert place == files.path("in/a.txt")
    assert isinstance(uploaded, FileFacts)
    assert elsewhere.read_text() == "HELLO"
    assert await files.list() == ["copy.txt", "in/a.txt", "out/b.txt", "renamed.txt"]
    await files.close()
    assert not place.parent.parent.exists()
    assert elsewhere.exists()


async def test_folder_goes_whole_and_comes_whole(store: PayloadStore, tmp_path: Path) -> None:
    """A slash at the end means all files of a folder, those deeper down too."""
    files = TaskFiles(store, "j1")
    source = tmp_path / "results"
    for number in range(12):
        (source / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (source / f"{number % 3}" / f"{number:02}").write_text(str(number))

    facts = await files.upload(f"{source}/", "kept/")
    there = await files.download("kept/")
    elsewhere = await files.download("kept/1/", tmp_path / "one")

    assert isinstance(facts, list)
    assert len(facts) == 12
    assert {p.relative_to(there).as_posix(): p.read_text() for p in there.rglob("*") if p.is_file()} == {
        f"{number % 3}/{number:02}": str(number) for number in range(12)
    }
    assert sorted(p.name for p in elsewhere.iterdir()) == ["01", "04", "07", "10"]
    await files.close()


async def test_folder_without_slash_and_missing_folder_are_told(files: TaskFiles, tmp_path: Path) -> None:
    """A folder is not taken for a file, and none is not taken for an empty one."""
    (tmp_path / "folder").mkdir()

    with pytest.raises(PayloadNameError, match="is a folder"):
        await files.upload(tmp_path / "folder")
    with pytest.raises(PayloadNotFoundError):
        await files.download("nothing/")
    with pytest.raises(FileNotFoundError):
        await files.upload(f"{tmp_path}/nothing/", "x/")
    assert await files.upload(f"{tmp_path}/folder/") == []


async def test_link_in_a_folder_is_not_uploaded(files: TaskFiles, tmp_path: Path) -> None:
    """A link in what a program has left leads no other file out of the machine."""
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("a")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)

    await files.upload(f"{folder}/", "out/")

    assert await files.list() == ["out/a"]


async def test_files_of_other_jobs_are_out_of_reach(local: LocalPayloads) -> None:
    """An address, wherever it came from, opens the files of its own job only, and those that workers brought."""
    other = await TaskFiles(local, "j2").write_text("x", "secret")
    brought = await local.write_bytes("shared/y", b"brought")
    published = await local.write_bytes("j1/z", b"published")
    files = TaskFiles(local, "j1", {brought.uri: brought})

    for address in (other.uri, "file:///etc/passwd", "s3://bucket/jobs/j1/x"):
        with pytest.raises(PayloadNameError):
            await files.read_text(address)
    with pytest.raises(PayloadNameError):
        await files.read_text("../j2/x")
    assert await files.read_text(brought.uri) == "brought"
    assert await files.read_text(published.uri) == "published"
    assert (await files.download(published.uri)).name == "z"
    await files.close()


async def test_large_file_is_not_read_into_memory(files: TaskFiles) -> None:
    """What is too large for a text is refused, and says how large it may be."""
    await files.write_text("a", "12345")

    with pytest.raises(PayloadSizeError):
        await files.read_text("a", limit=4)
    with pytest.raises(PayloadSizeError):
        await files.read_json("a", limit=4)


async def test_streams_are_written_and_read(files: TaskFiles) -> None:
    """What does not fit into memory goes in blocks."""

    async def source():  # type: ignore[no-untyped-def]
        for number in range(5):
            yield bytes([number]) * 1000

    await files.write_stream("a", source())

    assert b"".join([block async for block in files.stream("a")]) == b"".join(bytes([n]) * 1000 for n in range(5))


async def test_cleanup_removes_the_files_and_leaves_documents(local: LocalPayloads) -> None:
    """Cleaning up takes what was written, here and there, but not what the engine keeps for the job."""
    files = TaskFiles(local, "j1")
    await local.write_bytes(f"jobs/j1/.payloads/{'0' * 64}", b"document")
    await local.write_bytes("jobs/j2/x", b"of another")
    for name in ("a", "b/c", "b/d"):
        await files.write_text(name, name)
    place = await files.download("a")

    await files.remove("b/")
    assert await files.list() == ["a"]
    await files.cleanup()

    assert await files.list() == []
    assert not place.exists()
    assert await local.read_bytes(f"jobs/j1/.payloads/{'0' * 64}") == b"document"
    assert await local.read_bytes("jobs/j2/x") == b"of another"


async def test_what_moved_is_noted_once_a_file(files: TaskFiles) -> None:
    """The last facts of each file and way, for the history."""
    await files.write_text("a", "1")
    last = await files.write_text("a", "22")
    await files.read_text("a")

    assert files.moved == {("written", "a"): last, ("read", "a"): last}


async def test_plain_function_waits_for_its_files(files: TaskFiles) -> None:
    """In a thread the same methods block; what needs no waiting is the same."""
    blocking = files.blocking(asyncio.get_running_loop())

    def work() -> list[str]:
        blocking.write_json("a.json", [1])
        assert blocking.read_json("a.json") == [1]
        assert b"".join(blocking.stream("a.json")) == b"[1]"
        blocking.path("b.txt").write_text("b")
        blocking.upload("b.txt")
        with pytest.raises(PayloadNotFoundError):
            blocking.read_text("c")
        return list(blocking.list())

    assert await asyncio.to_thread(work) == ["a.json", "b.txt"]
    # A plain wrapper around an async function awaits in the loop's own thread.
    assert await blocking.read_json("a.json") == json.loads("[1]")
    await files.close()
