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
    if not is_identifier(worker_id):
        raise RequestError(400, "invalid_message", "the message does not say which worker it comes from (worker_id).")
    return worker_id


def claimed_sender(request: web.Request, in_body: str = "") -> str:
    """Returns who is calling; a pattern of the ids that it may have (``*`` is any) if nothing says more.

    Raises:
        RequestError: two of them contradict each other (403), or an id is none (400).
    """
    proof = request[WORKER_KEY]
    told = {
        "path": request.match_info.get("worker_id", ""),
        f"header {_ID_HEADER}": request.headers.get(_ID_HEADER, ""),
        "body": in_body,
    }
    named = {place: name for place, name in told.items() if name}
    if len(set(named.values())) > 1:
        says = ", ".join(f"{place} says '{name}'" for place, name in named.items())
        raise RequestError(403, "worker_mismatch", f"the message contradicts itself about its sender: {says}.")
    if not named:
        return proof.name
    worker_id = next(iter(named.values()))
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
