"""The wheel: what it says, what it carries, and that it works where nothing else is installed."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

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


@pytest.fixture(scope="module")
def project(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, made by the command."""
    folder = tmp_path_factory.mktemp("projects")
    assert "wrote" in call(installed, folder, "avtomatika", "init", "words")
    return folder / "words"


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Programs that end with the test."""
    started: list[Program] = []
    yield started
    for program in started:
        program.kill()
        print(program.output)


def test_commands_work_where_only_the_wheel_is_installed(installed: Path, project: Path) -> None:
    """As after ``pipx install avtomatika``: help, and the check of a new project."""
    assert "Durable asynchronous workflows" in call(installed, project, "avtomatika", "--help")
    assert "ok: 1 blueprint" in call(installed, project, "avtomatika", "check", "engine:engine")


def test_new_project_runs_where_only_the_wheel_is_installed(
    installed: Path, project: Path, programs: list[Program]
) -> None:
    """Engine and worker without any extra do a job; the page of the API has its script."""
    programs.append(
        Program([str(installed.parent / "avtomatika"), "run", "engine:engine", "--port", "0"], project, around())
    )
    url = programs[0].says(r"the engine serves at (http://[\d.:]+)")[1]
    worker = [str(installed), "-m", "avtomatika.worker", "worker:worker", "--url", url]
    programs.append(Program(worker, project, around()))

    client = Client(url, DEFAULT_CLIENT_TOKEN)
    job = client.wait(client.submit("/words", {"text": "good morning"}), timeout=60)
    with urlopen(f"{url}/_public/docs/swagger-ui-bundle.js") as script:
        size = len(script.read())

    assert job["status"] == "finished", job
    assert size > 500_000
    assert [program.stop() for program in programs] == [0, 0]


@pytest.mark.parametrize(
    ("settings", "extras"),
    [
        (
            {
                "STORAGE_URI": "redis://127.0.0.1:6379",
                "HISTORY_DATABASE_URI": "postgresql://me@127.0.0.1/history",
            },
            {"redis", "history"},
        ),
        (
            {
                "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "S3_ENDPOINT_URL": "http://127.0.0.1:9000",
                "S3_ACCESS_KEY": "me",
                "S3_SECRET_KEY": "secret",
            },
            {"webhooks", "s3"},
        ),
    ],
)
def test_extra_that_is_missing_is_named_once(
    installed: Path, tmp_path: Path, settings: dict[str, str], extras: set[str]
) -> None:
    """Without the extra, the check of a setting that needs it says what installs it."""
    done = subprocess.run(
        [str(installed.parent / "avtomatika"), "check"],
        check=False,
        cwd=tmp_path,
        env={**around(), **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 2
    assert sorted(re.findall(r"avtomatika\[(\w+)\]", done.stderr)) == sorted(extras)
