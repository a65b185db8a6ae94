"""The programs of a release: what cannot be installed is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.tools import MissingToolError, find


def test_program_that_cannot_be_installed_is_told_with_pips_reason(tmp_path: Path) -> None:
    """No network, or a version that does not exist."""
    wanted = tmp_path / "requirements.txt"
    wanted.write_text(f"{tmp_path / 'no-such.whl'}\n")

    with pytest.raises(MissingToolError, match=r"pip-audit cannot be installed: .*no-such\.whl"):
        find("pip-audit", tmp_path / "home", wanted)


def test_program_that_is_there_is_not_installed_again(tmp_path: Path) -> None:
    """As long as the same versions are required."""
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("# nothing\n")

    first = find("pip-audit", tmp_path / "home", wanted)
    (tmp_path / "home" / "kept").touch()
    second = find("pip-audit", tmp_path / "home", wanted)

    assert first == second == tmp_path / "home" / "bin" / "pip-audit"
    assert (tmp_path / "home" / "kept").exists()
