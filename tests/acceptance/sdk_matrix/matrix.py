"""Tries all promises with several releases at the same time, against one engine."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any

from . import environments
from .field import PATIENCE, Field, Seat
from .promises import FAREWELLS, PROMISES, RESTARTS, SECURE, TOGETHER, Impossible
from .releases import Release
from .secure_field import SecureField

KEPT, IMPOSSIBLE, BROKEN = "✓", "-", "✗"


class Matrix:
    """What came of each promise for each release.

    Args:
        releases: which.
    """

    def __init__(self, releases: Sequence[Release]) -> None:
        self.releases = tuple(releases)
        self.marks: dict[tuple[Release, str], str] = {}
        self.faults: list[str] = []

    def note(self, release: Release, promise: str, error: BaseException | None) -> None:
        """Writes down how it went; a promise that is tried in parts stays broken once it was."""
        if isinstance(error, Impossible):
            self.marks[release, promise] = IMPOSSIBLE
        elif error is not None:
            self.marks[release, promise] = BROKEN
            told = "".join(traceback.format_exception(error))
            self.faults.append(f"=== {release.name}: {promise}\n{told}")
        else:
            self.marks.setdefault((release, promise), KEPT)

    def is_broken(self, release: Release, promise: str) -> bool:
        """Whether there is no use in going on."""
        return self.marks.get((release, promise)) == BROKEN

    def join(self, other: Matrix) -> None:
        """Takes in what came of other releases."""
        self.releases += other.releases
        self.marks |= other.marks
        self.faults += other.faults

    def table(self) -> str:
        """Returns a table in Markdown: a line for each release."""
        rows = [["release", "generation", *PROMISES]]
        for release in sorted(self.releases):
            marks = [self.marks.get((release, promise), "") for promise in PROMISES]
            rows.append([f"`{release.name}`", release.generation, *marks])
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        return "\n".join(lines) + "\n"


async def try_releases(releases: Sequence[Release], home: Path) -> Matrix:
    """Tries every promise with every release; what goes wrong stands in the matrix.

    Args:
        releases: which; all of them run at the same time.
        home: directory for logs and files.
    """
    pythons = await asyncio.to_thread(environments.interpreters, [release.name for release in releases])
    matrix, field = Matrix(releases), Field(home)
    async with contextlib.aclosing(field):
        await field.start()
        seats = [field.seat(release, python) for release, python in zip(releases, pythons, strict=True)]
        for name, promise in TOGETHER.items():
            await asyncio.gather(*(_try(matrix, seat, name, promise(field, seat)) for seat in seats))
        await _try_secure(matrix, seats, home / "tls")
        for name, parts in RESTARTS.items():
            await _try_restart(matrix, field, seats, name, {seat.name: parts(field, seat) for seat in seats})
        for name, promise in FAREWELLS.items():
            await asyncio.gather(*(_try(matrix, seat, name, promise(field, seat)) for seat in seats))
        if field.records.odd:
            matrix.faults.append(f"=== answers that old workers take badly: {sorted(set(field.records.odd))}\n")
        if matrix.faults:
            matrix.faults += [f"--- log of {worker.worker_id}\n{worker.log[-4000:]}" for worker in field.workers]
    return matrix


async def _try_secure(matrix: Matrix, seats: Sequence[Seat], home: Path) -> None:
    """Tries what needs an engine that speaks TLS."""
    field = SecureField(home)
    async with contextlib.aclosing(field):
        await field.start()
        for name, promise in SECURE.items():
            await asyncio.gather(*(_try(matrix, seat, name, promise(field, seat)) for seat in seats))
        if matrix.faults:
            matrix.faults += [f"--- log of {worker.worker_id}\n{worker.log[-2000:]}" for worker in field.workers]


async def _try(matrix: Matrix, seat: Seat, name: str, promise: Awaitable[Any]) -> None:
    try:
        async with asyncio.timeout(3 * PATIENCE):
            await promise
    except Exception as error:
        matrix.note(seat.release, name, error)
    else:
        matrix.note(seat.release, name, None)


async def _try_restart(
    matrix: Matrix, field: Field, seats: Sequence[Seat], name: str, running: dict[str, AsyncIterator[None]]
) -> None:
    """Takes all promises to the point where the engine stops, stops it, takes them on, and starts it again."""

    async def go_on(is_last: bool = False) -> None:
        await asyncio.gather(
            *(
                _try(matrix, seat, name, _next(running[seat.name], is_last))
                for seat in seats
                if not matrix.is_broken(seat.release, name)
            )
        )

    await go_on()
    await field.stop()
    if name == list(RESTARTS)[-1]:
        field.forget()
    await go_on()
    await field.start()
    await go_on(is_last=True)


async def _next(parts: AsyncIterator[None], is_last: bool) -> None:
    """Takes one part of a promise."""
    try:
        await anext(parts)
    except StopAsyncIteration:
        if not is_last:
            raise
