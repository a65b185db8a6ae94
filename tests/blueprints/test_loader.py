"""A folder of blueprints: what is found in it, and what is said when something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from avtomatika import Config, OrchestratorEngine
from avtomatika.app_keys import REGISTRY_KEY
from avtomatika.blueprints.loader import load_folder
from avtomatika.errors import ConfigError

FLOW = """
from avtomatika import StateMachineBlueprint

bp = StateMachineBlueprint("{name}", api_endpoint="/{name}")
alias = bp

@bp.handler_for("only", is_start=True, is_end=True)
async def only():
    pass
"""


def put(folder: Path, **files: str) -> None:
    """Writes Python files."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_folder_gives_the_blueprints_of_all_its_files(tmp_path: Path) -> None:
    """In the order of the files, each once, whatever it is called there."""
    put(tmp_path, b=FLOW.format(name="second"), a=FLOW.format(name="first"))
    (tmp_path / "notes.txt").write_text("not Python")

    assert [blueprint.name for blueprint in load_folder(tmp_path)] == ["first", "second"]


def test_private_file_is_there_for_the_others_only(tmp_path: Path) -> None:
    """What several blueprints share stands in a file of its own, which defines none for the engine."""
    put(
        tmp_path,
        _shared_by_flows=FLOW.format(name="unseen"),
        flow=f"import _shared_by_flows\n{FLOW.format(name='seen')}",
    )

    assert [blueprint.name for blueprint in load_folder(tmp_path)] == ["seen"]


def test_file_named_like_a_module_hides_it_from_nobody(tmp_path: Path) -> None:
    """``json.py`` is a fine name for a blueprint's file."""
    put(tmp_path, json=FLOW.format(name="reader"), other=f"import json\njson.dumps({{}})\n{FLOW.format(name='writer')}")

    assert [blueprint.name for blueprint in load_folder(tmp_path)] == ["reader", "writer"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "no .py file there defines a blueprint"),
        ({"broken": "def ("}, "broken.py cannot be imported: SyntaxError"),
        ({"needy": "import no_such_module_anywhere"}, "needy.py cannot be imported: ModuleNotFoundError"),
        (
            {"a": FLOW.format(name="twin"), "b": FLOW.format(name="twin")},
            "defined twice in BLUEPRINTS_DIR: in a.py and in",
        ),
        ({"odd": FLOW.format(name="odd").replace('"only"', "7")}, "odd.py"),
    ],
)
def test_faulty_folder_is_refused_with_the_file(tmp_path: Path, files: dict[str, str], told: str) -> None:
    """Never half a start."""
    put(tmp_path, **files)

    with pytest.raises(ConfigError, match=told):
        load_folder(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """A misspelt path is no empty folder."""
    with pytest.raises(ConfigError, match="which is no folder"):
        load_folder(tmp_path / "nowhere")


def test_engine_registers_what_its_folder_holds(tmp_path: Path) -> None:
    """The setting is all that it takes."""
    put(tmp_path, flow=FLOW.format(name="from_the_folder"))

    engine = OrchestratorEngine(config=Config(BLUEPRINTS_DIR=str(tmp_path)))

    assert [blueprint.name for blueprint in engine.app[REGISTRY_KEY]] == ["from_the_folder"]
