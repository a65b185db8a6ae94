"""Files of jobs in a bucket of S3, or of any store that speaks its language."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from avtomatika.errors import (
    PayloadMismatchError,
    PayloadNameError,
    PayloadNotFoundError,
    PayloadSizeError,
    PayloadStoreError,
)
from avtomatika.payloads.base import BLOCK_BYTES, FileFacts
from avtomatika.payloads.etags import PartDigest, parts_of
from avtomatika.payloads.feeding import Feeder
from avtomatika.payloads.keys import check_key, check_prefix
from avtomatika.payloads.streams import beside, file_blocks, in_blocks, save, whole

log = logging.getLogger(__name__)

PART_BYTES = 8 * 1024 * 1024
"""What a file is cut into; also what boto3 takes, so that two programs give one file one ETag."""
MAX_PARTS = 10_000  # of S3
# How many parts of one file are on their way at a time: with those of S3_MAX_CONCURRENCY files, what memory holds.
_PARTS_AT_ONCE = 3
_PART_NOTE = "avtomatika-part-bytes"
_PROBE = ".avtomatika/etag-probe"
_TIMEOUT = "1h"  # of one request: a large file on a slow line
_READ_TIMEOUT = "60s"  # without a byte
_RETRIES, _RETRY_SECONDS = 3, 30.0


class S3Payloads:
    """Keeps files in a bucket, which must exist.

    Args:
        endpoint: address of the store, such as ``https://s3.eu-central-1.amazonaws.com``.
        bucket: its name.
        access_key: empty for the credentials that the environment has.
        secret_key: of the access key.
        region: of the bucket.
        max_concurrency: how many transfers wait for the store at a time; further ones wait for their turn.
        part_bytes: what larger files are cut into, at least 5 MiB.
    """

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        access_key: str = "",
        secret_key: str = "",
        *,
        region: str = "us-east-1",
        max_concurrency: int = 100,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._bucket = bucket
        self._endpoint = endpoint
        self._part_bytes = part_bytes
        # Held while the store is waited for, never while a source of blocks or their reader is: one that copies from
        # file to file would wait for itself.
        self._room = asyncio.Semaphore(max_concurrency)
        # Whether the bucket's ETags are digests; those of an encrypted one are not. None until there is a doubt.
        self._digests: bool | None = None

        async def credentials() -> Any:
            return {"access_key_id": access_key, "secret_access_key": secret_key, "token": None, "expires_at": None}

        self._store = S3Store(
            bucket,
            # All that variables of the environment (AWS_...) could otherwise turn elsewhere.
            config={
                "endpoint": endpoint,
                "aws_endpoint_url_s3": endpoint,
                "region": region,
                "virtual_hosted_style_request": False,
                "skip_signature": False,
            },
            client_options={
                "allow_http": urlsplit(endpoint).scheme == "http",
                "timeout": _TIMEOUT,
                "read_timeout": _READ_TIMEOUT,
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": datetime.timedelta(seconds=_RETRY_SECONDS)},
            # A provider, not plain settings: a session token of the environment would be taken for these keys' own.
            credential_provider=credentials if access_key else None,
        )

    def __str__(self) -> str:
        return f"bucket {self._bucket} at {self._endpoint}"

    # --- writing ---

    async def write_file(self, key: str, path: Path) -> FileFacts:
        """Stores a file of this machine."""
        size = (await asyncio.to_thread(path.stat)).st_size
        return await self._write(key, file_blocks(path), size)

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes]) -> FileFacts:
        """Stores what comes, as it comes."""
        return await self._write(key, chunks, 0)

    async def write_bytes(self, key: str, data: bytes) -> FileFacts:
        """Stores a file that is in memory."""
        return await self._write(key, _once(data), len(data))

    async def _write(self, key: str, chunks: AsyncIterable[bytes], size: int) -> FileFacts:
        """Stores what comes.

        Args:
            key: of the file.
            chunks: its content.
            size: what is known of its size, so that it comes in not too many parts; 0 if nothing is.
        """
        check_key(key)
        part = max(self._part_bytes, -(-size // MAX_PARTS))
        blocks = in_blocks(chunks)
        try:
            first = await _take(blocks, part)
            if len(first) < part:
                moved = PartDigest()
                await asyncio.to_thread(moved.update, first)
                async with self._room:
                    with self._answering(key):
                        result = await obstore.put_async(self._store, key, first, use_multipart=False)
            else:
                moved = PartDigest(part)
                result = await self._write_parts(key, part, first, blocks, moved)
        finally:
            await blocks.aclose()
        async with self._room:
            stored = await self._head(key)
        if stored is None:
            raise PayloadNotFoundError(self.uri_of(key))
        self._compare(key, "size", moved.size, stored.size)
        # Not removed: another writer may have been faster, and its file is whole.
        self._compare(key, "etag", _bare(result["e_tag"]), stored.etag)
        try:
            await self._check_digest(key, moved, stored.etag)
        except PayloadMismatchError:
            await self.remove(key)  # nobody shall read what was damaged
            raise
        return stored

    async def _write_parts(
        self, key: str, part: int, first: bytes, blocks: AsyncIterable[bytes], moved: PartDigest
    ) -> obstore.PutResult:
        def send(feed: AsyncIterable[bytes]) -> asyncio.Future[obstore.PutResult]:
            note = {_PART_NOTE: str(part)}
            upload = obstore.put_async(
                self._store, key, feed, attributes=note, chunk_size=part, max_concurrency=_PARTS_AT_ONCE
            )
            return asyncio.ensure_future(upload)

        async with Feeder(send) as feeder, contextlib.aclosing(_chained(first, blocks)) as all_blocks:
            async for block in all_blocks:
                await asyncio.to_thread(moved.update, block)
                if moved.size > part * MAX_PARTS:
                    raise PayloadSizeError(self.uri_of(key), part * MAX_PARTS)
                async with self._room:
                    with self._answering(key):
                        await feeder.feed(block)
            async with self._room:
                with self._answering(key):
                    return cast("obstore.PutResult", await feeder.end())

    # --- reading ---

    async def read_stream(self, key: str) -> AsyncGenerator[bytes, None]:
        """Returns the file in blocks."""
        check_key(key)
        async with self._room:
            with self._answering(key):
                result = await obstore.get_async(self._store, key)
        promised = self._facts(key, result.meta)
        digest = _digest_for(promised, result.attributes)
        blocks = result.stream(BLOCK_BYTES).__aiter__()
        while True:
            async with self._room:
                with self._answering(key):
                    block = await _next(blocks)
            if not block:
                break
            await asyncio.to_thread(digest.update, block)
            yield block
        self._compare(key, "size", promised.size, digest.size)
        await self._check_digest(key, digest, promised.etag)

    async def read_bytes(self, key: str, limit: int | None = None) -> bytes:
        """Returns the whole file."""
        return await whole(self.read_stream(key), self.uri_of(key), limit)

    async def read_file(self, key: str, path: Path) -> FileFacts:
        """Copies the file to a place on this machine."""
        facts = await self.facts(key)
        if facts is None:
            raise PayloadNotFoundError(self.uri_of(key))
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        written = await save(self.read_stream(key), path, beside(path))
        self._compare(key, "size", facts.size, written.st_size)
        return facts

    async def facts(self, key: str) -> FileFacts | None:
        """Returns what is known of the file, or None if there is none."""
        check_key(key)
        async with self._room:
            return await self._head(key)

    async def list(self, prefix: str) -> AsyncIterator[FileFacts]:
        """Returns all files below a folder, ordered by key."""
        async for page in self._pages(prefix):
            for meta in page:
                yield self._facts(meta["path"], meta)

    # --- removing ---

    async def remove(self, key: str) -> None:
        """Removes a file. There may be none."""
        check_key(key)
        async with self._room:
            await self._delete([key])

    async def remove_all(self, prefix: str) -> None:
        """Removes all files below a folder. There may be none."""
        async for page in self._pages(prefix):
            async with self._room:
                await self._delete([meta["path"] for meta in page])

    async def _delete(self, keys: Sequence[str]) -> None:
        with self._answering(keys[0]), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, list(keys))

    # --- addresses ---

    async def upload_url(self, key: str, expires: float) -> str | None:
        """Returns an address to which anybody may PUT the file."""
        return await self._sign("PUT", key, expires)

    async def download_url(self, key: str, expires: float) -> str | None:
        """Returns an address from which anybody may GET the file."""
        return await self._sign("GET", key, expires)

    async def _sign(self, method: Any, key: str, expires: float) -> str:
        check_key(key)
        with self._answering(key):
            return await obstore.sign_async(self._store, method, key, datetime.timedelta(seconds=expires))

    async def local_path(self, key: str) -> Path | None:
        """Returns None: the files are elsewhere."""
        check_key(key)
        return None

    def uri_of(self, key: str) -> str:
        """Returns where the file of a key is."""
        check_key(key)
        return f"s3://{self._bucket}/{key}"

    def key_of(self, uri: str) -> str:
        """Returns the key of a file of this bucket."""
        base = f"s3://{self._bucket}/"
        if not uri.startswith(base):
            raise PayloadNameError(uri, f"does not begin with '{base}', where the files of this engine are")
        key = uri[len(base) :]
        check_key(key)
        return key

    async def close(self) -> None:
        """Does nothing: the connections end with the store."""

    # --- inside ---

    async def _head(self, key: str) -> FileFacts | None:
        with self._answering(key):
            try:
                meta = await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return None
        return self._facts(key, meta)

    async def _pages(self, prefix: str) -> AsyncIterator[Sequence[obstore.ObjectMeta]]:
        """Yields what stands below a folder, at most a thousand at a time: what one removal takes."""
        check_prefix(prefix)
        pages = obstore.list(self._store, prefix, chunk_size=1000).__aiter__()
        while True:
            async with self._room:
                with self._answering(prefix):
                    page = await anext(pages, None)
            if page is None:
                return
            if page:
                yield page

    def _facts(self, key: str, meta: obstore.ObjectMeta) -> FileFacts:
        return FileFacts(f"s3://{self._bucket}/{key}", meta["size"], _bare(meta["e_tag"]))

    def _compare(self, key: str, fact: str, expected: object, found: object) -> None:
        if expected != found:
            raise PayloadMismatchError(self.uri_of(key), fact, expected, found)

    async def _check_digest(self, key: str, moved: PartDigest, etag: str) -> None:
        """Compares what was moved with an ETag, where the bucket's are digests and the parts are known."""
        if isinstance(moved, Uncounted) or self._digests is False or parts_of(etag) is None:
            return
        expected = moved.etag()
        if expected != etag and await self._are_digests():
            raise PayloadMismatchError(self.uri_of(key), "etag", expected, etag)

    async def _are_digests(self) -> bool:
        """Finds out whether ETags of this bucket are digests: an encrypted bucket has others that look the same."""
        if self._digests is None:
            probe = PartDigest()
            probe.update(b"probe")
            with self._answering(_PROBE):
                result = await obstore.put_async(self._store, _PROBE, b"probe", use_multipart=False)
                await obstore.delete_async(self._store, [_PROBE])
            self._digests = _bare(result["e_tag"]) == probe.etag()
            if not self._digests:
                log.info(
                    "ETags of bucket %s are no digests; of files only the size is compared",
                    self._bucket,
                    extra={"action": "etags_without_digest"},
                )
        return self._digests

    @contextlib.contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        """Turns errors of the store's client into ours."""
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise PayloadStoreError(
                    f"s3://{self._bucket}/{key}", f"there is no bucket '{self._bucket}' (S3_DEFAULT_BUCKET)"
                ) from error
            raise PayloadNotFoundError(f"s3://{self._bucket}/{key}") from error
        except (BaseError, OSError, ValueError) as error:
            raise PayloadStoreError(f"s3://{self._bucket}/{key}", _reason(error)) from error


class Uncounted(PartDigest):
    """A digest of a file whose parts nobody knows: only its size counts."""

    def update(self, block: bytes) -> None:
        """Counts the next bytes."""
        self.size += len(block)


def _digest_for(promised: FileFacts, notes: Any) -> PartDigest:
    """Returns what computes the ETag of a file as its writer did."""
    if parts_of(promised.etag) == 0:
        return PartDigest()
    part = notes.get(_PART_NOTE, "")
    if part.isdecimal() and int(part) and -(-promised.size // int(part)) == parts_of(promised.etag):
        return PartDigest(int(part))
    return Uncounted()


async def _take(blocks: AsyncIterator[bytes], size: int) -> bytes:
    """Returns ``size`` bytes or a little more from a stream, or all of it if it has fewer."""
    taken: list[bytes] = []
    count = 0
    while count < size and (block := await anext(blocks, b"")):
        taken.append(block)
        count += len(block)
    return b"".join(taken)


async def _chained(first: bytes, blocks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yields what was taken from a stream already, and then the rest of it."""
    yield first
    async for block in blocks:
        yield block


async def _next(blocks: AsyncIterator[bytes]) -> bytes:
    """Returns the next block, or an empty one after the last."""
    return await anext(blocks, b"")


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _bare(etag: str | None) -> str:
    """Returns an ETag without its quotes."""
    return (etag or "").removeprefix("W/").strip('"')


def _reason(error: Exception) -> str:
    """Returns what the store said, in one line: its client tells much more, for those who debug it."""
    text = str(error)
    code = re.search(r"<Code>([^<]{1,100})</Code>", text)
    line = re.sub(r"https?://\S+", "the store", re.split(r"\n|<\?xml|<Error", text, maxsplit=1)[0]).strip(" :")
    return f"{line[:300]}{f' ({code[1]})' if code else ''}"
