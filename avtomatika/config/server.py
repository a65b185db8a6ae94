"""Settings of the HTTP server: where it listens, and what it takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from avtomatika.config.setting import Group, setting


class ServerSettings(Group):
    """Where the server listens, and what it takes."""

    API_HOST: str = setting(
        "0.0.0.0",  # noqa: S104 - the contract's default; bind_host narrows it while a public token is in force
        "Address or host name that the server listens on. While a public default token is in force and this is not "
        "set, the server listens on 127.0.0.1 only.",
        "an IP address or a host name",
        pattern=r"^[A-Za-z0-9._:%-]+$",
    )
    API_PORT: int = setting(
        8080,
        "Port that the server listens on; 0 lets the system choose a free one.",
        "a whole number from 0 to 65535",
        ge=0,
        le=65535,
    )
    PUBLIC_URL: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = setting(
        "",
        "Address at which others reach this engine, with the path under which a proxy serves it; for links in answers. "
        "Empty takes host and scheme of the request.",
        "empty or an address such as https://example.org/flows, without ? and #",
        pattern=r"^(https?://[^/\s?#@]+(/[^\s?#]*)?)?$",
    )
    ENABLE_CLIENT_API: bool = setting(
        True,
        "Whether the client API exists. Without it, work comes through the worker protocol only.",
        "true or false",
    )
    CLIENT_API_PREFIX: Annotated[str, AfterValidator(lambda prefix: prefix.strip("/"))] = setting(
        "api",
        "First part of the paths of the client API, without slashes at its ends.",
        "letters, digits, - and _, not beginning with _; parts separated by /",
        pattern=r"^/?[A-Za-z0-9-][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*/?$",
    )
    CORS_ORIGINS: str = setting(
        "",
        "Origins whose pages may use the client API from a browser, separated by commas. A page sends a token with "
        "every call; without this setting no page of another origin can read an answer.",
        "empty, or origins such as https://app.example.org:8443; no *",
        pattern=r"^$|^https?://[^/\s,*]+(\s*,\s*https?://[^/\s,*]+)*$",
    )
    API_MAX_BODY_BYTES: int = setting(
        4 * 1024**2, "Largest request of a client; larger data belongs into files.", "a whole number from 1024", ge=1024
    )
    RESULT_MAX_BODY_BYTES: int = setting(
        64 * 1024**2,
        "Largest request of a worker. It is large because a result above it fails its job.",
        "a whole number from 1024",
        ge=1024,
    )
    TRUSTED_PROXIES: str = setting(
        "",
        "Addresses or networks of proxies whose `X-Forwarded-For` counts, separated by commas.",
        "empty or such as 127.0.0.1, 10.0.0.0/8",
    )

    def cors_origins(self) -> frozenset[str]:
        """Returns the origins that ``CORS_ORIGINS`` names, as browsers write them."""
        return frozenset(origin.strip().lower() for origin in self.CORS_ORIGINS.split(",") if origin.strip())
