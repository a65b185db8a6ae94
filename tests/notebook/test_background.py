"""The event loop in a thread of its own."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from avtomatika.errors import AvtomatikaError
from avtomatika.notebook.background import BackgroundLoop


@pytest.fixture
def background() -> Iterator[BackgroundLoop]:
    """A running loop, stopped when the test ends."""
    loop = BackgroundLoop("test-loop")
    yield loop
    loop.stop()


async def _hang(ended: threading.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


def test_call_returns_what_the_coroutine_returns(background: BackgroundLoop) -> None:
    """The answer crosses from the loop's daemon thread to the caller's."""

    async def where() -> threading.Thread:
        return threading.current_thread()

    thread = background.call(where(), timeout=10)

    assert (thread.name, thread.daemon) == ("test-loop", True)
    assert thread is not threading.current_thread()


def test_call_raises_what_the_coroutine_raises(background: BackgroundLoop) -> None:
    """An error comes to the cell; one that is itself a TimeoutError is not mistaken for the caller's own."""

    async def fail() -> None:
        raise TimeoutError("of the work itself")

    with pytest.raises(TimeoutError, match="of the work itself"):
        background.call(fail())


def test_call_raises_an_error_of_ours_without_the_lines_of_the_engine(background: BackgroundLoop) -> None:
    """Below the cell stands the sentence, not the way on which it came; a defect keeps that way."""

    def refuse() -> None:
        raise OSError("in use")

    async def fail(error: Exception) -> None:
        try:
            refuse()
        except OSError as cause:
            raise error from cause

    with pytest.raises(AvtomatikaError) as ours:
        background.call(fail(AvtomatikaError("a sentence")))
    with pytest.raises(ValueError, match="a defect") as other:
        background.call(fail(ValueError("a defect")))

    assert "fail" not in [entry.name for entry in ours.traceback]
    assert isinstance(ours.value.__cause__, OSError)
    assert ours.value.__cause__.__traceback__ is None
    assert "fail" in [entry.name for entry in other.traceback]


def test_call_that_takes_too_long_cancels_the_work_and_says_what_to_do(background: BackgroundLoop) -> None:
    """Nothing goes on unseen after a timeout, and the sentence leads to the log."""
    ended = threading.Event()

    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 s\. wb\.logs\(\)"):
        background.call(_hang(ended), timeout=0.01)

    assert ended.wait(10)


@pytest.mark.usefixtures("hears_interrupts")
def test_interrupt_ends_the_wait_and_cancels_the_work(
    background: BackgroundLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a cell is heard although the thread waits for another."""
    ended, waits = threading.Event(), threading.Event()
    wait = background.wait

    def tell_and_wait(*arguments: Any) -> bool:
        waits.set()
        return wait(*arguments)

    monkeypatch.setattr(background, "wait", tell_and_wait)

    async def interrupt() -> None:
        # Not before the cell waits: an interrupt between two of its lines is another story.
        await asyncio.to_thread(waits.wait)
        _thread.interrupt_main()
        await _hang(ended)

    with pytest.raises(KeyboardInterrupt):
        background.call(interrupt())

    assert ended.wait(10)


def test_loop_sees_nothing_of_the_context_of_the_cell_that_made_it() -> None:
    """IPython keeps a cell's output streams in context variables; the server must not write there."""
    variable = contextvars.ContextVar("variable", default="empty")
    variable.set("of the cell")

    seen = []

    class Loop(BackgroundLoop):
        def _serve(self) -> None:
            seen.append(variable.get())
            super()._serve()

    Loop("test-loop").stop()

    assert seen == ["empty"]


def test_stopped_loop_refuses_work_in_a_sentence(background: BackgroundLoop) -> None:
    """After the stop every call says so; stopping twice is fine."""
    ended = threading.Event()
    background.stop()
    background.stop()

    with pytest.raises(AvtomatikaError, match=r"is stopped, and its jobs with it\. Workbench\(\) makes a new one"):
        background.call(_hang(ended))

    assert not background.is_running


def test_stop_releases_whoever_waits(background: BackgroundLoop) -> None:
    """A thread that waits for the loop hears of its end instead of waiting for ever."""
    begun, ended, errors = threading.Event(), threading.Event(), []

    async def begin() -> None:
        begun.set()
        await _hang(ended)

    def wait() -> None:
        try:
            background.call(begin())
        except AvtomatikaError as error:
            errors.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(10)
    background.stop()
    thread.join(10)

    assert ended.is_set()
    assert errors == ["the workbench was stopped meanwhile. Workbench() makes a new one."]


def test_loop_refuses_to_wait_for_itself(background: BackgroundLoop) -> None:
    """An async handler that calls the workbench gets an error instead of hanging the engine."""

    async def wait_for_itself() -> None:
        background.call(asyncio.sleep(0))

    async def stop_itself() -> None:
        background.stop()

    for work in (wait_for_itself, stop_itself):
        with pytest.raises(AvtomatikaError, match="cannot wait for the workbench"):
            background.call(work(), timeout=10)

    assert background.is_running


def test_error_that_nobody_waits_for_is_logged_not_printed(
    background: BackgroundLoop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """The thread never writes between the cells, not even what asyncio would."""

    async def stray() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, "avtomatika"):
        background.call(stray())

    assert [record.name for record in caplog.records] == ["avtomatika.notebook.background"]  # not asyncio's
    assert "ZeroDivisionError" in caplog.text
    assert capfd.readouterr() == ("", "")
