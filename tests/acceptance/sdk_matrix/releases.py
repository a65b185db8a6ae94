"""The published releases of the worker SDK, and what they cannot do whatever the server does (protocol, section 1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """One release.

    Args:
        number: the beta's number.
    """

    number: int

    @property
    def name(self) -> str:
        """As pip knows it."""
        return f"1.0b{self.number}"

    @property
    def generation(self) -> str:
        """Which shape its messages have."""
        last = {"G0": 3, "G1": 6, "G1s": 7, "G2": 13, "G3": 17}
        return next((name for name, number in last.items() if self.number <= number), "G4")

    @property
    def hears_heartbeats(self) -> bool:
        """Whether it reads ``cancel_task_ids``."""
        return self.number >= 7

    @property
    def posts_events(self) -> bool:
        """Whether it sends progress without a WebSocket, too."""
        return self.number >= 8

    @property
    def drains(self) -> bool:
        """Whether SIGTERM lets it finish its tasks."""
        return self.number >= 6

    @property
    def says_goodbye(self) -> bool:
        """Whether it tells the server that it goes, and reports what it could not finish as cancelled."""
        return self.number >= 7

    @property
    def names_its_tasks(self) -> bool:
        """Whether its heartbeats list the tasks that it runs."""
        return self.number >= 4

    @property
    def speaks_tls(self) -> bool:
        """Whether it can be given certificates."""
        return self.number >= 4

    @property
    def signs(self) -> bool:
        """Whether it signs its messages."""
        return self.number >= 12

    @property
    def checks_signatures(self) -> bool:
        """Whether it checks the signatures of tasks."""
        return self.number >= 19

    @property
    def gives_bare_data(self) -> bool:
        """Whether data of a result may be no object."""
        return self.number >= 12


ALL = tuple(Release(number) for number in range(1, 21))
"""Every release on the registry."""
GENERATIONS = tuple(Release(number) for number in (3, 5, 7, 11, 13, 16, 20))
"""One of each shape of messages, and the newest; what CI runs."""
