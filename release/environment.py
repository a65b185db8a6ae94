"""An environment with a wheel and what it requires, nothing else, made of the packages that are installed here.

    python -m release.environment dist/avtomatika-1.0.0-py3-none-any.whl build/environment [--extra all]

Nothing is downloaded: packages are linked from the environment of the interpreter that runs this. So it takes two
seconds, works without a network, and shows what the wheel, or its list of requirements, lacks.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def requirements(wheel: Path, extras: Iterable[str] = ()) -> list[Requirement]:
    """Returns what a wheel says that it requires here, with these extras."""
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        raw, _ = parse_email(file.read(name))
    own, lines = canonicalize_name(raw["name"]), raw.get("requires_dist", [])
    found: list[Requirement] = []
    waiting = ["", *extras]
    for extra in waiting:
        for one in _applicable(lines, extra):
            if canonicalize_name(one.name) == own:  # an extra such as "all", which stands for others
                waiting += sorted(one.extras - set(waiting))
            else:
                found.append(one)
    return found


def _applicable(lines: Iterable[str], extra: str) -> Iterator[Requirement]:
    """Yields the requirements that hold on this machine: those of an extra, or those without one."""
    for one in map(Requirement, lines):
        holds = one.marker is None or one.marker.evaluate({"extra": extra})
        if holds and (not extra or not (one.marker is None or one.marker.evaluate({"extra": ""}))):
            yield one


def closure(wanted: Iterable[Requirement]) -> list[Distribution]:
    """Returns the installed packages that these requirements need, and those that they need in turn, by name.

    Raises:
        SystemExit: one is not installed here.
    """
    waiting, done, found = list(wanted), set(), {}
    while waiting:
        one = waiting.pop()
        for extra in ("", *sorted(one.extras)):
            key = (canonicalize_name(one.name), extra)
            if key in done:
                continue
            done.add(key)
            try:
                package = found[key[0]] = distribution(one.name)
            except PackageNotFoundError:
                raise SystemExit(f"{one} is required, but not installed here; run: make check") from None
            waiting += _applicable(package.requires or [], extra)
    return [found[name] for name in sorted(found)]


def make(folder: Path, wheel: Path, extras: Iterable[str] = (), also: Iterable[str] = ()) -> Path:
    """Makes the environment and returns its interpreter.

    Args:
        folder: one that is not there yet.
        wheel: what is installed.
        extras: of the wheel.
        also: further packages, such as ``vega_datasets``.

    Raises:
        subprocess.CalledProcessError: the wheel cannot be installed, or its requirements are not met.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for package in closure([*requirements(wheel, extras), *map(Requirement, also)]):
        _link(package, packages)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True)
    return python


def _link(package: Distribution, packages: Path) -> None:
    """Links what a package has installed; folders that several packages share are made, and their members linked."""
    for file in package.files or []:
        if file.parts[0] == ".." or "__pycache__" in file.parts:
            continue  # a script, which the environment need not have
        depth = 1
        while depth < len(file.parts) and _is_shared(package, file.parts[:depth]):
            depth += 1
        target = packages.joinpath(*file.parts[:depth])
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            target.symlink_to(Path(str(package.locate_file(Path(*file.parts[:depth])))))


def _is_shared(package: Distribution, parts: tuple[str, ...]) -> bool:
    """Whether a folder is a namespace: without a module of its own, others may install into it."""
    folder = Path(str(package.locate_file(Path(*parts))))
    return folder.is_dir() and folder.suffix != ".dist-info" and not (folder / "__init__.py").exists()


def main() -> None:
    """Makes an environment and prints the path of its interpreter."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--extra", action="append", default=[])
    options = parser.parse_args()
    print(make(options.folder, options.wheel, options.extra))


if __name__ == "__main__":
    main()
