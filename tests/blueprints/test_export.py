"""Export: what a notebook defined becomes a module that works alone."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from avtomatika import StateMachineBlueprint
from avtomatika.errors import BlueprintError

CELLS = '''
import math
import json as js
from datetime import timedelta
from avtomatika import StateMachineBlueprint

LIMITS = {"kg": 30}
RATE = 0.5

class Parcel:
    """A parcel."""
    def __init__(self, kg):
        self.kg = kg

def price(kg):
    return math.ceil(kg * RATE)

flow = StateMachineBlueprint("parcels", api_endpoint="/parcels", retry={"attempts": 3})
flow.add_data_store("cache", {})

@flow.handler_for("weigh", is_start=True)
async def weigh(initial_data, state_history, actions):
    """Weighs it."""
    state_history["price"] = price(Parcel(initial_data["kg"]).kg)
    state_history["days"] = timedelta(days=2).days
    actions.transition_to("sort")

@flow.handler_for("sort").when("context.initial_data.kg > 30")
async def heavy(actions, limit=LIMITS):
    actions.transition_to("refused")

@flow.handler_for("sort")
async def light(actions):
    actions.transition_to("sent")

@flow.handler("sent", is_end=True)
async def sent(price):
    return {"price": js.loads(str(price))}

@flow.handler_for("refused", is_end=True, outcome="failed")
async def refused(): ...
'''


@pytest.fixture
def flow(tmp_path: Path) -> StateMachineBlueprint:
    """A blueprint out of a file that is run as a notebook is: as ``__main__``."""
    file = tmp_path / "cells.py"
    file.write_text(CELLS)
    return runpy.run_path(str(file), run_name="__main__")["flow"]  # type: ignore[no-any-return]


def test_exported_module_defines_the_same_blueprint(flow: StateMachineBlueprint, tmp_path: Path) -> None:
    """Same graph, same endpoint, and with everything that its handlers use."""
    module = flow.export(tmp_path / "flow.py")

    made = runpy.run_path(str(module))
    again = made["bp"]
    assert again.graph == flow.graph
    assert (again.name, again.api_endpoint, again.retry) == (flow.name, flow.api_endpoint, flow.retry)
    assert made["price"](7) == 4
    assert again.compile().handlers["sort"][0].condition.text == "context.initial_data.kg > 30"


def test_exported_module_is_clean(flow: StateMachineBlueprint, tmp_path: Path) -> None:
    """It passes a linter, holds nothing that is not needed, and exporting it again gives the same text."""
    module = flow.export(tmp_path / "flow.py")
    text = module.read_text()

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E9,F", str(module)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert text.startswith('"""The blueprint parcels."""\n')
    assert '@bp.handler_for("sort").when' in text.replace("'", '"')
    assert "flow" not in text
    assert runpy.run_path(str(module), run_name="__main__")["bp"].export(tmp_path / "two.py").read_text() == text


def test_what_cannot_be_written_down_is_told(tmp_path: Path) -> None:
    """A sentence names the handler, the thing and the remedy; no half module is left."""
    cells = CELLS.replace('"price": js.loads(str(price))', '"price": HANDLE')
    file = tmp_path / "cells.py"
    file.write_text(cells.replace("RATE = 0.5", "RATE = 0.5\nHANDLE = object()"))
    flow = runpy.run_path(str(file), run_name="__main__")["flow"]

    with pytest.raises(BlueprintError, match="handler of state 'sent' uses 'HANDLE', a object that cannot be written"):
        flow.export(tmp_path / "flow.py")
    assert not (tmp_path / "flow.py").exists()


def test_condition_that_is_no_text_is_told(tmp_path: Path) -> None:
    """A function cannot be read back."""
    bp = StateMachineBlueprint("b")

    @bp.handler_for("a", is_start=True).when(lambda context: True)
    async def a() -> None: ...

    with pytest.raises(BlueprintError, match="condition of a handler of state 'a' is no text"):
        bp.export(tmp_path / "flow.py")


def test_handler_inside_a_function_is_told(tmp_path: Path) -> None:
    """What it closes over would be missing."""
    bp, word = StateMachineBlueprint("b"), "x"

    @bp.handler_for("a", is_start=True, is_end=True)
    async def a() -> str:
        return word

    with pytest.raises(BlueprintError, match="function around it"):
        bp.export(tmp_path / "flow.py")
