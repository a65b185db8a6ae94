"""A blueprint for each test."""

from __future__ import annotations

import pytest

from avtomatika.blueprints import StateMachineBlueprint


@pytest.fixture
def bp() -> StateMachineBlueprint:
    """An empty blueprint."""
    return StateMachineBlueprint("orders", api_endpoint="jobs/orders", api_version="v1")
