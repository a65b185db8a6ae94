"""TLS of the server: its own certificate, and those of workers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avtomatika.errors import ConfigError


def server_context(cert: str, key: str, ca: str, *, require_client_cert: bool) -> ssl.SSLContext:
    """Returns what the server speaks TLS with.

    Args:
        cert: file of its certificate, with the chain.
        key: file of that certificate's key.
        ca: file of the certificates that sign those of workers, or empty if none are asked for.
        require_client_cert: refuse connections without one.

    Raises:
        ConfigError: a file is missing or is none; the message names the setting.
    """
    for name, path in {"TLS_CERT_PATH": cert, "TLS_KEY_PATH": key}.items():
        if not path:
            raise ConfigError(f"TLS_ENABLED is set, but {name} is empty. Set it to the file of the server's own.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, cert, key)
    if require_client_cert and not ca:
        raise ConfigError("TLS_REQUIRE_CLIENT_CERT is set, but TLS_CA_PATH is empty: no certificate could be checked.")
    if ca:
        _require_file("TLS_CA_PATH", ca)
        try:
            context.load_verify_locations(ca)
        except OSError as error:
            raise ConfigError(f"TLS_CA_PATH: {ca} holds no certificate that can be read ({error}).") from error
        context.verify_mode = ssl.CERT_REQUIRED if require_client_cert else ssl.CERT_OPTIONAL
    return context


def load_certificate(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Lets new connections have this certificate; those that are open keep theirs.

    Raises:
        ConfigError: the files do not fit.
    """
    _require_file("TLS_CERT_PATH", cert)
    _require_file("TLS_KEY_PATH", key)
    try:
        # Without a password: one that is asked for on the terminal would stop a service for ever.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except OSError as error:  # ssl.SSLError is one, too
        raise ConfigError(
            f"TLS_CERT_PATH ({cert}) and TLS_KEY_PATH ({key}) cannot be used: {error}. They must be PEM files, the key "
            "must be that of the certificate and have no password."
        ) from error


def names_of(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Returns whom a checked certificate is for: its common name first, then its other DNS names; often nobody."""
    if not certificate:
        return ()
    common = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    others = [value for key, value in certificate.get("subjectAltName", ()) if key == "DNS"]
    return tuple(dict.fromkeys([*common, *others]))


def names_in(path: str) -> tuple[str, ...]:
    """Returns whom the certificate in a file is for, as ``names_of`` does; nobody if that cannot be found out here.

    Args:
        path: a PEM file; of several certificates the first one counts.
    """
    # Python reads certificates only when somebody shows one, except with this, which its own tests use.
    read = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if read is None:
        return ()
    try:
        return names_of(read(path))
    except (OSError, ValueError):  # ssl.SSLError is an OSError; whoever uses the file says what is wrong with it
        return ()


def _require_file(name: str, path: str) -> None:
    if not Path(path).is_file():
        raise ConfigError(f"{name} is '{path}', where there is no file. Check the path.")
