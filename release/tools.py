"""The programs that a release is made with, in an environment of their own (``.venvs/release``), made when needed."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_HOME = Path(__file__).parents[1] / ".venvs" / "release"


class MissingToolError(Exception):
    """A program is not here and cannot be installed; most often there is no network."""


def find(name: str, home: Path = _HOME, requirements: Path = _REQUIREMENTS) -> Path:
    """Returns the path of a program, installed now unless it is there already in the version that is required.

    Args:
        name: of the program.
        home: folder of the environment.
        requirements: what to install.

    Raises:
        MissingToolError: pip cannot install it; the message has pip's last line.
    """
    wanted, installed = requirements.read_text(encoding="utf-8"), home / "installed.txt"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        venv.create(home, clear=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "install", "--quiet", "-r", str(requirements)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise MissingToolError(f"{name} cannot be installed: {reason}")
        installed.write_text(wanted, encoding="utf-8")
    return home / "bin" / name
