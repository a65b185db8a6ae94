"""``clients.toml``: what it may say, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from avtomatika.config import DEFAULT_CLIENT_TOKEN
from avtomatika.errors import ConfigError
from avtomatika.security.clients import ClientEntry, read_clients
from avtomatika.security.tokens import hash_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test is."""
    return tmp_path / "clients.toml"


def test_clients_have_plan_quota_and_all_else_as_params(path: Path) -> None:
    """Tokens are kept as hashes, whether they were written plainly or as hashes."""
    path.write_text(
        f"""
        [acme]
        token = "acme-secret"
        plan = "gold"
        monthly_attempts = 100
        region = "eu"
        [acme.limits]
        files = [1, 2.5, true]

        [zeta]
        token = "{hash_of("zeta-secret")}"
        """
    )

    acme, zeta = read_clients(path)

    limits = {"region": "eu", "limits": {"files": [1, 2.5, True]}}
    assert acme == ClientEntry("acme", hash_of("acme-secret"), "gold", 100, limits)
    assert zeta == ClientEntry("zeta", hash_of("zeta-secret"), params={})
    assert "acme-secret" not in repr(acme)


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ('[a]\nplan = "x"', 1, "has no 'token'"),
        ("[a]\ntoken = 5", 2, "is a whole number"),
        ('[a]\ntoken = ""', 2, "is empty, too long"),
        ('[a]\ntoken = "two words"', 2, "is empty, too long"),
        (f'[a]\ntoken = "{DEFAULT_CLIENT_TOKEN}"', 2, "is a public default"),
        (f'[a]\ntoken = "{hash_of(DEFAULT_CLIENT_TOKEN)}"', 2, "is a public default"),
        ('[a]\ntoken = "x"\n[b]\ntoken = "x"', 4, "is the same as that of [a]"),
        (f'[a]\ntoken = "x"\n[b]\ntoken = "{hash_of("x")}"', 4, "is the same as that of [a]"),
        ('[a]\ntoken = "x"\nplan = 1', 3, "expected a text"),
        ('[a]\ntoken = "x"\nmonthly_attempts = "many"', 3, "expected a whole number from 0"),
        ('[a]\ntoken = "x"\nmonthly_attempts = -1', 3, "is negative"),
        ('[a]\ntoken = "x"\nmonthly_attempts = true', 3, "is a boolean"),
        ('[a]\ntoken = "x"\nmontly_attempts = 3', 3, "Did you mean 'monthly_attempts'?"),
        ('[a]\ntoken = "x"\nsince = 2026-01-01', 3, "no job can store"),
        ('[a]\ntoken = "x"\nshare = nan', 3, "no job can store"),
        ('["a b"]\ntoken = "x"', 1, "is no name of a client"),
        ('[internal]\ntoken = "x"', 1, "is the name of the engine itself"),
        ('[default]\ntoken = "x"', 1, "is the name of the holder of CLIENT_TOKEN"),
    ],
)
def test_clients_file_that_is_wrong_names_line_and_remedy(path: Path, text: str, line: int, complaint: str) -> None:
    """No half of a file is taken, and no token is shown."""
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        read_clients(path, frozenset({DEFAULT_CLIENT_TOKEN}))

    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert complaint in str(caught.value)
    assert DEFAULT_CLIENT_TOKEN not in str(caught.value)
