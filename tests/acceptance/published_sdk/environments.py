"""Makes a virtual environment with one release of the published worker SDK, once; a program, so CI can run it ahead.

Usage: ``python environments.py RELEASE...`` prints the path of each environment's interpreter. The environments are
kept in the directory that ``AVTOMATIKA_TEST_VENVS`` names, by default ``.venvs`` in the checkout.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import venv
from pathlib import Path

PACKAGE = "avtomatika-worker"


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
            venv.create(home, clear=True, with_pip=True)
            # No --pre: the release is named exactly, and its dependencies shall be final releases.
            install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{PACKAGE}=={release}"]
            subprocess.run([python, *install], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            finished.write_text(release, encoding="utf-8")
    return python


def main(releases: list[str]) -> int:
    """Prints the interpreters of the releases; returns the exit code."""
    for release in releases:
        try:
            sys.stdout.write(f"{interpreter(release)}\n")
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{PACKAGE} {release} could not be installed (pip ended with {error.returncode}).\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
