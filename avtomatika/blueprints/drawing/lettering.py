"""Lettering: how wide a text will be, from a table, so that a drawing is the same on every machine."""

from __future__ import annotations

# Widths in parts of the font size. They are those of wide sans-serif fonts, as which font draws the text is not known:
# in a narrower one a label has a little more room.
_NARROW = dict.fromkeys("ijl|!.,:;'` ", 0.33)
_SLIM = dict.fromkeys('frtI()[]{}/\\-"*', 0.44)
_WIDE = dict.fromkeys("mwMW@%&", 0.94)
_WIDTHS = {**_NARROW, **_SLIM, **_WIDE}
_UPPER, _OTHER, _FULL = 0.72, 0.61, 1.05
_FULL_WIDTH_FROM = 0x1100  # Hangul, kana, CJK, emoji: as wide as high

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def text_width(text: str, size: float) -> float:
    """Returns the width of one line in pixels, for a font of ``size`` pixels."""
    return round(sum(_parts(character) for character in text) * size / 100, 1)


def shorten(text: str, size: float, room: float) -> str:
    """Returns ``text``, or as much of its start as fits into ``room`` pixels, with an ellipsis."""
    if text_width(text, size) <= room:
        return text
    kept = text
    while kept and text_width(kept + ELLIPSIS, size) > room:
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS


def _parts(character: str) -> int:
    """Returns the width in hundredths: whole numbers add up to the same on every version of Python."""
    if ord(character) >= _FULL_WIDTH_FROM:
        share = _FULL
    elif character.isascii() and character.isupper():
        share = _WIDTHS.get(character, _UPPER)
    else:
        share = _WIDTHS.get(character, _OTHER)
    return round(share * 100)
