"""Parts of pages that are made from the code with the site: ``.. generated:: calls``, ``.. generated:: commands``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from avtomatika import Config, OrchestratorEngine
from avtomatika.cli import app as cli
from avtomatika.server.openapi.document import make_document
from avtomatika.worker import __main__ as worker_command

Rows = list[tuple[str, ...]]


def calls() -> Iterator[str]:
    """Yields the HTTP API as its own OpenAPI document describes it, as reStructuredText."""
    document = make_document(OrchestratorEngine(config=Config(API_PORT=0)).app)
    found = [
        (method.upper(), path, call) for path, methods in document["paths"].items() for method, call in methods.items()
    ]
    for tag in (tag["name"] for tag in document["tags"]):
        below = [one for one in found if tag in one[2]["tags"]]
        if below:
            yield from _heading(tag, "-")
            for method, path, call in below:
                yield from _call(method, path, call)
    yield from _heading("Schemas", "-")
    for name, schema in document["components"]["schemas"].items():
        yield from _heading(name, "~")
        yield from _schema(schema)


def _call(method: str, path: str, call: dict[str, Any]) -> Iterator[str]:
    yield from _heading(f"``{method} {path}``", "~")
    yield from (f"{call['summary']}.", "")
    if call.get("description"):
        yield from (*_plain(call["description"]), "")
    parameters = [
        (f"``{one['name']}``", one["in"], _type(one["schema"]), one.get("description", ""))
        for one in call["parameters"]
    ]
    yield from _table(("Parameter", "In", "Type", "Meaning"), parameters)
    for media, body in call.get("requestBody", {}).get("content", {}).items():
        yield from (f"The body, ``{media}``:", "")
        yield from _schema(body["schema"])
    answers: Rows = []
    for status, answer in call["responses"].items():
        shapes = [f"``{media}`` {_type(body.get('schema', {}))}" for media, body in answer.get("content", {}).items()]
        answers.append((status, answer["description"], ", ".join(shapes)))
    yield from _table(("Answer", "When", "With"), answers)


def _schema(schema: dict[str, Any]) -> Iterator[str]:
    properties = schema.get("properties")
    if not properties:
        yield from (
            ".. code-block:: json",
            "",
            *(f"   {line}" for line in json.dumps(schema, indent=2).split("\n")),
            "",
        )
        return
    required = schema.get("required", ())
    rows = [
        (f"``{name}``{'' if name not in required else ' (needed)'}", _type(one), one.get("description", ""))
        for name, one in properties.items()
    ]
    yield from _table(("Member", "Type", "Meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`_"
    if "enum" in schema:
        return " or ".join(f"``{json.dumps(one)}``" for one in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_type(one) for one in schema[word])
    kind = schema.get("type", "any")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{text} of {_type(schema['items'])}" if "items" in schema else text


def commands() -> Iterator[str]:
    """Yields the commands with their options, in the words of their ``--help``, as reStructuredText."""
    group: Any = typer.main.get_command(cli)
    for name, command in group.commands.items():
        yield from _command(f"avtomatika {name}", command)
    yield from _heading("``python -m avtomatika.worker``", "-")
    parser = worker_command._parser()  # noqa: SLF001 - what --help prints
    yield from _block("text", parser.format_help())


def _command(name: str, command: Any) -> Iterator[str]:
    yield from _heading(f"``{name}``", "-")
    yield from (*_plain(command.help or ""), "")
    rows = []
    for parameter in command.params:
        is_argument = parameter.param_type_name == "argument"
        word = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
        default = "" if parameter.default in {None, False, ""} else f"``{parameter.default}``"
        rows.append((f"``{word}``", default, parameter.help or ""))
    yield from _table(("Argument or option", "Default", "Meaning"), rows)
    for below, one in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {below}", one)


def _heading(text: str, line: str) -> Iterator[str]:
    yield from (text, line * len(text), "")


def _block(language: str, text: str) -> Iterator[str]:
    yield from (f".. code-block:: {language}", "", *(f"   {line}" for line in text.splitlines()), "")


def _plain(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _table(head: tuple[str, ...], rows: Rows) -> Iterator[str]:
    if not rows:
        return
    yield from (".. list-table::", "   :header-rows: 1", "   :class: made", "")
    for row in (head, *rows):
        for number, cell in enumerate(row):
            yield f"   {'*' if number == 0 else ' '} - {' '.join(cell.split())}"
    yield ""


class Generated(SphinxDirective):
    """A part of a page that follows from the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns what the code says now."""
        text = "\n".join({"calls": calls, "commands": commands}[self.arguments[0]]())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Makes the directive known to Sphinx."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
