"""The running server against its own description, and against requests that nobody described."""

from __future__ import annotations

import asyncio
import json
import os
import string
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from avtomatika import Config, OrchestratorEngine

from .conftest import CLIENT, WORKER, blueprints

ROOT = Path(__file__).parents[2]
# How many requests are made of each call; a longer run: FUZZ_EXAMPLES=500 pytest tests/server/test_fuzz.py
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
# What published workers send differs from release to release and is forgiven; which past a job has no schema knows, nor
# which names a file may have. All else must refuse what its schemas do not allow, and take what they do.
LENIENT = "^/_worker/|/(rewind|fork)$|/files(/|$)"


class Live(NamedTuple):
    """A running engine, with the clock of the machine, and what asks it."""

    url: str
    http: ClientSession


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """An engine with jobs of several kinds."""
    config = Config(
        API_HOST="127.0.0.1",
        API_PORT=0,
        CLIENT_TOKEN=CLIENT,
        GLOBAL_WORKER_TOKEN=WORKER,
        WORKER_POLL_TIMEOUT_SECONDS=0.01,
        RATE_LIMITING_ENABLED=False,
    )
    engine = OrchestratorEngine(config=config)
    for blueprint in blueprints():
        engine.register_blueprint(blueprint)
    async with engine, ClientSession(timeout=ClientTimeout(20)) as http:
        for path in ("/api/v1/quick", "/api/v2/shop/orders", "/api/v1/fan"):
            async with http.post(engine.url + path, json={}, headers={"X-Client-Token": CLIENT}) as response:
                assert response.status == 202
        yield Live(engine.url, http)


async def schemathesis(live: Live, folder: Path, *options: str) -> str:
    """Runs schemathesis against the server and returns what it found, or an empty text."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{live.url}/_public/openapi.json"),
        *("--header", f"X-Client-Token: {CLIENT}", "--header", f"X-Worker-Token: {WORKER}"),
        *("--max-examples", str(EXAMPLES), "--phases", "coverage,fuzzing", "--no-color", "--warnings", "off"),
        # A stream does not end by itself; what a route without a description takes nobody knows.
        *("--exclude-by", "/x-undescribed == true"),
        *("--exclude-path", "/api/v1/events", "--request-timeout", "30"),
        # In CI the same requests every time, as with Hypothesis: a red run means that the change is wrong.
        *(("--seed", "1") if os.environ.get("CI") else ()),
        *options,
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.server.fuzz_hooks", "PYTHONPATH": _path()}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return "" if process.returncode == 0 else said.decode()


def _path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.acceptance
async def test_schemathesis_finds_nothing_in_the_client_api(live: Live, tmp_path: Path) -> None:
    """With all its checks: what is allowed is taken, what is not is refused, and every answer is as described."""
    found = await schemathesis(live, tmp_path, "--exclude-path-regex", LENIENT)

    assert not found, found


@pytest.mark.acceptance
async def test_schemathesis_finds_nothing_in_what_is_forgiven(live: Live, tmp_path: Path) -> None:
    """No message of a worker, and no name of a file, is answered otherwise than described or makes the server fail."""
    checks = "negative_data_rejection,positive_data_acceptance"

    found = await schemathesis(live, tmp_path, "--include-path-regex", LENIENT, "--exclude-checks", checks)

    assert not found, found


SEGMENTS = ["api", "v1", "v2", "jobs", "quick", "shop", "orders", "cancel", "requeue", "blueprints", "graph", "events"]
PATHS = st.lists(st.sampled_from([*SEGMENTS, "", ".", "..", "%00", "%2f", "%ff", "{job_id}", "\u20ac"]), max_size=6)
CLIENT_PATHS = st.sampled_from(
    [
        "jobs",
        "jobs/x",
        "jobs/cancel",
        "jobs/x/history",
        "quick",
        "fan",
        "events",
        "blueprints/quick/graph",
        "dead-letters",
    ]
)
WORKER_PATHS = st.sampled_from(
    ["workers/register", "workers/w1", "workers/w1/tasks/next", "tasks/result", "events", "auth/token", "ws/w1"]
)
TEXTS = st.text(string.printable, max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Content-Encoding", "Accept-Encoding", "Idempotency-Key", "Last-Event-ID", "traceparent"]
    ),
    st.one_of(
        st.sampled_from(["gzip", "zstd", "identity;q=0", "application/json", "1"]),
        st.text("abc ;=,\u00ff", max_size=30),
    ),
    max_size=3,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(["initial_data", "ids", "filter", "worker_id", "job_id", "task_id", "status"]), TEXTS
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@given(
    method=st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]),
    path=st.one_of(
        CLIENT_PATHS.map(lambda path: f"/api/v1/{path}"),
        PATHS.map(lambda parts: "/" + "/".join(parts)),
        CLIENT_PATHS.map(lambda path: f"/api/v1/{path}"),
        WORKER_PATHS.map(lambda path: f"/_worker/{path}"),
    ),
    query=st.dictionaries(
        st.sampled_from(["status", "since", "limit", "offset", "cursor", "wait", "version", "format", "timeout"]),
        st.one_of(TEXTS, st.sampled_from(["0", "-1", "1e999", "nan", "9" * 400])),
        max_size=3,
    ),
    headers=HEADERS,
    body=st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())),
)
@settings(max_examples=60 * EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_no_request_makes_the_server_fail(
    live: Live, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    """Whatever is asked, in whatever way: an answer below 500."""
    tokens = {"X-Client-Token": CLIENT, "X-Worker-Token": WORKER}
    url = URL(f"{live.url}{path}?{urlencode(query)}", encoded=True)
    try:
        async with live.http.request(method, url, headers={**headers, **tokens}, data=body) as response:
            status = response.status
    except (ClientError, ValueError):
        return  # no HTTP at all, or an answer cut off in the middle: both sides may hang up

    assert status < 500, (status, method, path)
