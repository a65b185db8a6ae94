"""Requests that are no valid HTTP, or larger than any needs to be: refused before anything looks at them."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from .conftest import CLIENT, Api


async def say(api: Api, request: bytes) -> bytes:
    """Sends bytes and returns all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.engine.port)
    writer.write(request)
    async with asyncio.timeout(30):
        raw = await reader.read()
    writer.close()
    return raw


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Client-Token: " + b"secret-" * 1500 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/v1/quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["line", "field", "fields", "length", "smuggled", "chunk", "header", "tls"],
)
async def test_what_is_no_valid_http_is_refused_in_one_line(
    api: Api, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """400, the connection is closed, and neither a traceback nor what was sent stands in the log."""
    caplog.set_level(logging.INFO)

    raw = await say(api, request_)

    assert raw.split(b" ")[1] in {b"400", b"401"}
    assert "Traceback" not in caplog.text
    assert "secret-" not in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert (await api.get("/api/v1/jobs")).status == 200


async def test_body_that_is_not_compressed_as_it_says_is_refused_in_one_line(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """400; anybody with a token could fill the log with it."""
    caplog.set_level(logging.INFO)
    head = f"POST /api/v1/quick HTTP/1.1\r\nHost: x\r\nX-Client-Token: {CLIENT}\r\n"

    raw = await say(api, f"{head}Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnotgzip".encode())

    assert raw.split(b" ")[1] == b"400"
    assert [record.getMessage() for record in caplog.records if "no valid HTTP" in record.message]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_deeply_nested_body_is_refused(api: Api) -> None:
    """Neither reading nor storing it fails."""
    for depth, code in ((100_000, "invalid_json"), (900, "invalid_data"), (201, "invalid_data")):
        answer = await api.post("/api/v1/quick", data='{"a":' * depth + "1" + "}" * depth)
        assert (answer.status, answer.body["code"]) == (400, code)

    answer = await api.post("/api/v1/quick", data='{"a":' * 200 + "[]" + "}" * 200)
    assert answer.status == 400
    job_id = await api.submit(body=json.loads('{"a":' * 200 + "1" + "}" * 200))
    assert (await api.get(f"/api/v1/jobs/{job_id}")).status == 200


async def test_deeply_nested_result_breaks_the_contract(api: Api) -> None:
    """What a worker nests too deep fails its task, and the job can be looked at."""
    job_id = await api.submit("/api/v2/shop/orders")
    await api.until(job_id, "waiting_for_worker")

    answer = await api.result(await api.take(), status="success", data=json.loads('{"a":' * 900 + "1" + "}" * 900))

    assert answer.body == {"status": "accepted"}
    job = await api.until(job_id, "failed")
    assert "CONTRACT_VIOLATION_ERROR" in job["error_message"]
    assert "nested more than 200 levels deep" in job["error_message"]
