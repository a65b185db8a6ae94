"""The command line: what it writes, and how it says that something is wrong."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avtomatika import __version__
from avtomatika.cli import main

MODULE = """
from avtomatika import Config, OrchestratorEngine, StateMachineBlueprint

flow = StateMachineBlueprint("flow", api_endpoint="/flow")

@flow.handler_for("start", is_start=True)
async def start(actions):
    actions.transition_to("end")

@flow.handler_for("end", is_end=True)
async def end(): ...

engine = OrchestratorEngine(config=Config(API_HOST="127.0.0.1"))
engine.register_blueprint(flow)
number = 7
"""
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Returns what runs a command in a folder with a module ``shop``: exit code, output and errors."""
    (tmp_path / "shop.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    # ``run`` sets the logger up for its process; here the process is the test run's.
    logger = logging.getLogger("avtomatika")
    saved = logger.handlers[:], logger.level, logger.propagate

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["avtomatika", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    yield run

    logger.handlers[:], logger.level, logger.propagate = saved
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_version_is_printed(command: Command) -> None:
    """One line, for scripts."""
    assert command("version") == command("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ((), 'digraph "flow" {'),
        (("--format", "dot"), 'digraph "flow" {'),
        (("-f", "mermaid"), "stateDiagram-v2"),
        (("--format", "svg"), "<svg"),
    ],
)
def test_graph_is_written_in_each_format(command: Command, options: tuple[str, ...], beginning: str) -> None:
    """On standard output nothing but the graph, so that it can be piped."""
    code, output, errors = command("graph", "shop:flow", *options)

    assert (code, errors) == (0, "")
    assert output.startswith(beginning)
    assert "start" in output


def test_graph_is_written_to_a_file(command: Command, tmp_path: Path) -> None:
    """The file holds what would have been printed."""
    _, printed, _ = command("graph", "shop:flow")

    code, output, errors = command("graph", "shop:flow", "-o", "flow.dot")

    assert (code, output, errors) == (0, "", "wrote flow.dot\n")
    assert (tmp_path / "flow.dot").read_text() == printed.removesuffix("\n")


def test_module_with_one_blueprint_needs_no_name(command: Command) -> None:
    """What can be meant only one way needs not be said."""
    assert command("graph", "shop")[1] == command("graph", "shop:flow")[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("graph", "shop:flo"), "Did you mean 'flow'?"),
        (("graph", "shop:number"), "has a int under that name; its blueprints: flow."),
        (("graph", "nothing:flow"), "there is no module 'nothing' here"),
        (("graph", "shop.py"), "'shop.py' is a file; name the module: shop:blueprint"),
        (("graph", "shop.py:flow"), "name the module: shop:"),
        (("run", "shop:flow"), "engine 'flow' was expected in module 'shop'"),
        (("run", "needs_more:engine"), "module 'needs_more' needs 'not_installed_at_all', which is not installed."),
        (("run", "raises:engine"), "module 'raises' cannot be imported: ZeroDivisionError: division by zero"),
        (("run", "shop:engine", "--host", "no host"), "API_HOST is 'no host'"),
        (("run", "shop:engine", "--host", "0.0.0.0"), "are public defaults"),
        (("graph", "broken:flow"), "leads to 'nowhere'"),
        (("graph", "shop:flow", "-o", "no/such/folder/flow.dot"), "no/such/folder"),
    ],
)
def test_wrong_command_ends_with_a_sentence_and_code_two(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """No traceback: what is wrong, on standard error."""
    (tmp_path / "needs_more.py").write_text("import not_installed_at_all\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    (tmp_path / "broken.py").write_text(MODULE.replace('"end")\n', '"nowhere")\n').replace("engine.register", "# "))

    code, output, errors = command(*arguments)

    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert sentence in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [("graph", "shop:flow", "--format", "gif"), ("rum",), ("run",)])
def test_unknown_word_ends_with_usage_and_code_two(command: Command, arguments: tuple[str, ...]) -> None:
    """The shell's user is told how the command goes."""
    code, _, errors = command(*arguments)

    assert code == 2
    assert "Usage" in errors


def test_command_without_arguments_shows_its_help(command: Command) -> None:
    """Whoever is lost sees what there is."""
    _, output, errors = command()

    assert all(word in output + errors for word in ("run", "graph", "version"))


def test_run_serves_until_sigterm(tmp_path: Path) -> None:
    """``python -m avtomatika run`` with a free port answers requests and ends well."""
    (tmp_path / "shop.py").write_text(MODULE)
    env = {**os.environ, "LOG_FORMAT": "text"}
    run = [sys.executable, "-m", "avtomatika", "run", "shop:engine", "--port", "0"]
    with subprocess.Popen(run, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "the engine serves at" in line)
            url = next(word for word in line.split() if word.startswith("http://"))
            with urllib.request.urlopen(f"{url}/_public/status") as response:
                assert response.status == 200
            process.send_signal(signal.SIGTERM)

            assert process.wait(15) == 0
        finally:
            process.kill()
