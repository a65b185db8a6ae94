"""Where a request comes from, and whom to believe about it."""

from __future__ import annotations

from unittest import mock

import pytest
from aiohttp.test_utils import make_mocked_request

from avtomatika import Config, OrchestratorEngine
from avtomatika.errors import ConfigError
from avtomatika.server.remote import remote_address


def asked(peer: str, trusted: str, *forwarded: str) -> str:
    """Returns the address that a request of this origin seems to come from."""
    engine = OrchestratorEngine(config=Config(API_PORT=0, TRUSTED_PROXIES=trusted))
    transport = mock.Mock()
    transport.get_extra_info.side_effect = lambda name, default=None: (peer, 1) if name == "peername" else default
    headers = [("X-Forwarded-For", value) for value in forwarded]
    request = make_mocked_request("GET", "/", headers=headers, app=engine.app, transport=transport)  # type: ignore[arg-type]
    return remote_address(request)


@pytest.mark.parametrize(
    ("peer", "trusted", "forwarded", "address"),
    [
        ("10.0.0.9", "", ["1.2.3.4"], "10.0.0.9"),
        ("10.0.0.9", "10.0.0.0/8", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.9", "10.0.0.9", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.9", "10.0.0.0/8", ["6.6.6.6, 1.2.3.4, 10.0.0.7"], "1.2.3.4"),
        ("10.0.0.9", "10.0.0.0/8", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        ("10.0.0.9", "10.0.0.0/8", ["1.2.3.4, nonsense"], "10.0.0.9"),
        ("10.0.0.9", "10.0.0.0/8", [], "10.0.0.9"),
        ("8.8.8.8", "10.0.0.0/8", ["1.2.3.4"], "8.8.8.8"),
        ("::1", "::1, 10.0.0.0/8", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.9", "10.0.0.0/8", ["1.2.3.4"], "1.2.3.4"),
        ("", "10.0.0.0/8", ["1.2.3.4"], "unknown"),
    ],
)
def test_forwarded_address_counts_as_far_as_trusted_proxies_wrote_it(
    peer: str, trusted: str, forwarded: list[str], address: str
) -> None:
    """Anybody can send the header; only the part that a trusted proxy has added is believed."""
    assert asked(peer, trusted, *forwarded) == address


def test_wrong_network_stops_the_start() -> None:
    """A typing error would trust nobody, or everybody."""
    with pytest.raises(ConfigError, match=r"TRUSTED_PROXIES has '10\.0\.0', which is neither"):
        OrchestratorEngine(config=Config(API_PORT=0, TRUSTED_PROXIES="127.0.0.1, 10.0.0"))
