"""Compression both ways: what comes in is unpacked within limits, what goes out is packed for whoever takes it."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from avtomatika.server import bodies
from avtomatika.server.encoding import choose

from .conftest import CLIENT, Api

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress, "deflate": zlib.compress}
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}


async def raw_get(api: Api, path: str, accepted: str) -> tuple[aiohttp.ClientResponse, bytes]:
    """Returns an answer and its body as it came over the line."""
    headers = {"X-Client-Token": CLIENT, "Accept-Encoding": accepted}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(api.origin + path, headers=headers) as got,
    ):
        return got, await got.read()


# --- requests ---


@pytest.mark.parametrize("encoding", PACK)
async def test_packed_body_is_read(api: Api, encoding: str) -> None:
    """A client may send what it sends packed."""
    body = PACK[encoding](json.dumps({"n": 4, "text": "x" * 10_000}).encode())

    answer = await api.post("/api/v1/quick", data=body, headers={"Content-Encoding": encoding})

    assert answer.status == 202
    assert (await api.job(answer.body["job_id"]))["initial_data"]["n"] == 4


@pytest.mark.parametrize("encoding", PACK)
async def test_bomb_is_refused_before_it_goes_off(start_api: Any, encoding: str) -> None:
    """A small body that unpacks to a lot is unpacked to the limit and no further."""
    api = await start_api(API_MAX_BODY_BYTES=10_000)
    bomb = PACK[encoding](b'{"text": "' + b"x" * 60_000_000 + b'"}')
    if encoding != "zstd":  # gzip packs a thousand to one: one more round makes it a bomb of its kind
        assert len(bomb) < 100_000

    answer = await api.post("/api/v1/quick", data=bomb[:9_000], headers={"Content-Encoding": encoding})

    assert (answer.status, answer.body["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("encoding", "damage"),
    [("gzip", "half"), ("zstd", "half"), ("gzip", "plain"), ("zstd", "plain"), ("deflate", "plain"), ("zstd", "rest")],
)
async def test_body_that_cannot_be_unpacked_is_refused(api: Api, encoding: str, damage: str) -> None:
    """Half of it, not packed at all, or with something behind it: 400, and no job."""
    packed = PACK[encoding](json.dumps({"text": "abc" * 1000}).encode())
    body = {"half": packed[: len(packed) // 2], "plain": b'{"n": 1}', "rest": packed + b"garbage"}[damage]

    answer = await api.post("/api/v1/quick", data=body, headers={"Content-Encoding": encoding})

    assert (answer.status, answer.body["code"]) in {(400, "invalid_encoding"), (400, "invalid_json")}
    assert (await api.get("/api/v1/jobs")).body == []


@pytest.mark.parametrize("encoding", ["compress", "gzip, gzip", "rot13", "x" * 500])
async def test_unknown_encoding_is_refused(api: Api, encoding: str) -> None:
    """415, with those that are understood."""
    answer = await api.post("/api/v1/quick", data=b"{}", headers={"Content-Encoding": encoding})

    assert (answer.status, answer.body["code"]) == (415, "unknown_encoding")
    assert "zstd, gzip, deflate" in answer.body["error"]


async def test_body_that_stops_coming_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds a connection for ever by sending slowly."""
    monkeypatch.setattr(bodies, "_SILENCE_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    head = f"POST /api/v1/quick HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\nContent-Length: 100\r\n\r\n{{"
    writer.write(head.encode())

    async with asyncio.timeout(30):
        line = await reader.readline()

    writer.close()
    assert line.startswith(b"HTTP/1.1 408 ")


# --- answers ---


@pytest.mark.parametrize("encoding", UNPACK)
async def test_answer_is_packed_for_whoever_takes_it(api: Api, encoding: str) -> None:
    """The same JSON, smaller; caches are told what it depends on."""
    for _ in range(20):
        await api.submit()
    _, plain = await raw_get(api, "/api/v1/jobs", "identity")

    response, raw = await raw_get(api, "/api/v1/jobs", encoding)

    assert response.headers["Content-Encoding"] == encoding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert int(response.headers["Content-Length"]) == len(raw) < len(plain) / 3
    assert [job["id"] for job in json.loads(UNPACK[encoding](raw))] == [job["id"] for job in json.loads(plain)]


async def test_large_answer_is_packed_too(api: Api) -> None:
    """What takes longer is packed beside the event loop, and comes out the same."""
    job_id = await api.submit(body={"text": "abc" * 100_000})

    _, raw = await raw_get(api, f"/api/v1/jobs/{job_id}", "gzip")

    assert json.loads(gzip.decompress(raw))["initial_data"]["text"] == "abc" * 100_000


async def test_small_answer_is_left_alone(api: Api) -> None:
    """Packing what fits into one packet gains nothing."""
    response, raw = await raw_get(api, "/_public/status", "gzip, zstd")

    assert "Content-Encoding" not in response.headers
    assert json.loads(raw)["status"] == "ok"


async def test_task_is_packed_for_a_worker_that_takes_it(api: Api) -> None:
    """Large params are sent packed to workers whose HTTP library unpacks them, and these get them whole."""
    await api.until(await api.submit("/api/v2/shop/orders", {"params": {"text": "abc" * 2000}}), "waiting_for_worker")
    await api.register()

    answer = await api.poll()

    assert answer.headers["Content-Encoding"] in UNPACK
    assert answer.body["params"]["text"] == "abc" * 2000


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("GZIP;q=0.5, zstd;q=0.4", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("identity", ""),
        ("*", "zstd"),
        ("*;q=0", ""),
        ("br", ""),
        ("gzip;q=abc", ""),
        ("gzip;level=9", "gzip"),
        (",;,", ""),
    ],
)
def test_reader_chooses_by_weight(accepted: str, chosen: str) -> None:
    """The header of RFC 9110; what makes no sense is not packed for."""
    assert choose(accepted) == chosen
