"""Where webhooks may go: every form of an address that is not public is found out."""

from __future__ import annotations

import pytest

from avtomatika.webhooks.resolver import addresses_of
from avtomatika.webhooks.targets import TargetError, TargetPolicy, is_public, parse_hosts, parse_target


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
    ],
)
def test_address_that_is_not_public_is_found_out(address: str) -> None:
    """Loopback, private networks, the clouds' metadata, and all of them wrapped in IPv6."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public_address_is_one(address: str) -> None:
    """What belongs to the internet."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1"]
)
async def test_host_that_means_loopback_is_refused_however_it_is_written(host: str) -> None:
    """Decimal, octal, hexadecimal, shortened, or a name: what counts is where it leads."""
    with pytest.raises(TargetError, match=r"is not a public address\. Set WEBHOOK_ALLOWED_HOSTS"):
        TargetPolicy().check(host, await addresses_of(host))


def test_every_address_of_a_host_counts() -> None:
    """A name with a public and a private address may lead to either."""
    with pytest.raises(TargetError, match=r"leads to 10\.0\.0\.1"):
        TargetPolicy().check("both.example", ["93.184.216.34", "10.0.0.1"])


@pytest.mark.parametrize(
    ("policy", "host", "allowed"),
    [
        (TargetPolicy(allow_private=True), "anything", True),
        (TargetPolicy(allowed_hosts=parse_hosts("Hooks.Internal, [::1]")), "hooks.internal", True),
        (TargetPolicy(allowed_hosts=parse_hosts("hooks.internal,[::1]")), "::1", True),
        (TargetPolicy(allowed_hosts=parse_hosts("*.svc.local")), "a.svc.local", True),
        (TargetPolicy(allowed_hosts=parse_hosts("*.svc.local")), "svc.local.evil", False),
        (TargetPolicy(), "hooks.internal", False),
    ],
)
def test_allowed_hosts_may_be_private(policy: TargetPolicy, host: str, allowed: bool) -> None:
    """Who runs the engine may name hosts of the own network."""
    assert policy.is_exempt(host) is allowed


@pytest.mark.parametrize(
    ("url", "host", "endpoint"),
    [
        ("https://Example.com/hook?a=b", "example.com", "https://example.com:443"),
        ("http://[::1]:8080/", "::1", "http://[::1]:8080"),
        ("http://example.com.:81", "example.com", "http://example.com.:81"),
    ],
)
def test_target_is_read(url: str, host: str, endpoint: str) -> None:
    """Host and endpoint, in one spelling."""
    target = parse_target(url)

    assert (target.host, target.endpoint) == (host, endpoint)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        5,
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user:secret@example.com",
        "http://example.com:99999/",
        "http://[::1",
        "http://exa mple.com",
        "http://example.com/\r\nX: y",
        "https://example.com/" + "x" * 2048,
    ],
)
def test_target_that_is_none_is_refused(url: object) -> None:
    """And nothing of it is repeated that may be a secret."""
    with pytest.raises(TargetError) as caught:
        parse_target(url)

    assert "secret@" not in str(caught.value)
