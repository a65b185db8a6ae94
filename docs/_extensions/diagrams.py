"""Shows the ``mermaid`` blocks of the pages as pictures, without anything from another server.

GitHub draws these blocks itself. For the site, ``python docs/make_diagrams.py`` has drawn each once into
``docs/images/diagrams``, under a name made from its text; a block whose picture is missing is a warning.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from make_diagrams import picture_of
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger

_log = getLogger(__name__)
_PAGE_WIDTH, _SMALLEST = 700.0, 0.6


class Mermaid(SphinxDirective):
    """A diagram in the language of Mermaid."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Returns the picture in a frame that can be scrolled."""
        picture = picture_of("\n".join(self.content))
        if not picture.exists():
            _log.warning("a diagram is not drawn; run: python docs/make_diagrams.py", location=self.get_location())
            return [nodes.literal_block(text="\n".join(self.content))]
        address = f"/{picture.relative_to(self.env.srcdir).as_posix()}"
        image = nodes.image(uri=address, alt=" ".join(self.content)[:200], classes=["diagram"], width=_width(picture))
        return [nodes.container("", image, classes=["diagram-frame"])]


def _width(picture: Path) -> str:
    """Returns how wide to show a picture so that its words can be read; what is wider than the page can be scrolled."""
    drawn = float(re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+)', picture.read_text(encoding="utf-8"))[1])  # type: ignore[index]
    return f"{max(min(drawn, _PAGE_WIDTH), _SMALLEST * drawn):.0f}px"


def setup(app: Sphinx) -> dict[str, Any]:
    """Makes the directive known to Sphinx."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
