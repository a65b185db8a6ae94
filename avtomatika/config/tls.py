"""Settings of TLS, where the engine itself speaks it."""

from __future__ import annotations

from avtomatika.config.setting import Group, setting


class TlsSettings(Group):
    """The certificates that the engine shows and takes."""

    TLS_ENABLED: bool = setting(False, "Whether the engine itself speaks TLS.", "true or false")
    TLS_CERT_PATH: str = setting(
        "",
        "Certificate of the server, with its chain. A change of the file takes effect without a restart.",
        "empty or the path of a PEM file",
    )
    TLS_KEY_PATH: str = setting("", "Key of that certificate.", "empty or the path of a PEM file without password")
    TLS_CA_PATH: str = setting(
        "",
        "Certificates that sign those of workers. With it, a worker may show a certificate, whose common name (or one "
        "of its DNS names) is then the worker's id.",
        "empty or the path of a PEM file",
    )
    TLS_REQUIRE_CLIENT_CERT: bool = setting(
        False, "Whether connections without a client certificate are refused.", "true or false"
    )
