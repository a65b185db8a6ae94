"""Finding the object that ``module:name`` means."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from avtomatika.errors import ConfigError
from avtomatika.loading import load_object
from avtomatika.worker import Worker


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:worker", "there is no module 'no_such_module' here"),
        ("good.py", "'good.py' is a file; name the module: good:worker"),
        ("needy:worker", "module 'needy' needs 'not_installed_anywhere', which is not installed"),
        ("broken:worker", "module 'broken' cannot be imported: ZeroDivisionError: division by zero"),
        ("good:wroker", "worker 'wroker' was expected in module 'good', which does not have it; its workers: worker."),
        ("good:other", "which has a int under that name"),
        ("two", "module 'two' has these workers: a, b. Name one: two:NAME"),
    ],
)
def test_target_that_is_no_worker_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    """Every mistake in the name of the worker has its own sentence."""
    (tmp_path / "needy.py").write_text("import not_installed_anywhere")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "good.py").write_text("from avtomatika.worker import Worker\nworker = Worker('w')\nother = 3")
    (tmp_path / "two.py").write_text("from avtomatika.worker import Worker\na = Worker('a')\nb = Worker('b')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("needy", "broken", "good", "two"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(ConfigError) as caught:
        load_object(target, Worker, "worker")

    assert message in str(caught.value)


def test_target_without_a_name_means_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with one worker need not be told which."""
    (tmp_path / "single.py").write_text("from avtomatika.worker import Worker\nworker = Worker('w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "single", raising=False)

    assert load_object("single", Worker, "worker").settings.worker_id == "w"
