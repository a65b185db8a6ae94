"""Files of jobs over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.core.steps import FILES_TOPIC
from avtomatika.payloads.base import PayloadStore
from avtomatika.server.keys import JOBS_KEY, PAYLOADS_KEY, STORAGE_KEY

from .conftest import CLIENT, Api, StartApi, until

LARGE = bytes(range(251)) * 4000  # about a megabyte


def store_of(api: Api) -> PayloadStore:
    """Returns where the engine keeps files."""
    return api.engine.app[PAYLOADS_KEY]


async def waiting(api: Api) -> str:
    """Returns the id of a job that waits for a worker that never comes."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.until(job_id, "waiting_for_worker")
    return job_id


@pytest.fixture(params=["directory", "bucket"])
async def either(request: pytest.FixtureRequest, start_api: StartApi) -> Api:
    """An engine on each kind of store."""
    settings = request.getfixturevalue("s3_server").settings() if request.param == "bucket" else {}
    return await start_api(**settings)


async def fetch(api: Api, path: str, **headers: str) -> tuple[int, bytes, Any]:
    """Fetches a file as any program does: redirects are followed, without the token where they lead elsewhere."""
    url, sent = api.origin + path, {"X-Client-Token": CLIENT, **headers}
    async with api.http.get(url, headers=sent, allow_redirects=False) as answer:
        if answer.status != 307:
            return answer.status, await answer.read(), answer.headers.copy()
        location = answer.headers["Location"]
    assert urlsplit(location).netloc != urlsplit(api.origin).netloc
    async with api.http.get(location, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers.copy()


async def test_file_is_sent_listed_and_fetched(either: Api) -> None:
    """What a client sends it gets back, whatever the store and the name are."""
    job_id = await waiting(either)
    path = f"/api/v1/jobs/{job_id}/files/in/{quote('ü & 1%.bin')}"

    put = await either.call("PUT", path, data=LARGE)
    listed = await either.get(f"/api/v1/jobs/{job_id}/files")
    status, body, _ = await fetch(either, path)

    assert put.status == 201
    assert listed.body == {"files": [put.body], "next_cursor": None}
    assert {**put.body, "uri": "", "etag": ""} == {"name": "in/ü & 1%.bin", "uri": "", "size": len(LARGE), "etag": ""}
    assert put.body["uri"].endswith(f"jobs/{job_id}/in/ü & 1%.bin") or quote("ü & 1%.bin") in put.body["uri"]
    assert (status, hashlib.md5(body).hexdigest()) == (200, hashlib.md5(LARGE).hexdigest())


async def test_part_of_a_file_is_fetched(either: Api) -> None:
    """A download that broke goes on where it broke."""
    job_id = await waiting(either)
    path = f"/api/v1/jobs/{job_id}/files/a.html"
    await either.call("PUT", path, data=b"0123456789")

    status, body, headers = await fetch(either, path, Range="bytes=7-")

    assert (status, body) == (206, b"789")
    assert headers["Content-Range"] == "bytes 7-9/10"


async def test_download_from_a_directory_is_safe_in_a_browser(api: Api) -> None:
    """Whatever a file holds, a browser saves it; a compressed neighbour is never sent in its place."""
    job_id = await waiting(api)
    put = await api.call("PUT", f"/api/v1/jobs/{job_id}/files/a.html", data=b"<script>")
    await api.call("PUT", f"/api/v1/jobs/{job_id}/files/a.html.gz", data=gzip.compress(b"another file"))

    status, body, headers = await fetch(api, f"/api/v1/jobs/{job_id}/files/a.html", **{"Accept-Encoding": "gzip"})
    etag = f'"{put.body["etag"]}"'
    again, _, _ = await fetch(api, f"/api/v1/jobs/{job_id}/files/a.html", **{"If-None-Match": etag})

    assert (status, body) == (200, b"<script>")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.html"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["ETag"] == etag
    assert again == 304


async def test_head_tells_size_and_etag(either: Api) -> None:
    """Whoever only asks moves nothing."""
    job_id = await waiting(either)
    put = await either.call("PUT", f"/api/v1/jobs/{job_id}/files/a", data=b"hello")

    async with either.http.head(
        f"{either.origin}/api/v1/jobs/{job_id}/files/a", headers={"X-Client-Token": CLIENT}
    ) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == "5"
        assert answer.headers["ETag"] == f'"{put.body["etag"]}"'


async def test_address_to_send_to_works_with_either_store(either: Api) -> None:
    """A program that asks where to send need not know what kind of store there is."""
    job_id = await waiting(either)
    path = f"/api/v1/jobs/{job_id}/files/a.txt"

    for purpose, data in (("upload", b"hello"), ("download", None)):
        told = (await either.get(f"{path}?for={purpose}&expires=60")).body
        assert told["expires_in"] == 60
        headers = {"X-Client-Token": CLIENT} if told["token_required"] else {}
        headers["Content-Type"] = "application/octet-stream"
        async with either.http.request(told["method"], told["url"], data=data, headers=headers) as answer:
            assert answer.status in {200, 201}
            body = await answer.read()

    assert told["method"] == "GET"
    assert body == b"hello"


async def test_list_comes_in_pages_and_of_one_folder(api: Api) -> None:
    """Many files are listed piece by piece; what the engine keeps for itself is not among them."""
    job_id = await waiting(api)
    for name in ("a", "b/1", "b/2", "c"):
        await store_of(api).write_bytes(f"jobs/{job_id}/{name}", b"x")
    await store_of(api).write_bytes(f"jobs/{job_id}/.payloads/{'0' * 64}", b"x")

    names, cursor = [], ""
    while cursor is not None:
        page = (await api.get(f"/api/v1/jobs/{job_id}/files?limit=3&cursor={quote(cursor)}")).body
        names.append([one["name"] for one in page["files"]])
        cursor = page["next_cursor"]
    folder = (await api.get(f"/api/v1/jobs/{job_id}/files?folder=b/")).body["files"]

    assert names == [["a", "b/1", "b/2"], ["c"]]
    assert [one["name"] for one in folder] == ["b/1", "b/2"]


async def test_wrong_requests_are_told_what_is_wrong(api: Api) -> None:
    """A clear word for each mistake."""
    job_id = await waiting(api)
    files = f"/api/v1/jobs/{job_id}/files"

    told = [
        await api.get(f"{files}/missing"),
        await api.get(f"{files}/a?for=fun"),
        await api.get(f"{files}/a?expires=0&for=upload"),
        await api.get(f"{files}/a?expires=9999999&for=upload"),
        await api.get(f"{files}?limit=0"),
        await api.get(f"{files}?folder=.."),
        await api.call("DELETE", f"{files}/a"),
        await api.call("PUT", files, data=b"x"),
        await api.call("PUT", f"{files}/a", data=b"x", headers={"Content-Encoding": "gzip"}),
        await api.call("PUT", f"{files}/a", data=b"x", headers={"Content-Encoding": "lz4"}),
    ]

    assert [(answer.status, answer.body["code"]) for answer in told] == [
        (404, "file_not_found"),
        (400, "invalid_query"),
        (400, "invalid_query"),
        (400, "invalid_query"),
        (400, "invalid_query"),
        (400, "invalid_file_name"),
        (405, "method_not_allowed"),
        (405, "method_not_allowed"),
        (400, "invalid_encoding"),
        (415, "unknown_encoding"),
    ]
    assert (await api.get(files)).body["files"] == []
    assert "file://" not in told[0].body["error"]


async def test_file_above_the_limit_is_refused_however_it_comes(start_api: StartApi) -> None:
    """By its length, or while it comes; packed, it counts unpacked. Nothing of it stays."""
    api = await start_api(FILE_MAX_BYTES=100_000)
    job_id = await waiting(api)
    path = f"/api/v1/jobs/{job_id}/files/a"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(101):
            yield b"x" * 1000

    bomb = gzip.compress(b"0" * 10_000_000)
    told = [
        await api.call("PUT", path, data=b"x" * 100_001),
        await api.call("PUT", path, data=chunks()),
        await api.call("PUT", path, data=bomb, headers={"Content-Encoding": "gzip"}),
    ]

    assert [(answer.status, answer.body["code"], answer.body["limit"]) for answer in told] == [
        (413, "file_too_large", 100_000)
    ] * 3
    assert (await api.get(f"/api/v1/jobs/{job_id}/files")).body["files"] == []
    packed = gzip.compress(b"y" * 100_000)
    assert (await api.call("PUT", path, data=packed, headers={"Content-Encoding": "gzip"})).body["size"] == 100_000


async def test_file_that_is_announced_as_too_large_is_refused_before_it_comes(start_api: StartApi) -> None:
    """Nobody sends gigabytes only to hear that they are too many."""
    api = await start_api(FILE_MAX_BYTES=100_000)
    path = f"/api/v1/jobs/{await waiting(api)}/files/a"

    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\nContent-Length: 100001\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.readline()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_upload_that_breaks_off_leaves_what_was_there(api: Api) -> None:
    """Half a file is never seen."""
    job_id = await waiting(api)
    path = f"/api/v1/jobs/{job_id}/files/a"
    await api.call("PUT", path, data=b"old")

    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\nContent-Length: 9000000\r\n\r\n"
    writer.write(head.encode() + b"x" * 5_000_000)
    await writer.drain()
    directory = store_of(api).directory  # type: ignore[attr-defined]
    await until(lambda: any(file.stat().st_size for file in (directory / ".incoming").iterdir()))
    writer.close()
    await until(lambda: not list((directory / ".incoming").iterdir()))

    assert (await fetch(api, path))[1] == b"old"
    del reader


async def test_job_that_has_ended_takes_no_files(api: Api) -> None:
    """What nobody would remove is refused, also when the job ends while the file comes."""
    ended = await api.submit()
    await api.until(ended, "finished")
    job_id = await waiting(api)
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        started.set()
        await go_on.wait()
        yield b"x"

    sending = asyncio.create_task(api.call("PUT", f"/api/v1/jobs/{job_id}/files/a", data=slowly()))
    await started.wait()
    directory = store_of(api).directory  # type: ignore[attr-defined]
    await until(lambda: (directory / ".incoming").is_dir() and any((directory / ".incoming").iterdir()))
    await api.post(f"/api/v1/jobs/{job_id}/cancel")
    go_on.set()

    for answer in (await sending, await api.call("PUT", f"/api/v1/jobs/{ended}/files/a", data=b"x")):
        assert (answer.status, answer.body["code"]) == (409, "job_state_conflict")
    told = await api.get(f"/api/v1/jobs/{ended}/files/a?for=upload")
    assert told.status == 409
    assert [facts async for facts in store_of(api).list(f"jobs/{job_id}/")] == []


async def test_file_sent_to_a_job_without_files_of_its_own_goes_with_it(api: Api) -> None:
    """A blueprint whose handlers ask for no files may get some; the job's end removes them all the same."""
    job_id = await waiting(api)
    await api.call("PUT", f"/api/v1/jobs/{job_id}/files/a", data=b"x")
    job = await api.job(job_id)
    assert [*job["file_facts"]] == [store_of(api).uri_of(f"jobs/{job_id}/a")]

    await api.post(f"/api/v1/jobs/{job_id}/cancel")
    await until(lambda: not (store_of(api).directory / "jobs" / job_id).exists())  # type: ignore[attr-defined]

    assert await api.engine.app[STORAGE_KEY].next_message_at([FILES_TOPIC]) is not None


async def test_file_of_a_client_leaves_a_row_of_history(api: Api) -> None:
    """With what is known of it, and who sent it."""
    job_id = await waiting(api)

    sent = await api.call("PUT", f"/api/v1/jobs/{job_id}/files/in/a.txt", data=b"hello")

    (row,) = [
        row for row in (await api.get(f"/api/v1/jobs/{job_id}/history")).body if row["event_type"] == "files_moved"
    ]
    told = {key: sent.body[key] for key in ("name", "uri", "size", "etag")}
    assert row["context_snapshot"] == {
        "count": 1,
        "bytes": 5,
        "files": [{"way": "received", **told}],
        "by": "default",
    }


class Slow:
    """A blueprint whose first handler returns when the test lets it, and sends a task.

    Args:
        uses_files: the handler asks for the files of its job.
    """

    def __init__(self, *, uses_files: bool = False) -> None:
        self.runs = 0
        self.may_return = asyncio.Event()
        self._entered = asyncio.Event()
        self._blueprint = StateMachineBlueprint("slow", api_endpoint="/slow")
        self._blueprint.handler_for("start", is_start=True)(self._with_files if uses_files else self._run)
        self._blueprint.handler_for("end", is_end=True)(self._end)

    async def begin(self, api: Api) -> str:
        """Creates a job, and returns its id when the handler runs."""
        api.engine.register_blueprint(self._blueprint)
        job_id = await api.submit("/api/v1/slow")
        await self._entered.wait()
        return job_id

    async def _run(self, actions: ActionFactory) -> None:
        self.runs += 1
        self._entered.set()
        await self.may_return.wait()
        actions.dispatch_task("work", {}, {"success": "end"})

    async def _with_files(self, actions: ActionFactory, task_files: Any) -> None:
        await self._run(actions)

    async def _end(self) -> None: ...


async def test_file_that_comes_while_a_handler_runs_is_told_when_it_has_returned(api: Api) -> None:
    """The client need not wait for that, and the handler is not run again."""
    slow = Slow(uses_files=True)
    job_id = await slow.begin(api)
    sent = await api.call("PUT", f"/api/v1/jobs/{job_id}/files/a", data=b"x")
    before = [row["event_type"] for row in (await api.get(f"/api/v1/jobs/{job_id}/history")).body]
    slow.may_return.set()
    await until(lambda: not api.engine.app[JOBS_KEY]._notes)

    assert (sent.status, "files_moved" in before, slow.runs) == (201, False, 1)
    assert [row["event_type"] for row in (await api.get(f"/api/v1/jobs/{job_id}/history")).body][-1] == "files_moved"


async def test_upload_waits_for_the_handler_that_runs(api: Api) -> None:
    """Taking note of a file must not undo what a handler has done: it is not run again."""
    slow = Slow()
    job_id = await slow.begin(api)
    sending = asyncio.create_task(api.call("PUT", f"/api/v1/jobs/{job_id}/files/a", data=b"x"))
    await until(lambda: bool(api.engine.app[JOBS_KEY]._waiting.get(job_id)))
    slow.may_return.set()

    assert (await sending).status == 201
    assert (await api.until(job_id, "waiting_for_worker"))["status"] == "waiting_for_worker"
    assert slow.runs == 1
