"""The worker protocol over a WebSocket: progress and events come in, cancellations go out.

Workers of SDK 1.0b1 to 1.0b11 connect at ``/_worker/ws`` and do not say who they are; the tasks that they mention tell.
A frame that cannot be understood is logged and changes nothing: the connection is worth more than the frame.
"""

from __future__ import annotations

import logging

from aiohttp import WSMsgType, web

from avtomatika.errors import AvtomatikaError
from avtomatika.protocol.codec import loads
from avtomatika.protocol.identity import is_identifier
from avtomatika.protocol.worker_events import PROGRESS, parse_event
from avtomatika.runtime.sockets import Socket
from avtomatika.security.signatures import Kind
from avtomatika.server.access import Proof
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import LIMITER_KEY, SETTINGS_KEY, SOCKETS_KEY, WORKERS_KEY
from avtomatika.server.senders import claimed_sender, require_match
from avtomatika.server.signed import require_signature

log = logging.getLogger(__name__)

# Workers send no pings but answer them; a connection without an answer is dead.
_PING_SECONDS = 20.0


async def connect(request: web.Request) -> web.WebSocketResponse:
    """``GET /_worker/ws`` and ``GET /_worker/ws/{worker_id}``."""
    worker = claimed_sender(request)
    connection = web.WebSocketResponse(heartbeat=_PING_SECONDS, max_msg_size=request.app[SETTINGS_KEY].max_body)
    await connection.prepare(request)
    socket = Socket(worker, connection.send_str, connection.close)
    sockets = request.app[SOCKETS_KEY]
    await sockets.add(socket)
    log.info("a worker's socket is open", extra={"action": "socket_opened", "worker_id": worker})
    try:
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                await _hear(request, socket, message.data)
    finally:
        sockets.remove(socket)
        log.info("a worker's socket is closed", extra={"action": "socket_closed", "worker_id": socket.worker})
    return connection


async def _hear(request: web.Request, socket: Socket, text: str) -> None:
    """Takes one message; from what it says, a connection without a name may get one."""
    try:
        body = loads(text)
        event = parse_event(body)
        if event.worker_id:
            require_match(event.worker_id, Proof((socket.worker,)))
            await require_signature(request, Kind.EVENT, text.encode(), body, event.worker_id)
        worker = event.worker_id or socket.worker
        if event.event_type != PROGRESS:
            await request.app[LIMITER_KEY].event(worker)
        holder = await request.app[WORKERS_KEY].events.take(event, worker)
    except (AvtomatikaError, RequestError) as error:
        log.warning(
            "a message of a worker is not taken: %s",
            error,
            extra={"action": "event_refused", "worker_id": socket.worker},
        )
        return
    name = event.worker_id or holder
    if name and is_identifier(name):
        socket.worker = name
