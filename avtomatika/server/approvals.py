"""Approvals over HTTP: a person decides, by the token of the wait or as the owner of the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from avtomatika.core.job import Client, Job
from avtomatika.core.waits import ApprovalWait
from avtomatika.errors import AuthError, AvtomatikaError
from avtomatika.server.approval_page import is_form, question, refusal, thanks
from avtomatika.server.bodies import RequestError, answer, decode_object, read_bytes
from avtomatika.server.keys import APPROVALS_KEY, CLIENT_TOKENS_KEY, JOBS_KEY, SETTINGS_KEY
from avtomatika.server.middleware.auth import CLIENT_HEADER
from avtomatika.server.middleware.errors import status_of
from avtomatika.server.remote import own_url

PATH = "/_public/webhooks/approval"
_MAX_BODY = 64 * 1024
_MAX_WORD, _MAX_COMMENT = 200, 10_000


async def decide(request: web.Request) -> web.Response:
    """``POST /_public/webhooks/approval/{job_id}``: takes a decision; whoever has no token learns nothing."""
    sent = await read_bytes(request, _MAX_BODY)
    # curl calls everything a form, unless told otherwise.
    if not is_form(request.headers) or sent.lstrip().startswith(b"{"):
        await _decide(request, decode_object(sent))
        return answer({"status": "approval_received", "job_id": request.match_info["job_id"]})
    try:
        decision = await _decide(request, dict(parse_qsl(sent.decode("utf-8", "replace"))))
    except RequestError as error:
        return refusal(error.message, error.status)
    except AvtomatikaError as error:
        return refusal(str(error), status_of(error))
    return thanks(decision)


async def show(request: web.Request) -> web.Response:
    """``GET /_public/webhooks/approval/{job_id}?token=``: the question on a page; looking decides nothing."""
    job_id = request.match_info["job_id"]
    try:
        wait = await request.app[APPROVALS_KEY].prove(job_id, request.query.get("token", ""))
        job = await request.app[JOBS_KEY].get(job_id)
    except AvtomatikaError as error:
        return refusal(str(error), status_of(error))
    if not isinstance(job.wait, ApprovalWait) or job.wait.number != wait:
        return refusal("It was taken already, or nobody took it in time, or the job has ended.", 409)
    return question(job.id, job.wait)


async def approval_url(request: web.Request, job: Job) -> str | None:
    """Returns where a person decides about the job, with the token that lets them; None if it waits for nobody."""
    token = await request.app[APPROVALS_KEY].token(job)
    if token is None:
        return None
    root = own_url(request)
    return str(root.joinpath(PATH.removeprefix("/"), job.id) % {"token": token})


async def _decide(request: web.Request, body: Mapping[str, Any]) -> str:
    """Takes the decision and returns it."""
    job_id, approvals, wait = request.match_info["job_id"], request.app[APPROVALS_KEY], None
    by, comment = _text(body, "by", _MAX_WORD), _text(body, "comment", _MAX_COMMENT)
    token = request.query.get("token") or _text(body, "token", _MAX_WORD)
    client = _client(request)
    if token:
        wait = await approvals.prove(job_id, token)
    elif client is not None:
        await request.app[JOBS_KEY].get(job_id, client.name)
        by = by or client.name
    else:
        raise AuthError(
            "a decision needs the approval token (?token=, as in the job's approval.url) or the owner's client token "
            f"in the header {CLIENT_HEADER}."
        )
    decision = _text(body, "decision", _MAX_WORD)
    if not decision:
        raise RequestError(400, "invalid_body", 'send what was decided, such as {"decision": "approved"}.')
    await approvals.decide(job_id, decision, wait, by=by, via="token" if token else "client", comment=comment)
    return decision


def _client(request: web.Request) -> Client | None:
    """Returns the client whose token the request carries, if there is a client API."""
    if not request.app[SETTINGS_KEY].client_api:
        return None
    return request.app[CLIENT_TOKENS_KEY].find(request.headers.get(CLIENT_HEADER))


def _text(body: Mapping[str, Any], name: str, most: int) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise RequestError(400, "invalid_body", f"'{name}' must be a text of at most {most} characters.")
    return value
