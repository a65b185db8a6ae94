"""What the tests of a release share."""

from __future__ import annotations

from pathlib import Path

import pytest

from release import environment


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it requires without any extra, and nothing else."""
    return environment.make(tmp_path_factory.mktemp("installed") / "base", wheel)
