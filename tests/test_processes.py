"""Several processes on one port, and the restart when a file changes: real processes, real Redis."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avtomatika import Config, OrchestratorEngine, processes
from avtomatika.errors import ConfigError
from avtomatika.reloading import look
from tests.redis_server import RedisServer
from tests.running import Running

MODULE = """
from avtomatika import OrchestratorEngine, StateMachineBlueprint

quick = StateMachineBlueprint("quick", api_endpoint="/quick")


@quick.handler_for("done", is_start=True, is_end=True)
async def done():
    pass


engine = OrchestratorEngine()
engine.register_blueprint(quick)
"""
Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Returns what starts ``avtomatika run shop:engine`` with options and variables."""
    (tmp_path / "shop.py").write_text(MODULE)
    with contextlib.ExitStack() as stack:

        def run(*options: str, **variables: str) -> Running:
            running = Running.avtomatika("run", "shop:engine", *options, folder=tmp_path, **variables)
            stack.callback(running.end)
            return running

        yield run


def instance(port: str) -> str:
    """Returns which process answers on a new connection."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_public/status", timeout=30) as response:
        return str(json.load(response)["instance_id"])


def counted(port: str) -> str:
    """Returns how many jobs of each blueprint were created, as a new connection tells it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_public/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    return next(line for line in lines if line.startswith("orchestrator_jobs_total{"))


@pytest.mark.acceptance
def test_processes_share_a_port_and_a_dead_one_is_replaced(start: Start, redis_server: RedisServer) -> None:
    """Requests reach all processes, under names of their own; a killed one leaves no gap; SIGTERM ends them all.

    Whichever is asked tells what all have counted, also the one that is no more.
    """
    served = start(
        "--processes",
        "2",
        STORAGE_URI=f"redis://127.0.0.1:{redis_server.port}/15",
        INSTANCE_ID="shop",
        CLIENT_TOKEN="t",
    )
    port = served.reads(r"2 processes serve port (\d+)")[1]
    for _ in range(2):
        served.reads(r"the engine serves at")
    names = {instance(port)}
    children = [
        int(pid) for pid in Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    ]
    assert len(children) == 2
    assert all(name.startswith("shop-") for name in names)
    order = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/quick", b"{}", {"X-Client-Token": "t"})
    for _ in range(8):
        urllib.request.urlopen(order, timeout=30).close()
    assert {counted(port) for _ in range(4)} == {'orchestrator_jobs_total{blueprint="quick"} 8.0'}

    os.kill(children[0], signal.SIGKILL)
    served.reads(rf"process {children[0]} was ended by signal 9; another takes its place")
    served.reads(r"the engine serves at")
    os.kill(children[1], signal.SIGKILL)
    served.reads(rf"process {children[1]} was ended by signal 9; another takes its place")
    assert instance(port) not in names
    assert counted(port) == 'orchestrator_jobs_total{blueprint="quick"} 8.0'

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    served.ends()
    with pytest.raises(urllib.error.URLError):
        instance(port)


@pytest.mark.acceptance
def test_processes_end_with_a_parent_that_was_killed(start: Start, redis_server: RedisServer) -> None:
    """No process is left behind on the port, however its parent ended."""
    served = start("--processes", "2", STORAGE_URI=f"redis://127.0.0.1:{redis_server.port}/15")
    port = served.reads(r"2 processes serve port (\d+)")[1]
    for _ in range(2):
        served.reads(r"the engine serves at")

    served.process.kill()

    served.ends()
    with pytest.raises(urllib.error.URLError):
        instance(port)


@pytest.mark.parametrize("uri", ["memory:", "sqlite:///jobs.db"])
def test_processes_without_redis_are_refused(start: Start, uri: str) -> None:
    """Processes that cannot see each other's jobs would answer differently."""
    served = start("--processes", "2", STORAGE_URI=uri)

    served.reads(r"error: several processes share their jobs through Redis, but the storage is '\w+:'")
    assert served.process.wait(60) == 2


@pytest.mark.parametrize("name", ["INSTANCE_ID", "HOLON_ID"])
def test_name_fixed_by_the_program_is_refused(name: str) -> None:
    """All processes would have it; as workers of a parent they would take each other's tasks for lost."""
    engine = OrchestratorEngine(config=Config(STORAGE_URI="redis://127.0.0.1:1/0", API_PORT=0, **{name: "shop"}))

    with pytest.raises(ConfigError, match=f"{name} is fixed to 'shop' by the program"):
        processes.run(engine, ["shop:engine"], 2)


def test_name_of_all_processes_begins_the_name_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's name is new with each process, a holon's stays with the place, since its parent knows it by that."""
    monkeypatch.setenv("INSTANCE_ID", "shop")
    monkeypatch.setenv("HOLON_ID", "h" * 128)

    made = [processes._environment(number, "/tmp/m") for number in (0, 1, 1)]

    assert len({one["INSTANCE_ID"] for one in made}) == 3
    assert all(one["INSTANCE_ID"].startswith("shop-") for one in made)
    assert [one["HOLON_ID"][-4:] for one in made] == ["hh-0", "hh-1", "hh-1"]
    assert all(Config(HOLON_ID=one["HOLON_ID"]) for one in made)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--reload", "--processes", "2"), "leave out --processes and --fd"),
        (("--processes", "2", "--fd", "3"), "leave out --fd"),
        (("--fd", "999"), "--fd 999 is no open socket here"),
    ],
)
def test_options_that_exclude_each_other_are_refused(start: Start, options: tuple[str, ...], sentence: str) -> None:
    """The sentence says which to leave out."""
    served = start(*options)

    served.reads(re.escape(sentence))
    assert served.process.wait(60) == 2


@pytest.mark.acceptance
def test_changed_file_starts_the_engine_again(start: Start, tmp_path: Path) -> None:
    """A fault in the file ends nothing for good: the next change is tried as well."""
    served = start("--reload")
    served.reads(r"the engine serves at")

    (tmp_path / "shop.py").write_text("1 / 0  # not yet\n")
    served.reads(r"shop.py has changed: starting again")
    served.reads(r"cannot be imported: ZeroDivisionError")
    (tmp_path / "shop.py").write_text(MODULE + "\n# better\n")
    served.reads(r"the engine serves at")

    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(60) == 0
    served.ends()


def test_look_sees_programs_and_settings_only(tmp_path: Path) -> None:
    """Logs, databases and installed packages change without the program changing."""
    for name in (
        "engine.py",
        "tests/test_engine.py",
        "clients.toml",
        "jobs.db",
        ".venv/a.py",
        "venv/site-packages/b.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    assert set(look(tmp_path)) == {"engine.py", "tests/test_engine.py", "clients.toml"}
