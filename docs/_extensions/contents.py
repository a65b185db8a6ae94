"""Puts the pages in order: the site's list of contents, for pages that are also read in the repository.

A list of contents is an instruction to Sphinx, which GitHub would show as text. So it stands here, and comes below the
page when the site is made.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

CONTENTS: dict[str, dict[str, list[str]]] = {
    "docs/README": {
        "Tutorial and notebooks": ["/notebooks/quickstart", "/docs/tutorial/*", "/notebooks/*"],
        "How to": [
            "/docs/howto/cookbook",
            "/docs/howto/blueprints",
            "/docs/howto/workers",
            "/docs/howto/run-workers",
            "/docs/howto/workbench",
            "/docs/howto/test-a-blueprint",
            "/docs/howto/*",
        ],
        "Examples": ["/examples/README"],
        "Reference": ["/docs/reference/python-api", "/docs/reference/*"],
        "Explanation": [
            "/docs/explanation/architecture",
            "/docs/explanation/job-states",
            "/docs/explanation/durability",
            "/docs/explanation/dispatch",
            "/docs/explanation/*",
        ],
        "The project": [
            "/docs/glossary",
            "/docs/decisions/README",
            "/CHANGELOG",
            "/CONTRIBUTING",
            "README </README>",
            "README en español </docs/es/README>",
        ],
    },
    "docs/decisions/README": {"": ["/docs/decisions/*"]},
    "docs/reference/python-api": {"": ["/docs/reference/api/*"]},
    "examples/README": {"": ["/examples/*/README"]},
    "CONTRIBUTING": {"": ["/docs/changelog.d/README"]},
}
"""A page's name to its lists: caption to the pages, in order; a pattern stands for those that are not named."""


def add_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Writes the lists of a page below its text."""
    for caption, entries in CONTENTS.get(page, {}).items():
        options = [":hidden:", ":glob:", *([f":caption: {caption}"] if caption else [])]
        source[0] += "\n".join(["\n\n```{toctree}", *options, *entries, "```", ""])


def setup(app: Sphinx) -> dict[str, Any]:
    """Makes the lists known to Sphinx."""
    app.connect("source-read", add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
