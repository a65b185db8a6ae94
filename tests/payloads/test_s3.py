"""Files in a bucket: what only a bucket can do wrong."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from avtomatika.errors import PayloadError, PayloadMismatchError, PayloadNameError, PayloadSizeError, PayloadStoreError
from avtomatika.payloads import s3
from avtomatika.payloads.base import PayloadStore
from tests.s3_server import SECRET_KEY, S3Server

PART = 5 * 1024 * 1024
LARGE = bytes(range(251)) * (2 * PART // 251 + 1000)
NewStore = Callable[..., PayloadStore]


async def test_etags_are_those_of_the_bucket(new_s3: NewStore, s3_server: S3Server) -> None:
    """What we compute from what was moved is what the server has computed from what came."""
    bucket = s3_server.new_bucket()
    store = new_s3(bucket)

    small, large = await store.write_bytes("jobs/j1/small", b"hello"), await store.write_bytes("jobs/j1/large", LARGE)

    client = s3_server.client()
    assert (
        small.etag
        == hashlib.md5(b"hello").hexdigest()
        == client.head_object(Bucket=bucket, Key="jobs/j1/small")["ETag"].strip('"')
    )
    assert large.etag.endswith("-3")
    assert large.etag == client.head_object(Bucket=bucket, Key="jobs/j1/large")["ETag"].strip('"')


@pytest.mark.parametrize("data", [b"hello", LARGE], ids=["small", "in-parts"])
async def test_file_damaged_on_the_way_up_is_noticed(
    new_s3: NewStore, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ETag that does not fit what was sent is an error with both as facts, and nobody reads the damaged file."""
    store = new_s3()
    real = s3.obstore.put_async

    async def damage(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for block in stream:
            yield b"!" + bytes(block)[1:]

    async def put(store: Any, key: str, file: Any, **options: Any) -> Any:
        if "probe" not in key:
            file = b"!" + file[1:] if isinstance(file, bytes) else damage(file)
        return await real(store, key, file, **options)

    monkeypatch.setattr(s3.obstore, "put_async", put)

    with pytest.raises(PayloadMismatchError) as caught:
        await store.write_bytes("jobs/j1/x", data)
    assert caught.value.fact == "etag"
    assert caught.value.expected != caught.value.found
    assert await store.facts("jobs/j1/x") is None


@pytest.mark.parametrize("data", [b"hello", LARGE], ids=["small", "in-parts"])
async def test_file_damaged_on_the_way_down_is_noticed(
    new_s3: NewStore, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes is compared with the ETag that the server told before."""
    store = new_s3()
    await store.write_bytes("jobs/j1/x", data)
    real = s3._next

    async def damaged(blocks: Any) -> bytes:
        block = await real(blocks)
        return b"!" + block[1:] if block else block

    monkeypatch.setattr(s3, "_next", damaged)

    with pytest.raises(PayloadMismatchError) as caught:
        await store.read_bytes("jobs/j1/x")
    assert caught.value.fact == "etag"


async def test_bucket_whose_etags_are_no_digests_is_found_out(
    new_s3: NewStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An encrypted bucket gives ETags that only look like digests: files still move, and size still counts."""
    monkeypatch.setattr(s3.PartDigest, "etag", lambda self: "0" * 32)
    store = new_s3()

    with caplog.at_level("INFO"):
        for _ in range(2):
            await store.write_bytes("jobs/j1/x", b"hello")
        assert await store.read_bytes("jobs/j1/x") == b"hello"

    assert [record.action for record in caplog.records if hasattr(record, "action")] == ["etags_without_digest"]


async def test_file_that_another_program_stored_in_parts_is_read(new_s3: NewStore, s3_server: S3Server) -> None:
    """Parts of a size that nobody told cannot be checked by digest, and are no error."""
    bucket = s3_server.new_bucket()
    client = s3_server.client()
    upload = client.create_multipart_upload(Bucket=bucket, Key="j1/x")["UploadId"]
    parts = []
    for number, body in enumerate((b"a" * (PART + 7), b"b" * 5), 1):
        answer = client.upload_part(Bucket=bucket, Key="j1/x", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key="j1/x", UploadId=upload, MultipartUpload={"Parts": parts})

    read = await new_s3(bucket).read_bytes("j1/x")

    assert read == b"a" * (PART + 7) + b"b" * 5


@pytest.mark.parametrize("how", ["fails", "cancelled"])
async def test_upload_given_up_leaves_no_parts(new_s3: NewStore, s3_server: S3Server, how: str) -> None:
    """Parts of an upload that never ended are paid for and seen nowhere: none are left."""
    bucket = s3_server.new_bucket()
    store = new_s3(bucket)
    begun, never = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield LARGE
        begun.set()
        if how == "fails":
            raise RuntimeError("source")
        await never.wait()

    writing = asyncio.create_task(store.write_stream("jobs/j1/x", source()))
    await begun.wait()
    if how == "cancelled":
        writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)

    assert "Uploads" not in s3_server.client().list_multipart_uploads(Bucket=bucket)


async def test_upload_in_too_many_parts_is_refused(new_s3: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 cannot take is refused while it comes, not after days of sending."""
    monkeypatch.setattr(s3, "MAX_PARTS", 2)

    async def source() -> AsyncIterator[bytes]:
        yield LARGE

    with pytest.raises(PayloadSizeError):
        await new_s3().write_stream("jobs/j1/x", source())
    # A size that is known beforehand gets parts that are large enough.
    assert (await new_s3().write_bytes("jobs/j1/x", LARGE)).size == len(LARGE)


async def test_missing_bucket_is_told_with_its_setting(new_s3: NewStore) -> None:
    """The error names bucket and setting, and holds no secret."""
    store = new_s3("no-such-bucket")

    for call in (store.write_bytes("jobs/j1/x", b"x"), store.read_bytes("jobs/j1/x")):
        with pytest.raises(PayloadStoreError, match="S3_DEFAULT_BUCKET") as caught:
            await call
        assert SECRET_KEY not in repr(caught.value.__cause__)


async def test_server_that_is_away_is_an_error_of_the_store(
    new_s3: NewStore, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """Nothing of the client's own errors comes out, and no address with secrets."""
    monkeypatch.setattr(s3, "_RETRIES", 0)
    store = new_s3("bucket", endpoint=f"http://127.0.0.1:{unused_tcp_port}")

    for call in (store.write_bytes("jobs/j1/x", b"x"), store.write_bytes("jobs/j1/x", LARGE), store.facts("jobs/j1/x")):
        with pytest.raises(PayloadStoreError) as caught:
            await call
        assert SECRET_KEY not in str(caught.value)


async def test_server_that_is_overloaded_is_an_error_of_the_store(
    new_s3: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What S3 says when it is too busy comes as an error to try again after, with its word and without the address."""
    monkeypatch.setattr(s3, "_RETRIES", 0)

    async def busy(_request: web.Request) -> web.Response:
        return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>", content_type="application/xml")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", busy)
    async with TestServer(app) as server:
        store = new_s3("bucket", endpoint=str(server.make_url("")).rstrip("/"))
        for call in (store.write_bytes("jobs/j1/x", b"x"), store.facts("jobs/j1/x"), store.remove_all("jobs/j1/")):
            with pytest.raises(PayloadStoreError, match="503") as caught:
                await call
            assert "127.0.0.1" not in str(caught.value)


async def test_no_more_transfers_than_allowed_run_at_a_time(new_s3: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """``S3_MAX_CONCURRENCY`` is kept to."""
    real, running, most = s3.obstore.put_async, 0, 0

    async def put(*arguments: Any, **options: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await real(*arguments, **options)
        finally:
            running -= 1

    monkeypatch.setattr(s3.obstore, "put_async", put)
    store = new_s3(max_concurrency=2)

    await asyncio.gather(*(store.write_bytes(f"jobs/j1/{n}", b"x") for n in range(10)))

    assert most == 2


@pytest.mark.parametrize("size", [1000, len(LARGE)], ids=["small", "in-parts"])
async def test_copy_from_file_to_file_does_not_wait_for_itself(new_s3: NewStore, size: int) -> None:
    """A reader that writes, and a writer that reads, go on even if one transfer is allowed at a time."""
    store = new_s3(max_concurrency=1)
    await store.write_bytes("jobs/j1/a", LARGE[:size])

    async with asyncio.timeout(60):
        await store.write_stream("jobs/j1/b", store.read_stream("jobs/j1/a"))
        async for block in store.read_stream("jobs/j1/b"):
            await store.write_bytes("jobs/j1/c", block)

    assert await store.read_bytes("jobs/j1/b") == LARGE[:size]


async def test_variables_of_the_environment_turn_nothing_elsewhere(
    s3_server: S3Server, new_s3: NewStore, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """The settings decide; what other programs are told by AWS_ variables does not matter here."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{unused_tcp_port}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{unused_tcp_port}",
        "AWS_SESSION_TOKEN": "of-somebody-else",
        "AWS_BUCKET": "elsewhere",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = new_s3()

    await store.write_bytes("jobs/j1/x", b"x")

    assert await store.read_bytes("jobs/j1/x") == b"x"
    assert "of-somebody-else" not in (await store.download_url("jobs/j1/x", 60) or "")


def test_errors_of_files_are_one_family() -> None:
    """One ``except`` catches all that can happen to a file."""
    for kind in (PayloadMismatchError, PayloadNameError, PayloadSizeError, PayloadStoreError):
        assert issubclass(kind, PayloadError)
