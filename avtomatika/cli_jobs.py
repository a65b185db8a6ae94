"""The command ``avtomatika jobs``: look at jobs of a running engine and deal with those that stopped."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN

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
    typer.echo(f"{'JOB':<38}{'BLUEPRINT':<24}{'STATUS':<28}{'STATE':<24}AGE")
    for job in jobs:
        age = f"{time.time() - job['created_at']:.0f} s"
        typer.echo(f"{job['id']:<38}{job['blueprint_name']:<24}{job['status']:<28}{job['current_state']:<24}{age}")


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
    client = Client(url, token)
    for job in jobs:
        typer.echo(f"{job}: {client.cancel(job)}")


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
    for job in jobs or []:
        client.requeue(job)
        typer.echo(f"{job}: requeued")
    typer.echo(f"{len(jobs or [])} requeued", err=True)
