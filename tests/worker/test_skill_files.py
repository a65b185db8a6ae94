"""Tasks in files of a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from avtomatika.errors import ConfigError
from avtomatika.worker import Worker
from avtomatika.worker.testing import TaskHarness

GOOD = """
from avtomatika.worker import task

@task
def {name}(n: int) -> int:
    return n + 1

def helper() -> None: ...
"""


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test may import what it likes."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files of tasks."""
    place = tmp_path / "skills"
    place.mkdir()
    (place / "skill_one.py").write_text(GOOD.format(name="one"))
    (place / "skill_two.py").write_text("from skill_one import one\n" + GOOD.format(name="two"))
    return place


async def test_marked_functions_become_tasks_once(folder: Path) -> None:
    """In the order of the files; what a file imports belongs to where it is from."""
    worker = Worker()

    added = worker.load_skills(folder), worker.load_skills(folder)

    assert added == (("one", "two"), ())
    assert (await TaskHarness(worker).run("two", {"n": 1})).data == 2


async def test_named_folder_is_loaded_at_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the tasks of the code."""
    monkeypatch.setenv("WORKER_SKILLS_DIR", str(folder))
    worker = Worker(url="http://127.0.0.1:9", retry_initial=60)
    worker.add_task(lambda: None, "own")

    async with worker:
        names = worker.task_names

    assert names == ("own", "one", "two")


async def test_default_folder_is_for_programs_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside an application, a folder that happens to be called so is not run."""
    monkeypatch.chdir(folder.parent)
    worker = Worker()

    with pytest.raises(ConfigError, match="WORKER_SKILLS_DIR"):
        await worker.start()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("json", "", "has the name of another module, 'json'. Rename the file"),
        ("skill_bad", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("skill_odd", GOOD.format(name="odd").replace("@task", "@task(speed=9)"), "speed"),
        ("skill_two", GOOD.format(name="one"), "task 'one' is defined twice"),
    ],
)
def test_file_that_cannot_be_taken_is_named(folder: Path, name: str, text: str, message: str) -> None:
    """With what is wrong."""
    (folder / f"{name}.py").write_text(text)

    with pytest.raises(ConfigError, match=message) as caught:
        Worker().load_skills(folder)

    assert f"{name}.py" in str(caught.value)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """A slip in its name must not go unseen."""
    with pytest.raises(ConfigError, match="no folder of skills"):
        Worker().load_skills(tmp_path / "skils")
