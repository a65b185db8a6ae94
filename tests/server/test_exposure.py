"""The public default tokens serve this machine only, whoever binds the port."""

from __future__ import annotations

from unittest import mock

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import make_mocked_request

from avtomatika import Config, OrchestratorEngine
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import EXPOSURE_KEY
from avtomatika.server.middleware.auth import let_in


async def reach(engine: OrchestratorEngine, address: object) -> str:
    """Sends a public request that came in at a local address; returns the code of the refusal, or ``served``."""
    transport = mock.Mock()
    transport.get_extra_info.side_effect = lambda name, default=None: address if name == "sockname" else default
    request = make_mocked_request("GET", "/_public/status", app=engine.app, transport=transport)

    try:
        await let_in(request)
    except RequestError as error:
        return error.code
    return "served"


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        (("10.1.2.3", 8080), "default_token"),
        (("fe80::1%eth0", 8080, 0, 0), "default_token"),
        (("127.0.0.1", 8080), "served"),
        (("::1", 8080, 0, 0), "served"),
        ("/run/engine.sock", "served"),
    ],
)
async def test_default_tokens_are_refused_off_loopback(address: object, answer: str) -> None:
    """Under a server that binds every address, only requests over loopback are answered."""
    engine = OrchestratorEngine(config=Config(API_PORT=0))
    async with engine:
        assert "Set CLIENT_TOKEN and GLOBAL_WORKER_TOKEN" in engine.app[EXPOSURE_KEY].refusal
        assert await reach(engine, address) == answer


@pytest.mark.parametrize(
    "settings",
    [{"ALLOW_DEFAULT_TOKENS": True}, {"CLIENT_TOKEN": "own", "GLOBAL_WORKER_TOKEN": "mine"}],
    ids=["allowed", "own tokens"],
)
async def test_others_are_served_anywhere(settings: dict[str, object]) -> None:
    """Own tokens, or the explicit wish, lift the bound."""
    engine = OrchestratorEngine(config=Config(API_PORT=0, API_HOST="127.0.0.1", **settings))
    async with engine:
        assert await reach(engine, ("10.1.2.3", 8080)) == "served"


async def test_default_tokens_are_refused_behind_a_proxy() -> None:
    """A proxy on the same machine comes by loopback, and brings the whole world."""
    engine = OrchestratorEngine(config=Config(API_PORT=0))
    async with engine, ClientSession() as http:
        for headers, status in (({}, 200), ({"X-Forwarded-For": "8.8.8.8"}, 403), ({"Forwarded": "for=8.8.8.8"}, 403)):
            async with http.get(f"{engine.url}/_public/status", headers=headers) as answer:
                assert answer.status == status
