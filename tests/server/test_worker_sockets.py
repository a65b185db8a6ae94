"""The worker protocol over WebSockets: progress comes in, cancellations go out, whoever is at the other end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSCloseCode, WSMsgType, WSServerHandshakeError

from avtomatika import Config, OrchestratorEngine
from avtomatika.history.reader import HistoryRows
from avtomatika.server import worker_sockets
from avtomatika.server.keys import HISTORIAN_KEY, SOCKETS_KEY, STORAGE_KEY, WORKER_TOKENS_KEY
from avtomatika.storage.base import Storage

from .conftest import CLIENT, WORKER, Api, blueprints, until

GOLDEN = Path(__file__).parents[1] / "protocol" / "golden"
PATHS = ("/_worker/ws", "/_worker/ws/w1", "//_worker/ws")


def golden(name: str, **changes: Any) -> dict[str, Any]:
    """Reads a pinned message of a published worker and changes some of its members."""
    return {**json.loads((GOLDEN / f"{name}.json").read_text()), **changes}


async def connect(api: Api, path: str = "/_worker/ws/w1", token: str = WORKER, **headers: str) -> Any:
    """Opens a socket as workers do."""
    return await api.http.ws_connect(f"{api.origin}{path}", headers={"X-Worker-Token": token, **headers})


async def heard(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """Returns the next message of the server."""
    return json.loads(await asyncio.wait_for(socket.receive_str(), 30))


async def taken(api: Api) -> tuple[str, dict[str, Any]]:
    """Creates a job and returns its id with its task, which worker ``w1`` has."""
    job_id = await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.until(job_id, "waiting_for_worker")
    return job_id, await api.take()


async def progress(api: Api, job_id: str, share: float) -> None:
    """Returns when the job's progress is that share."""
    async with asyncio.timeout(30):
        while (await api.job(job_id))["progress"] != share:  # noqa: ASYNC110 - the other end has no event for it
            await asyncio.sleep(0.001)


@pytest.fixture
async def second(api: Api) -> AsyncIterator[Api]:
    """Another engine on the same storage."""
    storage: Storage = api.engine.app[STORAGE_KEY]
    config = Config(API_HOST="127.0.0.1", API_PORT=0, CLIENT_TOKEN=CLIENT, GLOBAL_WORKER_TOKEN=WORKER)
    engine = OrchestratorEngine(storage, config, clock=api.clock)
    for blueprint in blueprints():
        engine.register_blueprint(blueprint)
    async with engine:
        yield Api(engine, api.clock, api.http)


# --- cancellations ---


@pytest.mark.parametrize("path", PATHS)
async def test_cancelled_job_is_told_at_once(api: Api, path: str) -> None:
    """Under both paths, in both spellings of the command, with the ids that the worker knows; the client hears so."""
    job_id, task = await taken(api)
    socket = await connect(api, path)

    answer = await api.post(f"/api/v1/jobs/{job_id}/cancel")

    ids = {"task_id": task["task_id"], "job_id": job_id}
    assert await heard(socket) == {"command": "cancel_task", "type": "cancel_task", **ids}
    assert answer.body == {"status": "cancellation_request_sent", "job_id": job_id}


async def test_cancelled_job_is_told_by_the_engine_that_holds_the_socket(api: Api, second: Api) -> None:
    """The job is cancelled at one engine, the worker is connected to another."""
    job_id, task = await taken(api)
    socket = await connect(second)

    await api.post(f"/api/v1/jobs/{job_id}/cancel")

    assert (await heard(socket))["task_id"] == task["task_id"]


async def test_client_hears_that_a_worker_with_a_socket_elsewhere_is_told(api: Api) -> None:
    """A worker says at its registration that it keeps a socket; which engine holds it does not matter."""
    await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.register(capabilities={"extra": {"websockets": True}})
    task = (await api.poll()).body

    answer = await api.post(f"/api/v1/jobs/{task['job_id']}/cancel")

    assert answer.body["status"] == "cancellation_request_sent"


async def test_cancellation_goes_to_the_worker_that_has_the_task(api: Api) -> None:
    """Another named worker hears nothing of it; one that may be meant does. A task that nobody has is no message."""
    waiting = await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.until(waiting, "waiting_for_worker")
    other, anonymous = await connect(api, "/_worker/ws/w2"), await connect(api, "/_worker/ws")

    first = await api.post(f"/api/v1/jobs/{waiting}/cancel")
    job_id, task = await taken(api)
    await api.post(f"/api/v1/jobs/{job_id}/cancel")
    heard_first = await heard(anonymous)
    await api.engine.stop()

    assert first.body["status"] == "cancellation_request_accepted"
    assert heard_first["task_id"] == task["task_id"]
    assert (await other.receive()).type is WSMsgType.CLOSE


async def test_oldest_workers_learn_over_the_socket_what_their_heartbeat_would_say(api: Api) -> None:
    """They read no answer to a heartbeat; a task that timed out is stopped over the socket all the same."""
    _, task = await taken(api)
    socket = await connect(api, "/_worker/ws")
    await api.clock.advance(400)

    beat = golden("g1_heartbeat", worker_id="w1", current_tasks=[task["task_id"]], supported_tasks=["work"])
    await api.call("PATCH", "/_worker/workers/w1", beat, token=WORKER)

    assert (await heard(socket))["task_id"] == task["task_id"]


# --- progress and events ---


@pytest.mark.parametrize("name", ["g0_progress", "g1_progress", "g2_event"])
@pytest.mark.parametrize("path", PATHS)
async def test_progress_of_every_generation_becomes_the_jobs(api: Api, name: str, path: str) -> None:
    """Old workers write it flat, newer ones as an event; the oldest do not even say who they are."""
    job_id, task = await taken(api)
    socket = await connect(api, path)
    ids = {"task_id": task["task_id"], "job_id": job_id}
    if name == "g2_event":
        ids = {"target_task_id": task["task_id"], "target_job_id": job_id, "worker_id": "w1"}

    await socket.send_json(golden(name, **ids))

    await progress(api, job_id, 0.5)


async def test_anonymous_socket_is_named_by_the_task_that_it_mentions(api: Api) -> None:
    """From then on it hears of its own tasks only."""
    job_id, task = await taken(api)
    theirs = await connect(api, "/_worker/ws")
    await theirs.send_json(golden("g0_progress", task_id=task["task_id"], job_id=job_id))
    await progress(api, job_id, 0.5)
    sockets = api.engine.app[SOCKETS_KEY]

    await until(lambda: not sockets.reaches("w2"))

    assert sockets.reaches("w1")


async def test_progress_of_a_task_that_another_worker_has_is_not_taken(api: Api) -> None:
    """A socket with a name speaks for that worker alone."""
    job_id, task = await taken(api)
    job_of_w2 = await api.submit("/api/v2/shop/orders", {"params": {}})
    await api.until(job_of_w2, "waiting_for_worker")
    task_of_w2 = await api.take("w2")
    socket = await connect(api, "/_worker/ws/w2")
    event = golden("g2_event", worker_id="w1", target_task_id=task["task_id"], target_job_id=job_id)

    await socket.send_json(golden("g1_progress", task_id=task["task_id"], job_id=job_id))
    await socket.send_json(event)
    await socket.send_json(golden("g1_progress", task_id=task_of_w2["task_id"], job_id=job_of_w2))
    await progress(api, job_of_w2, 0.5)

    assert (await api.job(job_id))["progress"] == 0.0


async def test_event_with_a_wrong_signature_is_not_taken(api: Api) -> None:
    """A socket is open for long; each event that is signed is checked by itself."""
    job_id, task = await taken(api)
    next_id, next_task = await taken(api)
    socket = await connect(api)
    forged = golden("g2_event", worker_id="w1", target_task_id=task["task_id"], target_job_id=job_id)

    await socket.send_json({**forged, "security": {"signature": "0" * 64, "signer_id": "w1"}})
    await socket.send_json(golden("g1_progress", task_id=next_task["task_id"], job_id=next_id))
    await progress(api, next_id, 0.5)

    assert (await api.job(job_id))["progress"] == 0.0


async def test_event_of_the_workers_own_joins_its_history(start_api: Any, tmp_path: Path) -> None:
    """What workers invent is kept once, however often it is sent, with everything that was said."""
    uri = f"sqlite:{tmp_path / 'history.db'}"
    api = await start_api(HISTORY_DATABASE_URI=uri)
    socket = await connect(api)
    event = golden("g4_event", worker_id="w1", event_id="0b5b6c4e-0001")
    job_id, task = await taken(api)

    await socket.send_json(event)
    await socket.send_json(event)
    await socket.send_json(golden("g0_progress", task_id=task["task_id"], job_id=job_id))
    await progress(api, job_id, 0.5)
    await api.engine.app[HISTORIAN_KEY].flush()

    (row,) = HistoryRows(uri).worker_events(event_type="worker_event")
    assert (row["event_id"], row["worker_id"]) == ("0b5b6c4e-0001", "w1")
    assert row["worker_info_snapshot"] == {
        "event_type": "page_found",
        "payload": {"page": 3},
        "job_id": "j",
        "task_id": "t-1",
    }


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"event": "unknown"}', '{"event_type": 7}', "\ud800x"])
async def test_frame_that_makes_no_sense_leaves_the_connection_open(api: Api, text: str) -> None:
    """It is logged; the next one counts."""
    job_id, task = await taken(api)
    socket = await connect(api)

    await socket.send_bytes(b"\x00\x01")
    await socket.send_str(text if text.isascii() else "ünïcode")
    await socket.send_json(golden("g0_progress", task_id=task["task_id"], job_id=job_id))

    await progress(api, job_id, 0.5)


# --- who may connect ---


@pytest.mark.parametrize(
    ("token", "path", "headers"),
    [
        ("wrong", "/_worker/ws", {}),
        (WORKER, "/_worker/ws/w1", {"X-Worker-ID": "w2"}),
        ("the-token-of-w7-alone", "/_worker/ws/w1", {}),
        ("the-token-of-gpu-workers", "/_worker/ws/cpu-1", {}),
    ],
)
async def test_socket_of_a_stranger_is_refused(api: Api, token: str, path: str, headers: dict[str, str]) -> None:
    """403 before the handshake, so that nothing is open."""
    api.engine.app[WORKER_TOKENS_KEY].add("the-token-of-w7-alone", "w7")
    api.engine.app[WORKER_TOKENS_KEY].add("the-token-of-gpu-workers", "gpu-*")

    with pytest.raises(WSServerHandshakeError) as caught:
        await connect(api, path, token, **headers)

    assert caught.value.status == 403
    assert len(api.engine.app[SOCKETS_KEY]) == 0


async def test_socket_with_a_token_for_some_workers_may_be_one_of_them(api: Api) -> None:
    """It speaks for none of the others, and hears nothing of theirs."""
    api.engine.app[WORKER_TOKENS_KEY].add("the-token-of-gpu-workers", "gpu-*")
    sockets = api.engine.app[SOCKETS_KEY]

    await connect(api, "/_worker/ws", "the-token-of-gpu-workers")

    assert (sockets.reaches("gpu-1"), sockets.reaches("cpu-1")) == (True, False)


async def test_engine_that_stops_closes_its_sockets(api: Api) -> None:
    """A worker's open connection does not hold up the stop; it will connect again."""
    socket = await connect(api)

    await api.engine.stop()

    assert (await socket.receive()).type in {WSMsgType.CLOSE, WSMsgType.CLOSED}
    assert len(api.engine.app[SOCKETS_KEY]) == 0


async def test_socket_that_ends_is_forgotten(api: Api) -> None:
    """Nothing is kept of a connection that is gone."""
    socket = await connect(api)

    await socket.close()

    await until(lambda: len(api.engine.app[SOCKETS_KEY]) == 0)


async def test_socket_that_answers_no_pings_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lost its power says no farewell; nobody counts on its socket for ever."""
    monkeypatch.setattr(worker_sockets, "_PING_SECONDS", 0.02)
    sockets = api.engine.app[SOCKETS_KEY]

    address, headers = f"{api.origin}/_worker/ws/w1", {"X-Worker-Token": WORKER}
    async with api.http.ws_connect(address, headers=headers, autoping=False):
        await until(lambda: sockets.reaches("w1"))

        await until(lambda: not sockets.reaches("w1"))


async def test_frame_that_is_too_large_ends_the_connection(start_api: Any) -> None:
    """A worker cannot fill the memory by one message; the engine goes on."""
    api = await start_api(API_MAX_BODY_BYTES=2000)
    socket = await connect(api)

    await socket.send_str("x" * 5000)
    message = await socket.receive()

    assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.MESSAGE_TOO_BIG)
    assert (await api.get("/_public/status")).status == 200
