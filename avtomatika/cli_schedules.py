"""The command ``avtomatika schedules``: when the schedules of a file are due, without an engine."""

from __future__ import annotations

import datetime
import itertools
import time
from typing import Annotated

import typer

from avtomatika.config import Config
from avtomatika.errors import ConfigError
from avtomatika.schedules import read_schedules


def schedules(
    file: Annotated[str, typer.Option(help="The file; else that of SCHEDULES_CONFIG_PATH.")] = "",
    count: Annotated[int, typer.Option(min=1, max=100, help="How many instants of each.")] = 3,
) -> None:
    """List when the schedules of a file are due next."""
    config = Config()
    path = file or config.SCHEDULES_CONFIG_PATH
    if not path:
        raise ConfigError("there is no file of schedules. Set SCHEDULES_CONFIG_PATH, or give --file schedules.toml.")
    found = [schedule for schedule in read_schedules(path, config.zone, None) if schedule.enabled]
    if not found:
        typer.echo(f"{path} has no schedule that is enabled.", err=True)
        return
    now = time.time()
    typer.echo(f"{'SCHEDULE':<24}{'BLUEPRINT':<24}{'RULE':<36}NEXT")
    for schedule in found:
        moments = [
            datetime.datetime.fromtimestamp(at, schedule.zone).isoformat(" ", "seconds")
            for at in itertools.islice(schedule.instants(now), count)
        ]
        typer.echo(f"{schedule.name:<24}{schedule.blueprint:<24}{schedule.rule!s:<36}{moments[0]}")
        for moment in moments[1:]:
            typer.echo(f"{'':<84}{moment}")
