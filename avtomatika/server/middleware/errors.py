"""Errors become JSON answers with a sentence and a stable code."""

from __future__ import annotations

import logging
import math
import uuid

from aiohttp import web

from avtomatika.errors import (
    AuthError,
    AvtomatikaError,
    BlueprintError,
    ContractError,
    DecisionError,
    DocumentError,
    JobNotFoundError,
    JobStateError,
    PastStateError,
    PayloadLostError,
    PayloadMismatchError,
    PayloadNameError,
    PayloadNotFoundError,
    PayloadSizeError,
    PayloadStoreError,
    ProtocolError,
    StorageError,
    suggest,
)
from avtomatika.server.bodies import RequestError, answer

log = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[AvtomatikaError], int], ...] = (
    (AuthError, 401),
    (JobNotFoundError, 404),
    (JobStateError, 409),
    (DecisionError, 400),
    (PastStateError, 400),
    (BlueprintError, 404),
    (DocumentError, 400),
    (ContractError, 400),
    (ProtocolError, 400),
    (StorageError, 503),
    (PayloadLostError, 410),
    (PayloadNameError, 400),
    (PayloadNotFoundError, 404),
    (PayloadSizeError, 413),
    (PayloadMismatchError, 502),
    (PayloadStoreError, 503),
)


def answer_to(request: web.Request, error: Exception) -> web.Response:
    """Returns the answer to a request that failed; called where the error is handled.

    Raises:
        web.HTTPException: the error itself, if it is none: a redirection is an answer already.
    """
    match error:
        case RequestError():
            response = answer({"error": error.message, "code": error.code, **error.facts}, error.status)
            if "retry_after" in error.facts:
                response.headers["Retry-After"] = str(math.ceil(error.facts["retry_after"]))
            return response
        case AvtomatikaError():
            return _failure(request, error)
        case web.HTTPException() if error.status < 400:
            raise error
        case web.HTTPException():
            return _http_error(request, error)
    reference = uuid.uuid4().hex[:12]
    log.exception(
        "a request failed (reference %s)",
        reference,
        extra={"action": "request_failed", "path": request.path, "reference": reference},
    )
    message = f"the server failed to answer; its log says why, under reference {reference}."
    return answer({"error": message, "code": "internal_error", "reference": reference}, 500)


def _failure(request: web.Request, error: AvtomatikaError) -> web.Response:
    status = status_of(error)
    facts = {"action": "request_failed", "path": request.path}
    if status == 503:
        # One line each: while a storage is away there are many, and where it was called from says nothing.
        log.warning("a request was refused: %s", error, extra=facts)
    elif status >= 500:
        log.exception("a request failed", extra=facts)
    where = {"path": error.path} if isinstance(error, ContractError) else {}
    response = answer({"error": str(error), "code": error.code, **where}, status)
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def status_of(error: AvtomatikaError) -> int:
    """Returns the HTTP status that says what the error means for the caller."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def _http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted({*_methods(request, error), "OPTIONS"}))
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={"Allow": allowed})
            message = f"{request.method} is not possible at {request.path}; use {allowed}."
            response = answer({"error": message, "code": "method_not_allowed"}, 405)
            response.headers["Allow"] = allowed
            return response
        case web.HTTPNotFound():
            paths = {resource.canonical for resource in request.app.router.resources()}
            message = f"there is nothing at {request.path}.{suggest(request.path, paths)}"
            return answer({"error": message, "code": "not_found"}, 404)
        case _:
            return answer({"error": error.reason, "code": f"http_{error.status}"}, error.status)


def _methods(request: web.Request, error: web.HTTPMethodNotAllowed) -> set[str]:
    """Returns what is possible at the path: of a path that is written out, not what a pattern would also take."""
    for resource in request.app.router.resources():
        if resource.canonical == request.path:
            return {route.method for route in resource}
    return error.allowed_methods
