"""Named points at which a process kills itself, chosen by the environment variable ``CHAOS_POINT``."""

from __future__ import annotations

import os
import random
import signal

ENGINE_POINTS = ("before commit", "after commit", "after claim_jobs", "after claim_tasks", "after ack_events")
"""Where an engine can kill itself."""
WORKER_POINTS = ("before work", "after work")
"""Where a worker can kill itself."""


class Doom:
    """Kills this process at one of the named points, at some visit."""

    def __init__(self) -> None:
        self._point = os.environ.get("CHAOS_POINT", "")
        self._visits = random.randint(20, 150)

    def pass_by(self, point: str) -> None:
        """Returns, or does not."""
        if point == self._point:
            self._visits -= 1
            if self._visits <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


doom = Doom()
