"""Workers that polled with a short-lived token which had ended: told so at once, and held when that changed nothing."""

from __future__ import annotations

# Less than any such token lasts, so that each end is told at once; a worker that gets no other one polls on with it.
_ONCE_SECONDS = 30.0
_REMEMBERED = 10_000


class EndedTokens:
    """Who was told lately, at one engine."""

    def __init__(self) -> None:
        # In the order in which they were told.
        self._told_at: dict[str, float] = {}

    def is_news(self, worker_id: str, now: float) -> bool:
        """Whether a worker has not been told for a while; then it counts as told now.

        Args:
            worker_id: as its poll names it.
            now: Unix seconds.
        """
        if now < self._told_at.get(worker_id, float("-inf")) + _ONCE_SECONDS:
            return False
        self._told_at.pop(worker_id, None)
        self._told_at[worker_id] = now
        if len(self._told_at) > _REMEMBERED:
            del self._told_at[next(iter(self._told_at))]
        return True
