"""State cells: ``%%state`` makes the body of a cell the handler of a state."""

from __future__ import annotations

import builtins
import keyword
import linecache
import re
import symtable
import textwrap
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.blueprints.handlers import KNOWN_ARGUMENTS
from avtomatika.errors import BlueprintError


@dataclass(frozen=True, slots=True)
class StateCell:
    """What a cell defines.

    Args:
        name: of the state.
        body: of its handler.
        after: states that lead here.
        when: condition of the handler, or empty.
        is_start: it is the start state.
        is_end: it is an end state.
        outcome: of an end state, or None.
        is_aggregator: it joins the branches of a fan-out.
    """

    name: str
    body: str
    after: tuple[str, ...] = ()
    when: str = ""
    is_start: bool = False
    is_end: bool = False
    outcome: str | None = None
    is_aggregator: bool = False


class _Cells:
    """The cells of one blueprint, by state and condition, and which state follows where a cell asks for no action."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], StateCell] = {}
        self.next: dict[str, str] = {}


_OF: weakref.WeakKeyDictionary[StateMachineBlueprint, _Cells] = weakref.WeakKeyDictionary()


def define_state(blueprint: StateMachineBlueprint, cell: StateCell, names: dict[str, Any]) -> None:
    """Makes a cell the handler of its state, and lets the states named in ``after`` lead there.

    Args:
        blueprint: that gets the state.
        cell: what to define.
        names: the notebook's variables.

    Raises:
        BlueprintError: the body is no Python, or a state in ``after`` is unknown, was not written as a state cell, or
            leads elsewhere already.
    """
    known = _OF.setdefault(blueprint, _Cells())
    leading = [_leading(blueprint, known, name, cell.name) for name in cell.after]
    _define(blueprint, cell, known.next.get(cell.name), names)
    known.cells[cell.name, cell.when] = cell
    # Run again without a predecessor that it had: that one leads here no more.
    for name in [name for name, target in known.next.items() if target == cell.name and name not in cell.after]:
        del known.next[name]
        _define_all(blueprint, known, name, names)
    for before in filter(None, leading):
        known.next[before] = cell.name
        _define_all(blueprint, known, before, names)


def _define_all(blueprint: StateMachineBlueprint, known: _Cells, name: str, names: dict[str, Any]) -> None:
    for cell in [cell for cell in known.cells.values() if cell.name == name]:
        _define(blueprint, cell, known.next.get(name), names)


def _leading(blueprint: StateMachineBlueprint, known: _Cells, before: str, name: str) -> str | None:
    """Returns the state that is to lead to ``name``, or None if it does already by itself."""
    graph = blueprint.graph
    state = graph.state(before)
    targets = {edge.target for edge in graph.edges_from(before)} - {known.next.get(before)}
    if name in targets:
        return None
    if not any(cell_name == before for cell_name, _ in known.cells):
        raise BlueprintError(
            f"state '{before}' was not written with %%state, so --after cannot make it lead to '{name}'; let its "
            f"handler say actions.transition_to('{name}')."
        )
    if state.is_end:
        raise BlueprintError(
            f"state '{before}' is an end state, and nothing comes after it; run its cell without --end."
        )
    other = known.next.get(before)
    if other not in {None, name}:
        raise BlueprintError(
            f"state '{before}' leads to '{other}' already; let it choose with actions.transition_to(...) in its cell."
        )
    if targets:
        raise BlueprintError(
            f"state '{before}' chooses by itself where it leads ({', '.join(sorted(targets))}); let it say "
            f"actions.transition_to('{name}')."
        )
    return before


def _define(blueprint: StateMachineBlueprint, cell: StateCell, following: str | None, names: dict[str, Any]) -> None:
    body = textwrap.dedent(cell.body).strip("\n") or "pass"
    if following is not None:
        body += f"\nactions.transition_to({following!r})"
    # A name of its own for each condition: two functions of one name would be the same handler, written twice.
    function_name = _identifier(f"{cell.name} when {cell.when}" if cell.when else cell.name)
    indented = textwrap.indent(body, "    ")
    source = f"async def {function_name}({', '.join(_arguments(body, names))}):\n{indented}\n"
    file = f"<state {blueprint.name}.{cell.name}{' when ' + cell.when if cell.when else ''}>"
    made: dict[str, Any] = {}
    try:
        exec(compile(source, file, "exec"), names, made)  # noqa: S102 - the cell that the person runs
    except SyntaxError as error:
        line = max(1, (error.lineno or 2) - 1)
        raise BlueprintError(f"the cell of state '{cell.name}' is no Python: line {line}: {error.msg}.") from None
    # Kept as IPython keeps its cells, so that tracebacks and the graph can read it.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    decorate = blueprint.aggregator_for if cell.is_aggregator else blueprint.handler_for
    decorator = decorate(cell.name, is_start=cell.is_start, is_end=cell.is_end, outcome=cell.outcome)
    (decorator.when(cell.when) if cell.when else decorator)(made[function_name])


def _arguments(body: str, names: Mapping[str, Any]) -> list[str]:
    """Returns what the handler asks for: what its body uses, and neither defines nor finds in the notebook."""
    wrapped = f"async def body():\n{textwrap.indent(body, '    ')}\n"
    try:
        tables = list(symtable.symtable(wrapped, "<state>", "exec").get_children())
    except SyntaxError:
        return []  # told when it is compiled, with its line
    used: dict[str, None] = {}
    for table in tables:
        tables.extend(table.get_children())
        used |= dict.fromkeys(s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced())
    return [
        name
        for name in used
        if name in KNOWN_ARGUMENTS or not (name in names or hasattr(builtins, name) or keyword.iskeyword(name))
    ]


def _identifier(name: str) -> str:
    word = re.sub(r"\W", "_", name)
    return f"state_{word}" if not word or word[0].isdigit() or keyword.iskeyword(word) else word
