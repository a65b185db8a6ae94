"""What handlers receive: ``ActionFactory`` and ``JobContext`` under their promised import path."""

from __future__ import annotations

from avtomatika.blueprints.actions import ActionFactory
from avtomatika.blueprints.context import JobContext

__all__ = ["ActionFactory", "JobContext"]
