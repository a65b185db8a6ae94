"""Handlers for blueprints of tests."""

from __future__ import annotations

from avtomatika.blueprints import ActionFactory


def go_done(actions: ActionFactory) -> None:
    """Leads to ``done``."""
    actions.go_to("done")


def end() -> None:
    """Ends."""
