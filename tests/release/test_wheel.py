"""The wheel: what it says, what it carries, and that it works where nothing else is installed."""

from __future__ import annotations

import os
import subprocess
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from avtomatika import __version__
from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from tests.examples.programs import Program

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Metadata:
    """What the wheel says of itself, checked as the index checks it."""
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(file.read(name), validate=True)


def around() -> dict[str, str]:
    """Returns an environment in which nothing leads to the sources."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SYSTEMROOT", "TMPDIR") if name in os.environ}


def call(python: Path, folder: Path, program: str, *arguments: str) -> str:
    """Returns what a program of the environment prints."""
    command = [str(python.parent / program), *arguments]
    done = subprocess.run(command, check=False, cwd=folder, env=around(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_metadata_are_those_of_the_project(metadata: Metadata) -> None:
    """Name, version, Python, license, extras and every requirement; nothing is added or forgotten on the way."""

    def written(lines: Iterable[object]) -> set[tuple[str, str, str]]:
        """Names as the index compares them, for "backports.zstd" and "backports-zstd" are one."""
        found = (Requirement(str(line)) for line in lines)
        return {(canonicalize_name(one.name), str(one.specifier), str(one.marker)) for one in found}

    requires = metadata.requires_dist or []
    assert (metadata.name, str(metadata.version)) == ("avtomatika", __version__)
    assert str(metadata.requires_python) == PROJECT["requires-python"]
    assert (str(metadata.license_expression), metadata.license_files) == ("MIT", ["LICENSE"])
    assert set(metadata.provides_extra or ()) == set(PROJECT["optional-dependencies"])
    assert written(one for one in requires if "extra ==" not in str(one)) == written(PROJECT["dependencies"])
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    for extra, lines in extras.items():
        of_extra = [one for one in requires if f'extra == "{extra}"' in str(one)]
        assert {name for name, _, _ in written(of_extra)} == {
            name
            for line in lines
            for one in [Requirement(line)]  # "all" stands for others, which the build writes out
            for name, _, _ in written(
                [line] if one.name != "avtomatika" else [other for part in one.extras for other in extras[part]]
            )
        }
    assert (metadata.description or "").startswith("# avtomatika")


def test_wheel_carries_all_files_of_the_packages_and_no_others(wheel: Path) -> None:
    """Modules, SQL, Lua, pages, scripts, models of new projects, marks of types; no tests and no caches."""
    packages = {"avtomatika": ROOT / "avtomatika", "avtomatika_widgets": ROOT / "widgets" / "avtomatika_widgets"}
    wanted = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in packages.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    with zipfile.ZipFile(wheel) as file:
        carried = {name for name in file.namelist() if ".dist-info/" not in name}

    assert carried == wanted
    for kind in (
        "server/static/swagger-ui-bundle.js",
        "py.typed",
        "storage/lua/commit.lua",
        "new_project/engine.py.txt",
    ):
        assert f"avtomatika/{kind}" in carried
    assert {Path(name).suffix for name in carried} >= {".sql", ".lua", ".js", ".css", ".html", ".ipynb", ".toml"}


def test_commands_work_where_only_the_wheel_is_installed(installed: Path, tmp_path: Path) -> None:
    """As after ``pipx install avtomatika``: help, version, a new project, a check of it."""
    assert "avtomatika" in call(installed, tmp_path, "avtomatika", "--help")
    assert call(installed, tmp_path, "avtomatika", "version").strip() == __version__
    assert "wrote" in call(installed, tmp_path, "avtomatika", "init", "words")
    call(installed, tmp_path / "words", "avtomatika", "check", "engine:engine")


@pytest.fixture
def project(installed: Path, tmp_path: Path) -> Iterator[tuple[Path, list[Program]]]:
    """A new project, and the programs that run in it; they end with the test."""
    call(installed, tmp_path, "avtomatika", "init", "words")
    programs: list[Program] = []
    yield tmp_path / "words", programs
    for program in programs:
        program.kill()
        print(program.output)


def test_new_project_runs_where_only_the_wheel_is_installed(
    installed: Path, project: tuple[Path, list[Program]]
) -> None:
    """Engine and worker without any extra do a job; the page of the API has its script."""
    folder, programs = project
    programs.append(
        Program([str(installed.parent / "avtomatika"), "run", "engine:engine", "--port", "0"], folder, around())
    )
    url = programs[0].says(r"the engine serves at (http://[\d.:]+)")[1]
    worker = [str(installed), "-m", "avtomatika.worker", "worker:worker", "--url", url]
    programs.append(Program(worker, folder, around()))

    client = Client(url, DEFAULT_CLIENT_TOKEN)
    job = client.wait(client.submit("/words", {"text": "good morning"}), timeout=60)

    assert job["status"] == "finished", job
    assert [program.stop() for program in programs] == [0, 0]


@pytest.mark.parametrize(
    ("setting", "value", "extra"),
    [
        ("STORAGE_URI", "redis://127.0.0.1:6379", "redis"),
        ("HISTORY_DATABASE_URI", "postgresql://me@127.0.0.1/history", "history"),
        ("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "webhooks"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:9000", "s3"),
    ],
)
def test_extra_that_is_missing_is_named_once(
    installed: Path, tmp_path: Path, setting: str, value: str, extra: str
) -> None:
    """Without the extra, the check of a setting that needs it says what installs it."""
    command = [str(installed.parent / "avtomatika"), "check"]
    done = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        env={**around(), setting: value, "S3_ACCESS_KEY": "me", "S3_SECRET_KEY": "secret"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.count(f"avtomatika[{extra}]") == 1
