"""Writes the fragments of docs/changelog.d into the section "Unreleased" of CHANGELOG.md.

python docs/make_changelog.py
"""

from __future__ import annotations

import re
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
FRAGMENTS = Path(__file__).parent / "changelog.d"
KINDS = ("added", "changed", "fixed", "removed")
_NAME = re.compile(rf"[a-z0-9-]+\.({'|'.join(KINDS)})\.md")
_SECTION = re.compile(r"(?<=^## Unreleased\n).*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def unreleased(folder: Path) -> str:
    """Returns the text of the section: the fragments by kind, then by name.

    Raises:
        ValueError: a file is named otherwise than ``WHAT.KIND.md``, or is empty.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.glob("*.md")):
        if path.name == "README.md":
            continue
        match = _NAME.fullmatch(path.name)
        text = " ".join(path.read_text(encoding="utf-8").split())
        if not match or not text:
            raise ValueError(f"{path} must be named WHAT.KIND.md, with KIND one of {', '.join(KINDS)}, and hold text.")
        found[match[1]].append(f"- {text}\n")
    return "".join(f"\n### {kind.capitalize()}\n\n{''.join(items)}" for kind, items in found.items() if items) + "\n"


def with_unreleased(changelog: str, section: str) -> str:
    """Returns the changelog with this text below "Unreleased".

    Raises:
        ValueError: it has no such section.
    """
    if not _SECTION.search(changelog):
        raise ValueError('CHANGELOG.md has no section "## Unreleased"; add the heading.')
    return _SECTION.sub(lambda _: section, changelog, count=1).rstrip("\n") + "\n"


if __name__ == "__main__":
    old = CHANGELOG.read_text(encoding="utf-8")
    CHANGELOG.write_text(with_unreleased(old, unreleased(FRAGMENTS)), encoding="utf-8")
