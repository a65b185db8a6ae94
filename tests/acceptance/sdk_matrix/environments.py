"""Makes virtual environments, each with one release of the published worker SDK, once; also a program.

Usage: ``python environments.py RELEASE...`` prints the path of each environment's interpreter. The environments are
kept in the directory that ``AVTOMATIKA_TEST_VENVS`` names, by default ``.venvs`` in the checkout.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE = "avtomatika-worker"
_AT_ONCE = 3  # pip waits for the network half of its time


def directory() -> Path:
    """Returns where the environments are kept."""
    return Path(os.environ.get("AVTOMATIKA_TEST_VENVS") or Path(__file__).parents[3] / ".venvs")


def interpreter(release: str) -> Path:
    """Returns the interpreter of the release's environment, made now unless it is there already.

    Raises:
        subprocess.CalledProcessError: pip could not install the release.
    """
    home = directory() / f"{PACKAGE}-{release}"
    python, finished = home / "bin" / "python", home / "installed.txt"
    home.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{home}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once must not install into each other
        if not finished.exists():
            # The pip of this environment installs into that one: a pip of its own would take longer than the rest.
            venv.create(home, clear=True, with_pip=False)
            # No --pre: the release is named exactly, and its dependencies shall be final releases.
            install = ["install", "--quiet", "--disable-pip-version-check", f"{PACKAGE}=={release}"]
            command = [sys.executable, "-m", "pip", "--python", str(python), *install]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            finished.write_text(release, encoding="utf-8")
    return python


def interpreters(releases: Iterable[str]) -> list[Path]:
    """Returns the interpreters of several releases; what is missing is installed side by side.

    Raises:
        subprocess.CalledProcessError: pip could not install one of them.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(interpreter, releases))


def main(releases: list[str]) -> int:
    """Prints the interpreters of the releases; returns the exit code."""
    try:
        sys.stdout.writelines(f"{python}\n" for python in interpreters(releases))
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{PACKAGE} could not be installed: {error}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
