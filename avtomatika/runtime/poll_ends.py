"""When polls end that bring no task: the long ones together, at moments that they share.

A poll that ends alone wakes an engine that has nothing else to do, twice: to answer, and to take the next poll. The
processor's caches have been filled by others meanwhile, so that each costs several times what it costs beside others.
"""

from __future__ import annotations

# Shorter polls end when they are asked to: a pause between the shared moments would be much of their time.
_LONG = 10.0
# The shared moments are 2 ** -2 seconds apart, and closer where there are thousands of polls. So of polls of 30 s no
# more than some thirty end at a time, and nothing else waits longer than they take.
_LEAST_BITS, _CROWD = 2, 1000


def end_of_poll(now: float, seconds: float, parked: int) -> float:
    """Returns the moment at which a poll ends; that of a long one is up to a quarter of a second early.

    Args:
        now: when it begins, Unix seconds.
        seconds: how long it may be held.
        parked: how many polls are held.
    """
    ends_at = now + seconds
    if seconds < _LONG:
        return ends_at
    # A power of two divides moments exactly: all polls find the same one.
    pause = 2.0 ** -max(_LEAST_BITS, (parked // _CROWD).bit_length())
    return ends_at - ends_at % pause
