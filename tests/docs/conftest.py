"""The pages of the manual as the tests see them: their prose, their links, their code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(`{3,})(\w*)\s*$")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#{1,6}) (.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: the word after the fence, or empty.
        first_line: number of its first line of text, from 1.
        text: what it holds.
    """

    language: str
    first_line: int
    text: str


@dataclass(frozen=True)
class Page:
    """A Markdown file.

    Args:
        path: the file.
    """

    path: Path

    @property
    def name(self) -> str:
        """Its path below the root of the repository, or its whole path if it is elsewhere."""
        return str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path)

    @property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        return [block for block in self._parts() if block.language != "prose"]

    @property
    def printed(self) -> str:
        """What its code prints: its ``text`` blocks, and lines such as "It prints `x`."."""
        found: list[str] = []
        for part in self._parts():
            if part.language == "text":
                found.append(part.text)
            elif part.language == "prose":
                found += re.findall(r"^It prints `(.*)`\.$", part.text, re.MULTILINE)
        return "\n".join(found)

    @property
    def prose(self) -> str:
        """Everything outside of fenced blocks."""
        return "\n".join(part.text for part in self._parts() if part.language == "prose")

    @property
    def headings(self) -> list[str]:
        """The texts of its headings."""
        found = (_HEADING.match(line) for line in self.prose.splitlines())
        return [match[2].strip() for match in found if match]

    @property
    def links(self) -> list[str]:
        """The targets of its links and pictures."""
        return _LINK.findall(re.sub(r"`[^`\n]*`", "``", self.prose))

    @property
    def anchors(self) -> set[str]:
        """What ``#...`` of a link to this page may say, as GitHub makes it from the headings."""
        return {slug(heading) for heading in self.headings}

    @property
    def code_words(self) -> set[str]:
        """What stands between single backticks."""
        return set(re.findall(r"`([^`\n]+)`", self.prose))

    def section(self, heading: str) -> str:
        """Returns the text between a heading and the next one of the same or a higher level."""
        lines = self.text.splitlines()
        start = next(index for index, line in enumerate(lines) if _is_heading(line, heading))
        level = len(lines[start].split(" ")[0])
        end = next(
            (
                index
                for index, line in enumerate(lines[start + 1 :], start + 1)
                if (match := _HEADING.match(line)) and len(match[1]) <= level
            ),
            len(lines),
        )
        return "\n".join(lines[start + 1 : end])

    def table(self, heading: str) -> list[list[str]]:
        """Returns the rows of the tables below a heading, without their heads."""
        rows = [line for line in self.section(heading).splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])] for row in rows]
        rules = [index for index, row in enumerate(cells) if set("".join(row)) <= set("-: ")]
        heads = {index - 1 for index in rules}
        return [row for index, row in enumerate(cells) if index not in heads and index not in rules]

    def _parts(self) -> Iterator[Block]:
        language, first, lines, fence = "prose", 1, [], ""
        for number, line in enumerate(self.text.splitlines(), 1):
            match = _FENCE.match(line)
            if match and (not fence or (match[1] == fence and not match[2])):
                yield Block(language, first, "\n".join(lines))
                language, fence = ("prose", "") if fence else (match[2], match[1])
                first, lines = number + 1, []
            else:
                lines.append(line)
        assert not fence, f"{self.name}: a fenced block is not closed"
        yield Block(language, first, "\n".join(lines))


def _is_heading(line: str, heading: str) -> bool:
    match = _HEADING.match(line)
    return bool(match) and match[2].strip() == heading  # type: ignore[index]


def slug(heading: str) -> str:
    """Returns the anchor of a heading: lower case, without punctuation, hyphens for spaces."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def all_pages() -> list[Page]:
    """Returns every Markdown file that the project publishes."""
    top = sorted(ROOT.glob("*.md"))
    below = sorted(path for folder in ("docs", "examples") for path in (ROOT / folder).rglob("*.md"))
    return [Page(path) for path in (*top, *below)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that asks for ``page`` once for each page, one that asks for ``code_page`` for each with Python."""
    for name, chosen in (
        ("page", all_pages()),
        ("code_page", [page for page in all_pages() if any(block.language == "python" for block in page.blocks)]),
    ):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, chosen, ids=[page.name for page in chosen])


@pytest.fixture
def pages() -> dict[str, Page]:
    """All pages, by their path below the root."""
    return {page.name: page for page in all_pages()}


@pytest.fixture
def root() -> Path:
    """The root of the repository."""
    return ROOT
