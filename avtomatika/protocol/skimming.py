"""Skimming: finds out which task a result is for while it passes by, of a result too large to be kept.

Newer workers write the members of a message in the order of their names, so the ids come behind the data: the whole
body has to go by, but nothing of it has to stay.
"""

from __future__ import annotations

import json
import re

from avtomatika.protocol.messages import Result

_NAMES = frozenset({"job_id", "task_id", "worker_id"})
# Longer texts are neither a name nor an id.
_LONGEST = 512
_MARK = re.compile(rb'["{}\[\]:,]')
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_ROUND, _NO_BRACKETS = bytes.maketrans(b"{[]}", b"(())"), bytes(set(range(256)) - set(b"{[]}"))
_QUOTE, _OPENING, _CLOSING = ord('"'), frozenset(b"{["), frozenset(b"}]")


class Skim:
    """Reads the JSON of one result, piece by piece, and keeps the ids that stand at its top."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes so far."""
        self._found: dict[str, str] = {}
        self._depth = 0
        self._name = ""  # of the member whose value comes next
        self._text = bytearray()  # the last one at the top
        self._in_text = False
        self._is_cut = False  # the piece before ended between a backslash and its letter

    def feed(self, piece: bytes) -> None:
        """Takes the next piece."""
        self.size += len(piece)
        at = self._read_text(piece, 0) if self._in_text and piece else 0
        if self._depth > 1 and not self._in_text and self._pass_inside(piece[at:]):
            return
        while at < len(piece):
            if self._in_text:
                at = self._read_text(piece, at)
                continue
            mark = _MARK.search(piece, at)
            if mark is None:
                return
            at = mark.end()
            self._pass_mark(piece[at - 1])

    def result(self) -> Result:
        """Returns the result without its data; an id that was not found is empty."""
        found = self._found
        return Result(found.get("job_id", ""), found.get("task_id", ""), found.get("worker_id", ""))

    def _pass_inside(self, piece: bytes) -> bool:
        """Passes over a piece, several times faster, if all of it belongs to one value; returns whether it does."""
        plain = _ESCAPE.sub(b"", piece) if b"\\" in piece else piece
        between = plain.split(b'"')
        marks = b"".join(between[::2]).translate(_ROUND, _NO_BRACKETS)
        while b"()" in marks:
            marks = marks.replace(b"()", b"")
        closing = marks.count(b")")
        if self._depth - closing < 2:
            return False
        self._depth += len(marks) - 2 * closing
        self._in_text = len(between) % 2 == 0
        self._is_cut = self._in_text and plain.endswith(b"\\")
        return True

    def _pass_mark(self, mark: int) -> None:
        if mark == _QUOTE:
            self._in_text = True
            self._text.clear()
        elif mark in _OPENING:
            self._depth += 1
        elif mark in _CLOSING:
            self._depth -= 1
        elif self._depth == 1:
            self._name = _decode(self._text) if mark == ord(":") else ""

    def _read_text(self, piece: bytes, at: int) -> int:
        """Returns the position behind what belongs to the text that was begun."""
        begin = at
        if self._is_cut:
            self._is_cut = False
            at += 1
        found = _TEXT.match(piece, at)
        end = at if found is None else found.end()
        if self._depth == 1 and len(self._text) <= _LONGEST:
            self._text += piece[begin : min(end, begin + _LONGEST + 1)]
        if end == len(piece):
            return end
        if piece[end] == _QUOTE:
            self._in_text = False
            if self._depth == 1 and self._name in _NAMES:
                self._found[self._name] = _decode(self._text)
        else:
            self._is_cut = True
            self._text += b"\\"
        return end + 1


def _decode(text: bytearray) -> str:
    if len(text) > _LONGEST:
        return ""
    try:
        decoded = json.loads(b'"%b"' % bytes(text))
    except ValueError:
        return ""
    return decoded if isinstance(decoded, str) else ""
