"""All settings of an engine together: how they are read, checked and shown, and what follows from several of them."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from avtomatika.config import faults
from avtomatika.config.access import PUBLIC_TOKENS, AccessSettings
from avtomatika.config.files import FileSettings
from avtomatika.config.holon import HolonSettings
from avtomatika.config.jobs import JobSettings
from avtomatika.config.observability import ObservabilitySettings
from avtomatika.config.rate_limits import RateLimitSettings
from avtomatika.config.server import ServerSettings
from avtomatika.config.storage import StorageSettings
from avtomatika.config.tasks import TaskSettings
from avtomatika.config.tls import TlsSettings
from avtomatika.config.webhooks import WebhookSettings
from avtomatika.errors import ConfigError

_LOOPBACK = "127.0.0.1"


class Config(
    ObservabilitySettings,
    HolonSettings,
    WebhookSettings,
    FileSettings,
    TaskSettings,
    JobSettings,
    RateLimitSettings,
    TlsSettings,
    AccessSettings,
    StorageSettings,
    ServerSettings,  # pydantic puts the fields of the last one first
    BaseSettings,
):
    """The settings of an engine.

    Each is read from the environment variable of its name; a keyword argument wins over the environment, and an
    attribute can be assigned later. ``docs/reference/configuration.md`` lists them all.

    Args: any of the settings, by name.

    Raises:
        ConfigError: a value is wrong (all wrong ones are listed), or there is no setting of that name.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True,
        validate_assignment=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=False,
    )

    def __init__(self, **values: Any) -> None:
        for name in values:
            if not name.startswith("_"):
                _require_known(name)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise faults.refused(error, Config.model_fields) from None  # pydantic's error holds the tokens

    @classmethod
    def plain(cls, **values: Any) -> Config:
        """Returns settings that the environment has no part in: those given, and defaults.

        Raises:
            ConfigError: a value is wrong, or there is no such setting.
        """
        defaults = {name: info.get_default(call_default_factory=True) for name, info in cls.model_fields.items()}
        return cls(**{**defaults, **values})

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            _require_known(name)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise faults.refused(error, Config.model_fields) from None

    def __repr__(self) -> str:
        parts = (f"{name}={faults.shown(info, getattr(self, name))}" for name, info in type(self).model_fields.items())
        return f"Config({', '.join(parts)})"

    __str__ = __repr__

    def is_set(self, name: str) -> bool:
        """Returns whether the setting came from the environment, a keyword argument or an assignment.

        Raises:
            ConfigError: there is no setting of that name.
        """
        _require_known(name)
        return name in self.model_fields_set

    def bind_host(self) -> tuple[str, str | None]:
        """Decides where the server may listen: the public default tokens are for loopback only.

        Returns:
            The host to bind, and a sentence for the log if it is not simply ``API_HOST`` or not safe, else None.

        Raises:
            ConfigError: ``API_HOST`` was set to reach beyond loopback while a public default token is in force.
        """
        public = self._public_tokens()
        if not public or _is_loopback(self.API_HOST):
            return self.API_HOST, None
        names = " and ".join(public)
        facts = f"{names} {'is a public default' if len(public) == 1 else 'are public defaults'}"
        if self.ALLOW_DEFAULT_TOKENS:
            return self.API_HOST, f"{facts}: anyone who reaches {self.API_HOST} can use this engine. Set {names}."
        if not self.is_set("API_HOST"):
            return _LOOPBACK, f"{facts}, so the engine serves {_LOOPBACK} only. Set {names} to serve other machines."
        raise ConfigError(
            f"API_HOST is '{self.API_HOST}', but {facts}, which serve on loopback only. Set {names} to a secret of "
            f"your own (or API_HOST to {_LOOPBACK}, or ALLOW_DEFAULT_TOKENS=true where nobody else reaches the port)."
        )

    def limits_calls(self, host: str) -> bool:
        """Returns whether calls are limited.

        Args:
            host: what the server listens on; empty if somebody else decides that.
        """
        if not self.RATE_LIMITING_ENABLED:
            return False
        # Nobody outside reaches loopback; whoever sets a limit means it there, too.
        return not _is_loopback(host) or any(name.startswith("RATE_LIMIT") for name in self.model_fields_set)

    @staticmethod
    def serves_loopback(host: str) -> bool:
        """Returns whether a host that the server listens on is one that only this machine reaches."""
        return _is_loopback(host)

    def refusal(self) -> str:
        """Returns why only this machine may be served, or an empty text.

        For servers that somebody else binds (Gunicorn), where ``bind_host`` is not asked.
        """
        public = self._public_tokens()
        if not public or self.ALLOW_DEFAULT_TOKENS:
            return ""
        names = " and ".join(public)
        return f"this engine has public default tokens, which serve on loopback only. Set {names} in its environment."

    def _public_tokens(self) -> list[str]:
        """Returns the names of the tokens in force that everybody knows."""
        in_force = []
        # With a file of clients the public token is not taken; one that somebody chose is.
        if self.ENABLE_CLIENT_API and not self.CLIENTS_CONFIG_PATH:
            in_force.append("CLIENT_TOKEN")
        if self.WORKER_AUTH_MODE != "mtls-only":
            in_force.append("GLOBAL_WORKER_TOKEN")
        return [name for name in in_force if getattr(self, name) in PUBLIC_TOKENS]


def _is_loopback(host: str) -> bool:
    """Returns whether the host is one that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_known(name: str) -> None:
    """Raises ConfigError if there is no setting of that name."""
    if name not in Config.model_fields:
        raise faults.unknown(name, Config.model_fields)
