"""``workers.toml``: what it may say, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from avtomatika.errors import ConfigError
from avtomatika.security.tokens import hash_of
from avtomatika.security.workers import WorkerEntry, read_workers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test is."""
    return tmp_path / "workers.toml"


def test_workers_may_be_ids_and_patterns(path: Path) -> None:
    """A section is about one worker, or about all that fit."""
    path.write_text('[gpu-1]\ntoken = "one"\ndescription = "under the desk"\n["cpu-worker-*"]\ntoken = "many"\n')

    gpu, cpus = read_workers(path)

    assert gpu == WorkerEntry("gpu-1", hash_of("one"), "under the desk")
    assert [cpus.covers(name) for name in ("cpu-worker-7", "cpu-worker-", "gpu-1", "my-cpu-worker-7")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("[cpu-worker-*]\ntoken = 'x'", 1, "section names with other characters"),
        ("[w]\ndescription = 'x'", 1, "has no 'token'"),
        ("[w]\ntoken = 'x'\ndescription = 3", 3, "expected a text"),
        ("[w]\ntoken = 'x'\nplan = 'y'", 3, "is unknown. Known: token, description"),
        ("['w/1']\ntoken = 'x'", 1, "is no id of a worker"),
        ("[v]\ntoken = 'x'\n[w]\ntoken = 'x'", 4, "is the same as that of [v]"),
    ],
)
def test_workers_file_that_is_wrong_names_line_and_remedy(path: Path, text: str, line: int, complaint: str) -> None:
    """No half of a file is taken."""
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        read_workers(path)

    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert complaint in str(caught.value)
