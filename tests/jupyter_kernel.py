"""A Jupyter kernel of the tests' own, in a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def keep_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Jupyter and IPython write into this folder alone."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # jupyter_core asks every program to say so
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))


@contextmanager
def started(folder: Path) -> Iterator[tuple[Any, Any]]:
    """Gives the manager and the client of a kernel that runs in a folder, reached through the file system."""
    manager_module = pytest.importorskip("jupyter_client.manager")
    manager = manager_module.KernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "k"))
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()
