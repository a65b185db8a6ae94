"""Files of jobs at the client's side: names and places, without the network; both shells use exactly this."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from avtomatika.errors import ClientError

STORE_SECONDS = 120.0
"""How long a server may be silent while a file moves: it syncs what has come before it says so."""


def open_source(source: str | Path | bytes) -> BinaryIO:
    """Opens what is to be sent.

    Raises:
        OSError: it cannot be read.
    """
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def name_for(source: str | Path | bytes, name: str) -> str:
    """Returns the name under which something is sent.

    Raises:
        ValueError: it has none.
    """
    own = "" if isinstance(source, bytes) else Path(source).name
    if not (name or own):
        raise ValueError("what is sent has no name of its own; say name='out/report.csv', for example.")
    return name or own


def place_for(name: str, destination: str | Path | None) -> Path:
    """Returns where a file goes: below a folder under the last part of its name, else where it was said."""
    place = Path(destination) if destination is not None else Path()
    return place / Path(name).name if place.is_dir() else place


def not_served(name: str, status: int) -> ClientError:
    """Returns what to raise when the store to which the engine sent us does not give the file."""
    return ClientError(
        status, "file_not_served", f"the store of files did not give '{name}' (HTTP {status}). Ask the engine again."
    )
