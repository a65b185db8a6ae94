"""The command ``avtomatika messages``: look at messages that were given up, and send them again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from avtomatika.cli_jobs import Token, Url
from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from avtomatika.lengths import length

app = typer.Typer(
    help="Look at messages of a running engine that were given up, and send them again.", no_args_is_help=True
)

_URL = "http://127.0.0.1:8080"

Topic = Annotated[str | None, typer.Option(help="Only of this topic, such as webhook.")]


@app.command()
def dead(
    topic: Topic = None,
    limit: Annotated[int, typer.Option(help="At most so many, last given up first.")] = 50,
    url: Url = _URL,
    token: Token = DEFAULT_CLIENT_TOKEN,
) -> None:
    """List dead letters, last given up first."""
    typer.echo(f"{'MESSAGE':<46}{'TOPIC':<12}{'ATTEMPTS':<10}{'AGE':<12}ERROR")
    for letter in Client(url, token).dead_letters(topic=topic, limit=limit):
        age = length(time.time() - letter["buried_at"])
        typer.echo(f"{letter['id']:<46}{letter['topic']:<12}{letter['attempts']:<10}{age:<12}{letter['error']}")


@app.command()
def replay(
    messages: Annotated[list[str] | None, typer.Argument(help="Ids of dead letters.")] = None,
    topic: Annotated[str | None, typer.Option(help="All dead letters of this topic.")] = None,
    url: Url = _URL,
    token: Token = DEFAULT_CLIENT_TOKEN,
) -> None:
    """Send dead letters again, with all their attempts before them."""
    if bool(messages) == bool(topic):
        raise typer.BadParameter("give ids of dead letters, or --topic webhook")
    client = Client(url, token)
    if topic:
        messages = [letter["id"] for letter in client.dead_letters(topic=topic)]
    replayed = client.replay(messages or [])
    for message in replayed:
        typer.echo(f"{message}: sent again")
    for message in messages or []:
        if message not in replayed:
            typer.echo(f"{message}: no dead letter of yours", err=True)
    typer.echo(f"{len(replayed)} sent again", err=True)
