"""TLS of the server: files that fit, and sentences for those that do not."""

from __future__ import annotations

import ssl

import pytest
import trustme

from avtomatika.errors import ConfigError
from avtomatika.security.tls import load_certificate, names_of, server_context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A CA, a certificate that it has signed, and another one."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("one", "two"):
        cert = ca.issue_cert("127.0.0.1")
        cert.private_key_pem.write_to_path(folder / f"{name}.key")
        cert.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("ca", "required", "mode"),
    [("", False, ssl.CERT_NONE), ("ca.pem", False, ssl.CERT_OPTIONAL), ("ca.pem", True, ssl.CERT_REQUIRED)],
)
def test_context_asks_for_certificates_as_told(
    files: dict[str, str], ca: str, required: bool, mode: ssl.VerifyMode
) -> None:
    """Without a CA nobody is asked; with one, whoever has a certificate may show it, or must."""
    context = server_context(files["one.pem"], files["one.key"], files.get(ca, ""), require_client_cert=required)

    assert context.verify_mode is mode
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (("", "one.key", ""), "TLS_CERT_PATH is empty"),
        (("one.pem", "", ""), "TLS_KEY_PATH is empty"),
        (("gone.pem", "one.key", ""), "TLS_CERT_PATH is 'gone.pem', where there is no file"),
        (("one.pem", "two.key", ""), "must be that of the certificate"),
        (("one.pem", "one.pem", ""), "cannot be used"),
        (("one.pem", "one.key", "one.key"), "TLS_CA_PATH: .* holds no certificate"),
        (("one.pem", "one.key", "gone.pem"), "TLS_CA_PATH is 'gone.pem', where there is no file"),
    ],
)
def test_context_of_wrong_files_names_the_setting(
    files: dict[str, str], settings: tuple[str, str, str], complaint: str
) -> None:
    """Whoever starts the engine learns which file is wrong, and why."""
    with pytest.raises(ConfigError, match=complaint):
        server_context(*(files.get(name, name) for name in settings), require_client_cert=False)


def test_context_that_requires_certificates_needs_a_ca(files: dict[str, str]) -> None:
    """A requirement that nobody could meet is refused."""
    with pytest.raises(ConfigError, match="TLS_CA_PATH is empty"):
        server_context(files["one.pem"], files["one.key"], "", require_client_cert=True)


def test_broken_pair_is_not_loaded(files: dict[str, str]) -> None:
    """A renewed certificate whose key is not there yet is refused with a sentence."""
    context = server_context(files["one.pem"], files["one.key"], "", require_client_cert=False)

    load_certificate(context, files["two.pem"], files["two.key"])
    with pytest.raises(ConfigError):
        load_certificate(context, files["one.pem"], files["two.key"])


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        (None, ()),
        ({}, ()),
        ({"subject": ((("organizationName", "x"),), (("commonName", "w1"),))}, ("w1",)),
        ({"subject": ((("commonName", "w1"),),), "subjectAltName": (("DNS", "w2"), ("IP", "1.2.3.4"))}, ("w1", "w2")),
        ({"subjectAltName": (("DNS", "w2"), ("DNS", "w2"))}, ("w2",)),
    ],
)
def test_names_of_certificate(certificate: dict[str, object] | None, names: tuple[str, ...]) -> None:
    """The common name first, then the DNS names."""
    assert names_of(certificate) == names
