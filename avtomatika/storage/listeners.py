"""Who hears a storage's signals: the same for every backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from avtomatika.storage.base import Listener, Signal

log = logging.getLogger(__name__)


class Listeners:
    """Listeners and the kinds of signals that each wants to hear."""

    def __init__(self) -> None:
        self._subscriptions: dict[object, tuple[Listener, tuple[str, ...]]] = {}
        # By kind, as they come to be needed: a step tells several signals, and most listeners want one kind.
        self._of_kind: dict[str, tuple[Listener, ...]] = {}

    def add(self, listener: Listener, kinds: tuple[str, ...]) -> Callable[[], None]:
        """Takes a listener in; returns the function that ends its subscription, any number of times."""
        subscription = object()
        self._subscriptions[subscription] = (listener, kinds)
        self._of_kind.clear()

        def end() -> None:
            self._subscriptions.pop(subscription, None)
            self._of_kind.clear()

        return end

    def tell(self, signals: Iterable[Signal]) -> None:
        """Lets each listener hear what it wants of these; one that raises is logged and harms nobody."""
        for signal in signals:
            listeners = self._of_kind.get(signal.kind)
            for listener in self._find(signal.kind) if listeners is None else listeners:
                try:
                    listener(signal)
                except Exception:
                    log.exception("a listener raised", extra={"action": "listener_failed", "signal": signal.kind})

    def _find(self, kind: str) -> tuple[Listener, ...]:
        found = tuple(listener for listener, kinds in self._subscriptions.values() if not kinds or kind in kinds)
        self._of_kind[kind] = found
        return found
