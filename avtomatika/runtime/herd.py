"""Many workers that come at the same moment: each is told to wait a little longer once, so that they come apart.

They come together when an engine is back after an absence, or when one command starts a hundred; without this they
would beat in step for ever.
"""

from __future__ import annotations

from collections import deque

from avtomatika.core.retry import spread

_CROWD = 20
_MOMENT_SECONDS = 2.0
# No more than what a claim that no heartbeat has confirmed may wait beyond the usual 15 s.
_LONGEST_SECONDS = 4.0


class Herd:
    """The workers that came lately, by their first heartbeats."""

    def __init__(self) -> None:
        self._came: deque[float] = deque()

    def jitter(self, worker_id: str, now: float) -> float:
        """Returns how long a worker shall wait beyond its usual interval, seconds; 0 unless it came in a crowd.

        Args:
            worker_id: whose first heartbeat it is, since its registration or since it was forgotten.
            now: the moment.
        """
        self._came.append(now)
        while self._came[0] < now - _MOMENT_SECONDS:
            self._came.popleft()
        return spread(worker_id) * _LONGEST_SECONDS if len(self._came) > _CROWD else 0.0
