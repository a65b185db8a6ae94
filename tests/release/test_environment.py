"""The environment of a release: what a wheel requires, followed to the end."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from release.environment import closure, requirements

METADATA = """\
Metadata-Version: 2.4
Name: parcels
Version: 1.0
Provides-Extra: all
Provides-Extra: fast
Requires-Dist: aiohttp>=3
Requires-Dist: nothing-at-all; python_version < "3"
Requires-Dist: uvloop>=0.2; extra == "fast"
Requires-Dist: parcels[fast]; extra == "all"
"""


@pytest.fixture
def parcels(tmp_path: Path) -> Path:
    """A wheel that says what it requires."""
    wheel = tmp_path / "parcels-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("parcels-1.0.dist-info/METADATA", METADATA)
    return wheel


@pytest.mark.parametrize(
    ("extras", "wanted"), [([], ["aiohttp"]), (["fast"], ["aiohttp", "uvloop"]), (["all"], ["aiohttp", "uvloop"])]
)
def test_requirements_are_those_of_this_machine_and_of_the_extras(
    parcels: Path, extras: list[str], wanted: list[str]
) -> None:
    """Other machines' are left out, and an extra that stands for others leads to theirs."""
    assert sorted(one.name for one in requirements(parcels, extras)) == wanted


def test_closure_follows_requirements_of_requirements() -> None:
    """A package brings its own, and these bring theirs; pytest is installed here, but nobody asked for it."""
    names = {package.name for package in closure([Requirement("aiohttp")])}

    assert {"aiohttp", "yarl", "idna"} <= names
    assert "pytest" not in names


def test_closure_names_what_is_not_installed() -> None:
    """A sentence, not a traceback."""
    with pytest.raises(SystemExit, match="nothing-at-all>=2 is required, but not installed here"):
        closure([Requirement("nothing-at-all>=2")])
