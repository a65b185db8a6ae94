"""The event loop of a program."""

from __future__ import annotations

import asyncio

import pytest

from avtomatika import loops


def test_run_uses_the_faster_loop_where_it_is_installed() -> None:
    """A program gets uvloop's loop, a new one each time, and its result."""
    uvloop = pytest.importorskip("uvloop", reason="the extra 'speed' is not installed")

    async def main() -> type:
        return type(asyncio.get_running_loop())

    assert loops.run(main()) is loops.run(main()) is uvloop.Loop


async def test_run_inside_a_running_loop_is_refused() -> None:
    """Two loops in one thread are one too many."""
    main = asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="running event loop"):
        loops.run(main)

    main.close()
