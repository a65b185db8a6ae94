"""SQL: every statement of a backend is one file in ``sql/<backend>/``, named for what it does."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def load_query(backend: str, name: str) -> str:
    """Returns the text of ``sql/<backend>/<name>.sql``."""
    return (resources.files("avtomatika.history") / "sql" / backend / f"{name}.sql").read_text("utf-8")
