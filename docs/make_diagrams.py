"""Draws the ``mermaid`` blocks of the manual for the site, into ``docs/images/diagrams``.

pip install mermaidx==0.10.1
python docs/make_diagrams.py

A test fails while a picture is missing, or left over from a block that has changed. Nothing else needs that package.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

MANUAL = Path(__file__).parent
PICTURES = MANUAL / "images" / "diagrams"
_BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def picture_of(text: str) -> Path:
    """Returns the file in which the picture of a diagram is kept, whether or not it is there.

    Args:
        text: the diagram, as in its block.
    """
    return PICTURES / f"{hashlib.sha256(text.strip().encode()).hexdigest()[:16]}.svg"


def diagrams() -> dict[Path, str]:
    """Returns the file of each picture that the manual needs, with the text of the diagram."""
    blocks = (block for page in MANUAL.rglob("*.md") for block in _BLOCK.findall(page.read_text(encoding="utf-8")))
    return {picture_of(block): block for block in blocks}


def main() -> None:
    """Draws what is missing and removes what is left over."""
    import mermaidx  # noqa: PLC0415 - only who draws needs it

    needed = diagrams()
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in set(PICTURES.glob("*.svg")) - set(needed):
        old.unlink()
    for picture, text in needed.items():
        if not picture.exists():
            picture.write_text(mermaidx.render(text).svg() + "\n", encoding="utf-8")
            print(f"drew {picture.name}: {text.splitlines()[0]}")


if __name__ == "__main__":
    main()
