"""The command line: ``avtomatika run``, ``graph`` and ``version``; the other commands have files of their own."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from avtomatika import cli_check, cli_init, cli_jobs, cli_messages, cli_schedules, processes, reloading
from avtomatika.blueprints import StateMachineBlueprint, dot, mermaid
from avtomatika.blueprints.drawing import svg
from avtomatika.engine import OrchestratorEngine
from avtomatika.errors import AvtomatikaError, ConfigError
from avtomatika.loading import load_object
from avtomatika.version import __version__

app = typer.Typer(
    name="avtomatika",
    help="Durable asynchronous workflows as state machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_messages.app, name="messages")
app.command()(cli_jobs.explain)
app.command()(cli_check.check)
app.command()(cli_check.token)
app.command()(cli_init.init)
app.command()(cli_schedules.schedules)

_WRONG = 2


class GraphFormat(enum.StrEnum):
    """What a graph can be written as."""

    DOT = "dot"
    MERMAID = "mermaid"
    SVG = "svg"


@app.command()
def run(
    target: Annotated[str, typer.Argument(help="Where the engine is: module:engine.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on (API_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (API_PORT); 0 chooses a free one.")] = None,
    count: Annotated[
        int, typer.Option("--processes", min=1, help="How many processes share the port; more than one needs Redis.")
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: start again when a .py or .toml file here changes.")
    ] = False,
    fd: Annotated[int | None, typer.Option(help="Number of an open socket to serve, in place of a port.")] = None,
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="Stop when standard input closes.")
    ] = False,
) -> None:
    """Serve until SIGINT or SIGTERM."""
    if reload and (count > 1 or fd is not None):
        raise ConfigError("--reload serves one process on a port of its own; leave out --processes and --fd.")
    if count > 1 and fd is not None:
        raise ConfigError("--processes opens the port that its processes share; leave out --fd.")
    places = {"--host": host, "--port": port}
    if reload:
        given = [part for name, value in places.items() if value is not None for part in (name, str(value))]
        raise typer.Exit(reloading.run([target, *given]))
    engine = load_object(target, OrchestratorEngine, "engine")
    if host is not None:
        engine.config.API_HOST = host
    if port is not None:
        engine.config.API_PORT = port
    if count > 1:
        given = [] if host is None else ["--host", host]
        raise typer.Exit(processes.run(engine, [target, *given], count))
    engine.run(listener=None if fd is None else processes.open_listener(fd), stop_with_parent=stop_with_parent)


@app.command()
def holon(
    target: Annotated[str, typer.Argument(help="Where the engine is: module:engine.")],
    parent: Annotated[str | None, typer.Option(help="Address of the engine to work for (PARENT_URL).")] = None,
    identity: Annotated[
        str | None, typer.Option("--id", help="Id among the parent's workers, the same after a restart (HOLON_ID).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (API_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (API_PORT); 0 chooses a free one.")] = None,
) -> None:
    """Serve as a worker of another engine, with the blueprints as skills, until SIGINT or SIGTERM."""
    engine = load_object(target, OrchestratorEngine, "engine")
    given = {"PARENT_URL": parent, "HOLON_ID": identity, "API_HOST": host, "API_PORT": port}
    for name, value in given.items():
        if value is not None:
            setattr(engine.config, name, value)
    if not engine.config.PARENT_URL:
        raise ConfigError("a holon works for another engine: say its address with --parent, or set PARENT_URL.")
    engine.run()


@app.command()
def graph(
    target: Annotated[str, typer.Argument(help="Where the blueprint is: module:blueprint.")],
    format_: Annotated[GraphFormat, typer.Option("--format", "-f", help="What to write.")] = GraphFormat.DOT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output if left out.")
    ] = None,
) -> None:
    """Write the graph of a blueprint."""
    blueprint = load_object(target, StateMachineBlueprint, "blueprint")
    drawn = blueprint.compile().graph
    match format_:
        case GraphFormat.DOT:
            text = dot(drawn)
        case GraphFormat.MERMAID:
            text = mermaid(drawn)
        case GraphFormat.SVG:
            text = svg(drawn)
    if output is None:
        typer.echo(text)
        return
    output.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {output}", err=True)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Durable asynchronous workflows as state machines."""


def main() -> None:
    """Runs the command; an error of ours is one sentence on standard error and exit code 2."""
    try:
        app()
    except (AvtomatikaError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(_WRONG)
