"""Every link of the manual leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest


def test_links_of_page_lead_to_files_and_anchors_that_exist(page: Any, pages: dict[str, Any]) -> None:
    """A relative link names a file of the repository, and its anchor a heading there."""
    by_path = {other.path: other for other in pages.values()}
    broken = []
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        if not path.exists() or (anchor and anchor not in by_path[path].anchors):
            broken.append(link)

    assert not broken, f"{page.name} has links that lead nowhere: {broken}"


def test_every_page_of_the_manual_is_reached_from_its_index(pages: dict[str, Any], root: Path) -> None:
    """Whoever starts at docs/README.md finds every page below docs/."""
    found, waiting = set(), [pages["docs/README.md"]]
    while waiting:
        page = waiting.pop()
        found.add(page.path)
        for link in page.links:
            path = (page.path.parent / link.partition("#")[0]).resolve()
            other = next((other for other in pages.values() if other.path == path), None)
            if other is not None and path not in found:
                waiting.append(other)

    assert {
        page.name for page in pages.values() if page.path not in found and (root / "docs") in page.path.parents
    } == (_fragments(pages))


def _fragments(pages: dict[str, Any]) -> set[str]:
    """Returns the changelog fragments: they are read in CHANGELOG.md."""
    return {
        name for name in pages if re.fullmatch(r"docs/changelog\.d/[\w-]+\.(added|changed|fixed|removed)\.md", name)
    }


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("One commit per step", "one-commit-per-step"),
        ("`POST /api/{version}{endpoint}`", "post-apiversionendpoint"),
        ("What is `F`?", "what-is-f"),
    ],
)
def test_anchor_of_heading_is_that_of_github(heading: str, anchor: str, tmp_path: Path, pages: dict[str, Any]) -> None:
    """Punctuation goes, spaces become hyphens."""
    page = type(next(iter(pages.values())))(tmp_path / "page.md")
    page.path.write_text(f"# {heading}\n", encoding="utf-8")

    assert page.anchors == {anchor}
