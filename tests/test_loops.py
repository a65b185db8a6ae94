"""The event loop of a program."""

from __future__ import annotations

import asyncio
import gc

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


def test_collections_are_rare_only_inside_the_block() -> None:
    """A process that has served is left as it was: nothing is kept from Python's collector."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()

    with loops.rare_collections():
        assert gc.get_threshold()[0] > thresholds[0]
        assert gc.get_freeze_count() > frozen

    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
