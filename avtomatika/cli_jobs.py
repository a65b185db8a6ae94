"""The command ``avtomatika jobs``: look at jobs of a running engine and deal with those that stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from avtomatika.errors import AvtomatikaError, ConnectionFailedError
from avtomatika.lengths import length

app = typer.Typer(help="Look at jobs of a running engine and deal with those that stopped.", no_args_is_help=True)

_PAGE = 1000

Url = Annotated[str, typer.Option(envvar="AVTOMATIKA_URL", help="Address of the engine.")]
Token = Annotated[
    str, typer.Option(envvar="CLIENT_TOKEN", help="Client token; better set CLIENT_TOKEN.", show_default=False)
]
JobIds = Annotated[list[str], typer.Argument(help="Ids of jobs.")]
JobId = Annotated[str, typer.Argument(help="Id of a job.")]
State = Annotated[str | None, typer.Argument(help="The last time that it entered this state is meant.")]
Sequence = Annotated[int | None, typer.Option(help="Or this row state_started of its history.")]
_URL = "http://127.0.0.1:8080"


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only of this status.")] = None,
    blueprint: Annotated[str | None, typer.Option(help="Only of this blueprint.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 50,
    url: Url = _URL,
    token: Token = DEFAULT_CLIENT_TOKEN,
) -> None:
    """List jobs, newest first."""
    jobs = Client(url, token).jobs(status=status, blueprint=blueprint, limit=limit)
    typer.echo(f"{'JOB':<37} {'BLUEPRINT':<23} {'STATUS':<27} {'STATE':<23} AGE")
    for job in jobs:
        age = length(time.time() - job["created_at"])
        typer.echo(f"{job['id']:<37} {job['blueprint_name']:<23} {job['status']:<27} {job['current_state']:<23} {age}")


@app.command()
def show(job: JobId, url: Url = _URL, token: Token = DEFAULT_CLIENT_TOKEN) -> None:
    """Print a job as JSON."""
    typer.echo(json.dumps(Client(url, token).job(job), indent=2, ensure_ascii=False))


@app.command()
def explain(job: JobId, url: Url = _URL, token: Token = DEFAULT_CLIENT_TOKEN) -> None:
    """Say what a job waits for, who holds it and until when."""
    for reason in Client(url, token).explain(job):
        typer.echo(reason)


@app.command()
def cancel(jobs: JobIds, url: Url = _URL, token: Token = DEFAULT_CLIENT_TOKEN) -> None:
    """End jobs."""
    _for_each(jobs, Client(url, token).cancel)


@app.command()
def approve(
    job: JobId,
    decision: Annotated[str, typer.Argument(help="One of the decisions that the job offers.")] = "approved",
    by: Annotated[str | None, typer.Option(help="Who decided, for the history.")] = None,
    comment: Annotated[str | None, typer.Option(help="What else they said.")] = None,
    url: Url = _URL,
    token: Token = DEFAULT_CLIENT_TOKEN,
) -> None:
    """Decide about a job that waits for a person."""
    Client(url, token).approve(job, decision, by=by, comment=comment)
    typer.echo(f"{job}: {decision}")


@app.command()
def rewind(
    job: JobId, state: State = None, sequence: Sequence = None, url: Url = _URL, token: Token = DEFAULT_CLIENT_TOKEN
) -> None:
    """Start a job again from a state that it was in."""
    Client(url, token).rewind(job, state, sequence=sequence)
    typer.echo(f"{job}: rewound")


@app.command()
def fork(
    job: JobId,
    state: State = None,
    sequence: Sequence = None,
    initial: Annotated[list[str] | None, typer.Option(help="NAME=JSON: another member of the initial data.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=JSON: another member of its data.")] = None,
    url: Url = _URL,
    token: Token = DEFAULT_CLIENT_TOKEN,
) -> None:
    """Create a job that begins where this one once was, with other data."""
    typer.echo(
        Client(url, token).fork(
            job, state, sequence=sequence, initial_data=_members(initial), state_history=_members(set_)
        )
    )


def _members(given: list[str] | None) -> dict[str, Any]:
    """Reads ``name=JSON``; what is no JSON is a text."""
    members: dict[str, Any] = {}
    for one in given or []:
        name, sign, text = one.partition("=")
        if not name or not sign:
            raise typer.BadParameter(f"'{one}' is not NAME=JSON, such as kg=3 or city=Vigo")
        try:
            members[name] = json.loads(text)
        except ValueError:
            members[name] = text
    return members


@app.command()
def requeue(
    jobs: Annotated[list[str] | None, typer.Argument(help="Ids of jobs.")] = None,
    status: Annotated[str | None, typer.Option(help="All of this status: quarantined or failed.")] = None,
    blueprint: Annotated[str | None, typer.Option(help="With --status: only of this blueprint.")] = None,
    url: Url = _URL,
    token: Token = DEFAULT_CLIENT_TOKEN,
) -> None:
    """Let failed or quarantined jobs go on in the states where they stopped."""
    if bool(jobs) == bool(status):
        raise typer.BadParameter("give ids of jobs, or --status quarantined")
    client = Client(url, token)
    if status:
        jobs = [job["id"] for job in client.jobs(status=status, blueprint=blueprint, limit=_PAGE)]

    def let_go_on(job: str) -> str:
        client.requeue(job)
        return "requeued"

    _for_each(jobs or [], let_go_on)


def _for_each(jobs: list[str], act: Callable[[str], object]) -> None:
    """Does something to each job and says what came of it; one that refuses does not keep the others from it.

    Raises:
        typer.Exit: some refused.
    """
    done = 0
    for job in jobs:
        try:
            typer.echo(f"{job}: {act(job)}")
        except ConnectionFailedError:
            raise
        except AvtomatikaError as error:
            typer.echo(f"{job}: {error}", err=True)
        else:
            done += 1
    if len(jobs) != 1:
        typer.echo(f"{done} of {len(jobs)} done", err=True)
    if done < len(jobs):
        raise typer.Exit(1)
