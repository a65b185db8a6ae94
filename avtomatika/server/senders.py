"""Who sends a message of the worker protocol: certificate, token, path, header and body must agree."""

from __future__ import annotations

from aiohttp import web

from avtomatika.errors import ProtocolError
from avtomatika.protocol.identity import check_identifier, is_identifier
from avtomatika.server.access import Proof
from avtomatika.server.bodies import RequestError
from avtomatika.server.keys import WORKER_KEY

_ID_HEADER = "X-Worker-ID"


def sender(request: web.Request, in_body: str = "") -> str:
    """Returns who is calling.

    Args:
        request: of a worker whose token was checked.
        in_body: who the body says it is from, or empty.

    Raises:
        RequestError: two of them contradict each other (403), or nothing says who it is (400).
    """
    worker_id = claimed_sender(request, in_body)
    # Whatever was told is one already; a token's name may be a pattern.
    if worker_id == request[WORKER_KEY].name and not is_identifier(worker_id):
        raise RequestError(400, "invalid_message", "the message does not say which worker it comes from (worker_id).")
    return worker_id


def claimed_sender(request: web.Request, in_body: str = "") -> str:
    """Returns who is calling; a pattern of the ids that it may have (``*`` is any) if nothing says more.

    Raises:
        RequestError: two of them contradict each other (403), or an id is none (400).
    """
    proof = request[WORKER_KEY]
    in_path, in_header = request.match_info.get("worker_id", ""), request.headers.get(_ID_HEADER, "")
    worker_id = in_path or in_header or in_body
    if not worker_id:
        return proof.name
    if (in_header and in_header != worker_id) or (in_body and in_body != worker_id):
        told = {"path": in_path, f"header {_ID_HEADER}": in_header, "body": in_body}
        says = ", ".join(f"{place} says '{name}'" for place, name in told.items() if name)
        raise RequestError(403, "worker_mismatch", f"the message contradicts itself about its sender: {says}.")
    try:
        check_identifier(worker_id, "worker_id")
    except ProtocolError as error:
        raise RequestError(400, "invalid_message", str(error)) from None
    require_match(worker_id, proof)
    return worker_id


def require_match(worker_id: str, proof: Proof) -> None:
    """Checks that a worker may call itself so.

    Raises:
        RequestError: its token or certificate is for others.
    """
    if why := proof.refusal(worker_id):
        raise RequestError(403, "worker_mismatch", why)
