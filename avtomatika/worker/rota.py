"""The rota: which of several engines a worker asks next. Pure: moments come as arguments."""

from __future__ import annotations

from collections.abc import Sequence

from avtomatika.worker.engines import Mode


class Rota:
    """Chooses among engines.

    Args:
        weights: of the engines, in the order in which they are to be asked.
        mode: how the worker shares itself out.
    """

    def __init__(self, weights: Sequence[float], mode: Mode) -> None:
        self._weights = list(weights)
        self._mode = mode
        # How far each is behind its share, in ROUND_ROBIN: who is furthest behind comes next, which spreads the turns.
        self._behind = [0.0] * len(self._weights)
        self._place = 0

    def next(self, usable: Sequence[bool]) -> int | None:
        """Returns the place of the engine to ask, or None if none can be asked now.

        Args:
            usable: for each engine, whether it can be asked.
        """
        places = [place for place, is_usable in enumerate(usable) if is_usable]
        if not places:
            return None
        match self._mode:
            case Mode.FAILOVER:
                return places[0]
            case Mode.WATERFALL:
                return next((place for place in places if place >= self._place), places[0])
            case Mode.ROUND_ROBIN:
                return self._in_turn(places)

    def note(self, place: int, *, brought: bool) -> None:
        """Takes note of what came of asking.

        Args:
            place: whom.
            brought: it had a task.
        """
        self._place = 0 if brought else (place + 1) % len(self._weights)

    def _in_turn(self, places: Sequence[int]) -> int:
        for place in places:
            self._behind[place] += self._weights[place]
        chosen = max(places, key=lambda place: self._behind[place])
        self._behind[chosen] -= sum(self._weights[place] for place in places)
        return chosen
