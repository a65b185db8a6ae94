"""Lengths of time, as people read them."""

from __future__ import annotations

_UNITS = ((172_800.0, 86_400.0, "d"), (7_200.0, 3_600.0, "h"), (120.0, 60.0, "min"), (1.0, 1.0, "s"))


def length(seconds: float) -> str:
    """Returns a length of time in the unit that suits it, with three digits; none is negative."""
    seconds = max(0.0, seconds)
    size, unit = next(((size, unit) for least, size, unit in _UNITS if seconds >= least), (1e-3, "ms"))
    value = seconds / size
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
