"""The settings: environment variables as attributes, checked when they are read and when they are assigned."""

from __future__ import annotations

from avtomatika.config.access import DEFAULT_CLIENT_TOKEN, DEFAULT_WORKER_TOKEN, PUBLIC_TOKENS
from avtomatika.config.config import Config
from avtomatika.config.reference_page import reference

__all__ = ["DEFAULT_CLIENT_TOKEN", "DEFAULT_WORKER_TOKEN", "PUBLIC_TOKENS", "Config", "reference"]
