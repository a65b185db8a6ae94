"""Files of sections: what is wrong is said with file, line, field and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.errors import ConfigError
from avtomatika.toml_files import Section, TomlFile

TEXT = """\
# who is who
[anna]
token = "a"
"quota per month" = 5

[boris]   # a comment
limits.day = 3
[ boris . address ]
city = "Riga"
"""


def section(path: Path, text: str, name: str) -> Section:
    """Returns a section of a file with that text."""
    path.write_text(text, encoding="utf-8")
    return next(one for one in TomlFile(path) if one.name == name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test is."""
    return tmp_path / "some.toml"


@pytest.mark.parametrize(
    ("name", "field", "line"),
    [
        ("anna", "token", 3),
        ("anna", "quota per month", 4),
        ("anna", "", 2),
        ("anna", "missing", 2),
        ("boris", "limits", 7),
        ("boris", "address", 8),
    ],
)
def test_complaint_names_file_section_field_and_line(path: Path, name: str, field: str, line: int) -> None:
    """A field is found where it stands, one that is missing at its section."""
    error = section(path, TEXT, name).complaint(field, "is wrong.")

    assert str(error).startswith(f"{path}, line {line}: ")
    assert f"[{name}]" in str(error)
    assert field in str(error)


def test_take_of_missing_field_guesses_and_says_what_to_add(path: Path) -> None:
    """A typing error in the name of a field is recognised."""
    with pytest.raises(ConfigError, match=r"line 1: \[a\] has no 'token'\. Did you mean 'tokn'\? Add token = \.\.\."):
        section(path, '[a]\ntokn = "x"', "a").take("token", str, "token = ...")


@pytest.mark.parametrize(
    ("written", "kind"),
    [("true", "boolean"), ("1.5", "number"), ('"5"', "text"), ("[5]", "list"), ("2020-01-01", "date or time")],
)
def test_take_of_wrong_kind_says_what_it_is_but_not_its_value(path: Path, written: str, kind: str) -> None:
    """The value may be a secret in the wrong place."""
    with pytest.raises(ConfigError, match=f"line 2: 'n' of \\[a\\] is a {kind}; expected a whole number") as caught:
        section(path, f"[a]\nn = {written}", "a").take("n", int, "a whole number", 0)

    assert written not in str(caught.value).partition("is a")[2] or written == "true"


def test_unknown_field_lists_the_known_ones(path: Path) -> None:
    """What nobody takes is an error, not silence."""
    with pytest.raises(ConfigError, match=r"line 2: 'tken' of \[a\] is unknown\. Did you mean 'token'\? Known: token"):
        section(path, "[a]\ntken = 1", "a").require_empty(["token"])


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[a]\n[cpu-worker-*]\n", 2, '["worker-*"]'),
        ("[a]\nn = \n", 2, "this is no TOML"),
        ("[a]\n[a]\n", 2, "this is no TOML"),
        ('[a]\nt = """', 2, "this is no TOML"),
        ("# nothing\ntoken = 1\n", 2, "outside a section"),
    ],
)
def test_file_that_is_malformed_names_the_line(path: Path, text: str, line: int, part: str) -> None:
    """Whoever edits the file finds the place."""
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        TomlFile(path)

    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert part in str(caught.value)


def test_file_that_is_not_there_or_unreadable_is_named(tmp_path: Path) -> None:
    """Neither a missing file nor one that is no text starts half an engine."""
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")

    for name in ("missing.toml", "bytes.toml"):
        with pytest.raises(ConfigError, match=f"{name} cannot be read"):
            TomlFile(tmp_path / name)


@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No text makes it stumble."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")

    try:
        file = TomlFile(path)
    except ConfigError as error:
        assert str(error).startswith(f"{path}")  # noqa: PT017 - it may also be good TOML
        return
    assert all(1 <= file.line_of(one.name, "x") <= len(file.text.splitlines()) for one in file)
