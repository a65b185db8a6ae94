"""Magics, in an IPython shell."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.testing.globalipapp import get_ipython

from avtomatika import StateMachineBlueprint
from avtomatika.notebook import Workbench


@pytest.fixture(scope="module")
def one_shell() -> Any:
    """IPython's shell for tests; there can be one in a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when it is made
        return get_ipython()  # type: ignore[no-untyped-call]


@pytest.fixture
def shell(one_shell: Any) -> Iterator[Any]:
    """A shell with the extension loaded, and none of its variables left over."""
    running = one_shell
    running.extension_manager.load_extension("avtomatika")
    before = set(running.user_ns)
    yield running
    for name in set(running.user_ns) - before:
        del running.user_ns[name]


def test_status_jobs_logs_and_stop(
    shell: Any, workbench: Workbench, doubling: StateMachineBlueprint, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quick questions about the workbench that runs."""
    job = workbench.submit(doubling, {"number": 1}).wait(30)

    shell.run_line_magic("avt", "status")
    assert workbench.url in capsys.readouterr().out
    assert shell.run_line_magic("avt", "jobs")["id"].tolist() == [job.id]
    assert len(shell.run_line_magic("avt", "jobs failed")) == 0
    shell.run_line_magic("avt", "logs 5")
    assert "the engine serves" in capsys.readouterr().out
    shell.run_line_magic("avt", "stop")
    assert not workbench.is_running


@pytest.mark.parametrize(
    ("line", "sentence"), [("dance", "%avt has no 'dance'; it has: status, jobs"), ("jobs", "no workbench runs here")]
)
def test_wrong_use_is_told(shell: Any, line: str, sentence: str) -> None:
    """What is possible, or what comes first."""
    with pytest.raises(UsageError, match=sentence):
        shell.run_line_magic("avt", line)


def test_state_cells_build_the_blueprint_of_the_notebook(shell: Any) -> None:
    """The newest blueprint, or the one that is named."""
    shell.user_ns["flow"] = StateMachineBlueprint("flow")

    shell.run_cell_magic("state", "validate --start", "state_history['ok'] = True")
    shown = shell.run_cell_magic("state", "review --after validate --end -b flow", "return {'ok': ok}")

    assert shown is shell.user_ns["flow"]
    assert [(edge.source, edge.target) for edge in shown.graph.edges] == [("validate", "review")]
    with pytest.raises(UsageError, match="'nothing' is no blueprint"):
        shell.run_cell_magic("state", "x -b nothing", "pass")


def test_state_cell_without_a_blueprint_is_told(shell: Any) -> None:
    """What to write first."""
    with pytest.raises(UsageError, match=r"first: bp = StateMachineBlueprint\('name'\)"):
        shell.run_cell_magic("state", "x", "pass")


def test_nesting_is_offered_and_never_applied_unasked() -> None:
    """Loading changes nothing about event loops; ``%avt nest`` does."""
    script = (
        "import asyncio\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "async def inner(): return 42\n"
        "async def main():\n"
        "    shell = InteractiveShell.instance()\n"
        "    shell.run_line_magic('load_ext', 'avtomatika')\n"
        "    waiting = inner()\n"
        "    try:\n"
        "        asyncio.run(waiting)\n"
        "    except RuntimeError:\n"
        "        waiting.close(); print('refused')\n"
        "    print(shell.run_line_magic('avt', 'nest').split(':')[0])\n"
        "    print(asyncio.run(inner()))\n"
        "asyncio.run(main())\n"
    )

    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "%avt nest lets asyncio.run(...) work in cells" in lines[0]
    assert lines[1] == "refused"
    assert lines[2].startswith("nest_asyncio")
    assert lines[3] == "42"
