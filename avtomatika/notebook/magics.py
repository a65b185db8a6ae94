"""Magics: ``%load_ext avtomatika`` gives a notebook ``%avt`` and ``%%state``."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import shlex
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.notebook.cells import StateCell, define_state
from avtomatika.notebook.workbench import Workbench

_COMMANDS = "status, jobs [STATUS], dashboard, logs [N], nest, stop"
# The maintained fork first; both patch in the same way.
_NESTERS = ("nest_asyncio2", "nest_asyncio")


@magics_class
class AvtomatikaMagics(Magics):
    """The magics of a notebook."""

    @line_magic
    def avt(self, line: str) -> Any:
        """``%avt status``, ``jobs``, ``dashboard``, ``logs``, ``nest`` or ``stop``: for a quick look."""
        command, *rest = shlex.split(line) or ["status"]
        match command, rest:
            case "status", []:
                for bench in live_workbenches():
                    display(bench)
                return None
            case "jobs", [] | [_]:
                jobs = the_workbench().jobs(status=rest[0] if rest else None)
                return jobs[
                    ["id", "blueprint_name", "status", "current_state", "created_at", "duration", "error_message"]
                ]
            case "dashboard", []:
                return the_workbench().dashboard()
            case "logs", [] | [_]:
                print("\n".join(the_workbench().logs(int(rest[0]) if rest and rest[0].isdecimal() else 50)))
                return None
            case "nest", []:
                return nest()
            case "stop", []:
                for bench in live_workbenches():
                    bench.stop()
                    print(f"{bench.name} is stopped.")
                return None
            case _:
                raise UsageError(f"%avt has no '{line}'; it has: {_COMMANDS}.")

    @magic_arguments()
    @argument("name", help="name of the state")
    @argument("--after", default=None, help="states that lead here, with commas between them")
    @argument("--blueprint", "-b", default=None, help="variable of the blueprint; the newest one if left out")
    @argument("--when", default="", help="condition, as for .when(...)")
    @argument("--start", action="store_true", help="it is the start state")
    @argument("--end", action="store_true", help="it is an end state")
    @argument("--outcome", choices=["finished", "failed"], default=None, help="of an end state")
    @argument("--aggregator", action="store_true", help="it joins the branches of a fan-out")
    @cell_magic
    def state(self, line: str, cell: str) -> Any:
        """``%%state review --after validate``: the cell is the body of the state's handler.

        Names that the cell uses and neither defines nor finds in the notebook are arguments, such as ``actions``,
        ``initial_data`` and ``state_history``. A cell that asks for no action goes on to no state; with ``--after`` the
        states named there lead here, unless they ask for an action themselves.
        """
        given = parse_argstring(self.state, line)
        blueprint = self._blueprint(given.blueprint)
        options = StateCell(
            name=given.name,
            body=cell,
            after=tuple(part.strip() for part in (given.after or "").split(",") if part.strip()),
            when=given.when.strip("\"'"),
            is_start=given.start,
            is_end=given.end,
            outcome=given.outcome,
            is_aggregator=given.aggregator,
        )
        define_state(blueprint, options, self.shell.user_ns)
        return blueprint

    def _blueprint(self, variable: str | None) -> StateMachineBlueprint:
        names = self.shell.user_ns
        if variable is not None:
            found = names.get(variable)
            if not isinstance(found, StateMachineBlueprint):
                raise UsageError(f"%%state: '{variable}' is no blueprint of this notebook.")
            return found
        known = [value for name, value in names.items() if isinstance(value, StateMachineBlueprint) and name[0] != "_"]
        if not known:
            raise UsageError("%%state: there is no blueprint yet; first: bp = StateMachineBlueprint('name').")
        return known[-1]


def load_ipython_extension(shell: Any) -> None:
    """Gives a notebook its magics: ``%load_ext avtomatika``."""
    shell.register_magics(AvtomatikaMagics)
    if offers_nesting():
        print("%avt and %%state are there. %avt nest lets asyncio.run(...) work in cells.")


def live_workbenches() -> list[Workbench]:
    """Returns the workbenches of this process that run.

    Raises:
        UsageError: there is none.
    """
    found = Workbench.running()
    if not found:
        raise UsageError("no workbench runs here; first: wb = Workbench().")
    return found


def the_workbench() -> Workbench:
    """Returns the workbench that was started last.

    Raises:
        UsageError: there is none.
    """
    return live_workbenches()[-1]


def nest() -> str:
    """Lets ``asyncio.run(...)`` and ``engine.run()`` work in a cell, whose own loop already runs.

    Never done on import: it patches the event loop's class for every thread, and makes tasks slower.

    Raises:
        UsageError: no package that can do it is installed, or the loop cannot be patched.
    """
    name = next((name for name in _NESTERS if importlib.util.find_spec(name)), None)
    if name is None:
        raise UsageError("nested event loops need the package nest-asyncio: pip install 'avtomatika[notebook]'.")
    try:
        importlib.import_module(name).apply()
    except ValueError as error:  # uvloop
        loop = type(asyncio.get_event_loop_policy()).__module__
        raise UsageError(f"{name} cannot patch this event loop ({loop}): {error}") from None
    return f"{name} is in force: asyncio.run(...) works in cells now, tasks are slower in the whole process."


def offers_nesting() -> bool:
    """Whether a loop runs here that ``nest`` would help with."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return any(importlib.util.find_spec(name) for name in _NESTERS)
