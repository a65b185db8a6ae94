"""The example worker_process: three programs that talk over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .programs import Example

pytestmark = pytest.mark.acceptance


def test_text_is_counted_by_the_worker_process(example: Callable[[str], Example]) -> None:
    """The client gets the answer that the README shows, and both programs stop in good order."""
    texts = example("worker_process")
    engine = texts.serve("avtomatika run")
    worker = texts.start("avtomatika.worker")

    printed = texts.run("submit.py", stdin="one two\nthree\n")

    assert printed == "finished {'words': 3, 'workers': ['ada']}\n"
    assert f"`{printed.strip()}`" in texts.readme
    assert (worker.stop(), engine.stop()) == (0, 0)
