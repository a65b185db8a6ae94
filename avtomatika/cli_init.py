"""The command ``avtomatika init``: a new project that works, to be changed into one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from avtomatika.errors import ConfigError

_MODELS = Path(__file__).parent / "new_project"
# Modules of a project are kept as text, so that nothing takes them for modules of this package.
_AS_TEXT = ".txt"


def init(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="Folder of the project; its name is taken.")],
) -> None:
    """Make a new project: blueprint, engine, worker, tests and a notebook."""
    name = folder.resolve().name
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
        raise ConfigError(
            f"'{name}' is no name for a project: use a letter, then letters, digits, - and _, at most 64 in all."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"'{folder}' exists and is not an empty folder; name another, nothing was written.")
    for model, target in _files():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(model.read_text(encoding="utf-8").replace("{{name}}", name), encoding="utf-8")
        typer.echo(f"wrote {path}")
    typer.echo(f"next: cd {folder}, and each in a shell of its own (README.md has more):")
    typer.echo("  avtomatika run engine:engine --reload")
    typer.echo("  python -m avtomatika.worker worker:worker")


def _files() -> Iterator[tuple[Path, str]]:
    """Yields the models and where the file made of each belongs."""
    for model in sorted(_MODELS.rglob("*")):
        if model.is_file():
            yield model, model.relative_to(_MODELS).as_posix().removesuffix(_AS_TEXT)
