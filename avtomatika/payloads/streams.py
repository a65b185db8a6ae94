"""Streams of bytes between files and stores: a few blocks in memory, all file work in threads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterable
from pathlib import Path

from avtomatika.errors import PayloadSizeError
from avtomatika.payloads.base import BLOCK_BYTES

ASIDE = ".partial-"
"""What the name of a file has before its end while it is written, beside its place."""


async def in_blocks(chunks: AsyncIterable[bytes], size: int = BLOCK_BYTES) -> AsyncGenerator[bytes, None]:
    """Joins small chunks, so that nothing is done for each of them: at least ``size`` bytes, but for the last."""
    held: list[bytes] = []
    count = 0
    async for chunk in chunks:
        if not chunk:
            continue
        held.append(bytes(chunk))
        count += len(chunk)
        if count >= size:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, count = [], 0
    if held:
        yield b"".join(held)


async def file_blocks(path: Path, size: int = BLOCK_BYTES) -> AsyncGenerator[bytes, None]:
    """Reads a file.

    Raises:
        OSError: it cannot be read.
    """
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, size):
            yield block
    finally:
        file.close()


async def whole(blocks: AsyncGenerator[bytes, None], uri: str, limit: int | None) -> bytes:
    """Returns all of a file, and closes its stream.

    Args:
        blocks: of the file.
        uri: where it is, for the message.
        limit: the most bytes it may have; None for any number.

    Raises:
        PayloadSizeError: it has more; no more than that is read.
    """
    kept, size = [], 0
    async with contextlib.aclosing(blocks) as stream:
        async for block in stream:
            size += len(block)
            if limit is not None and size > limit:
                raise PayloadSizeError(uri, limit)
            kept.append(block)
    return b"".join(kept)


async def save(chunks: AsyncIterable[bytes], path: Path, aside: Path) -> os.stat_result:
    """Writes a file aside and puts it into its place when all of it is on the disk.

    Args:
        chunks: what the file holds; an error of theirs passes through, and nothing is left.
        path: its place; folders on the way are made.
        aside: where it is written meanwhile, on the same file system; its folder exists.

    Returns:
        What the system knows of the file in its place.

    Raises:
        OSError: it cannot be written.
    """
    try:
        file = await asyncio.to_thread(aside.open, "xb", buffering=0)
        try:
            async for block in in_blocks(chunks):
                await asyncio.to_thread(_write_all, file.fileno(), block)
            await asyncio.to_thread(os.fsync, file.fileno())
            # Coarse clocks of file systems give two writes in a row one moment, and then one ETag.
            os.utime(aside)
            stat = os.fstat(file.fileno())
        finally:
            file.close()
        await asyncio.to_thread(_put_in_place, aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)  # noqa: ASYNC240 - at once, or a cancelled task would leave it
        raise
    return stat


def beside(path: Path) -> Path:
    """Returns where a file is written before it takes its place: in the same folder."""
    return path.with_name(f"{path.name[:200]}{ASIDE}{secrets.token_hex(8)}")


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _put_in_place(aside: Path, path: Path) -> None:
    for left in range(10, -1, -1):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.replace(path)
            break
        except FileNotFoundError:  # the last file of the folder was removed, and the folder with it
            if not left:
                raise
    if os.name == "posix":  # elsewhere folders cannot be opened
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile, with the file
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
