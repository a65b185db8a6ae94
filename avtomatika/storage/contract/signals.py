"""Signals: what a storage tells the waiting parts of all engines."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from avtomatika.storage.contract.tasks import Queue


class Signal(Struct, frozen=True):
    """Something that a waiting part of an engine wants to know at once; losing one costs time, never work.

    Args:
        kind: ``ready`` (a wake-up was queued or given back), ``task`` (a task was queued; one signal for each),
            ``slot`` (a claimed task that counts against a limit has ended), ``timer`` (timers or leases were set),
            ``job`` (a job was committed), ``progress``, ``event`` (rows wait in the outbox), ``message`` (messages wait
            in the outbox), ``missed`` (signals of other engines may have been lost: whatever one waits for has to be
            looked for), ``loss`` (the backend has lost what it had acknowledged).
        key: the queue's name for ``task``, the task's type for ``slot``, the job's id for ``job`` and ``progress``, the
            topic for ``message`` (empty for any), ``gone`` or ``rolled_back`` for ``loss``, else empty.
        at: when the earliest ``timer`` fires, a ``ready`` job or the earliest ``message`` is due; else 0.
        final: a ``job`` has ended.
        queue: for ``task``: the kind of task that was queued; its length and age may be unset.
        strategy: for ``task``: how to choose among waiting workers.
        preferred: for ``task``: the worker that did the job's last task, or empty.
        patience: for ``task``: seconds that other workers leave it to that one.
    """

    kind: str
    key: str = ""
    at: float = 0.0
    final: bool = False
    queue: Queue | None = None
    strategy: str = "default"
    preferred: str = ""
    patience: float = 0.0


Listener = Callable[[Signal], None]
