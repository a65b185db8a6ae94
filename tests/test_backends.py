"""Which backend the settings name: stores of files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from avtomatika.backends import make_payloads, make_storage, offload_bytes
from avtomatika.clock import SystemClock
from avtomatika.config import Config
from avtomatika.errors import ConfigError

S3 = {"S3_ENDPOINT_URL": "https://s3.example.org/", "S3_ACCESS_KEY": "AKEXAMPLE", "S3_SECRET_KEY": "planted-secret"}


def place(**settings: Any) -> str:
    """Returns where files would be with these settings."""
    config = Config.plain(**settings)
    return str(make_payloads(config, make_storage(config, SystemClock())))


def test_files_last_as_long_as_the_jobs_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings of their own, files are where the jobs are; nothing is made before it is needed."""
    monkeypatch.chdir(tmp_path)

    assert place() == "a temporary directory, which ends with the engine"
    assert place(STORAGE_URI=f"sqlite:{tmp_path}/jobs.db") == f"directory {tmp_path}/jobs.db-files"
    assert place(STORAGE_URI="redis://127.0.0.1:1/0") == f"directory {tmp_path}/avtomatika-files"
    assert place(TASK_FILES_DIR=str(tmp_path / "x")) == f"directory {tmp_path}/x"
    assert place(TASK_FILES_DIR="x", **S3) == "bucket avtomatika-payloads at https://s3.example.org"
    assert list(tmp_path.iterdir()) == []


async def test_directory_that_only_one_machine_sees_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Engines share a Redis across machines, but not a directory: whoever has files hears of it, others do not."""
    monkeypatch.chdir(tmp_path)
    config = Config.plain(STORAGE_URI="redis://127.0.0.1:1/0")

    store = make_payloads(config, make_storage(config, SystemClock()))
    assert not caplog.records
    for name in ("a", "b"):
        await store.write_bytes(f"jobs/j1/{name}", b"x")

    assert [record.action for record in caplog.records] == ["files_of_this_machine"]
    assert "TASK_FILES_DIR" in caplog.text


@pytest.mark.parametrize("missing", ["S3_ACCESS_KEY", "S3_SECRET_KEY"])
def test_half_of_the_credentials_is_an_error(missing: str) -> None:
    """The error names the half that is missing, and not what the other one is."""
    with pytest.raises(ConfigError, match=missing) as caught:
        place(**{**S3, missing: ""})
    assert "planted-secret" not in str(caught.value)
    assert place(**{**S3, "S3_ACCESS_KEY": "", "S3_SECRET_KEY": ""})


def test_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a store without the package for it hears which extra brings it."""
    monkeypatch.delitem(sys.modules, "avtomatika.payloads.s3", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(ConfigError, match=r"pip install 'avtomatika\[s3\]'"):
        place(**S3)


def test_secrets_of_the_store_are_never_shown() -> None:
    """Neither a look at the settings nor at the store shows a key; nor does an error about one."""
    config = Config.plain(**S3)

    shown = f"{config!r} {config} {make_payloads(config, make_storage(config, SystemClock()))!r}"

    assert "planted-secret" not in shown
    assert "AKEXAMPLE" not in shown
    for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY"):
        with pytest.raises(ConfigError) as caught:
            Config.plain(**{name: "planted secret"})
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S3_ENDPOINT_URL", "s3.example.org"),
        ("S3_ENDPOINT_URL", "https://user:password@s3.example.org"),
        ("S3_ENDPOINT_URL", "https://s3.example.org/bucket"),
        ("S3_DEFAULT_BUCKET", "../x"),
        ("S3_DEFAULT_BUCKET", "Bucket"),
        ("S3_REGION", "a b"),
        ("S3_MAX_CONCURRENCY", 0),
        ("FILE_MAX_BYTES", 1),
    ],
)
def test_wrong_setting_is_told_by_name(name: str, value: object) -> None:
    """What cannot be meant is an error at once, not at the first file."""
    with pytest.raises(ConfigError, match=name):
        Config.plain(**{name: value})


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({}, 0),
        ({"PAYLOAD_OFFLOAD_BYTES": 5000}, 5000),
        ({"STORAGE_URI": "redis://127.0.0.1"}, 0),
        ({"STORAGE_URI": "redis://127.0.0.1", "S3_ENDPOINT_URL": "http://127.0.0.1"}, 262144),
        ({"STORAGE_URI": "sqlite:jobs.db"}, 262144),
        ({"STORAGE_URI": "sqlite:jobs.db", "PAYLOAD_OFFLOAD_BYTES": 0}, 0),
    ],
)
def test_large_documents_leave_by_themselves_where_all_engines_find_them(settings: dict[str, Any], size: int) -> None:
    """A directory beside a Redis may be another one for each machine: there it must be set."""
    config = Config(**settings)

    assert offload_bytes(config, make_storage(config, SystemClock())) == size
