"""Files of jobs over HTTP: clients send them, fetch them, and see which there are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import hdrs, web

from avtomatika.core.job import Job
from avtomatika.errors import JobStateError, PayloadNotFoundError
from avtomatika.payloads.base import FileFacts
from avtomatika.payloads.keys import PAYLOADS, job_folder, job_key, name_of
from avtomatika.server.bodies import RequestError, answer, read_chunks, too_large
from avtomatika.server.keys import CLIENT_KEY, JOBS_KEY, PAYLOADS_KEY, SETTINGS_KEY
from avtomatika.server.queries import expiry_seconds, read_limit
from avtomatika.server.remote import own_url

_EXPIRES_SECONDS = 3600.0
_LONGEST_SECONDS = 7 * 24 * 3600.0  # of S3
_BYTES = "application/octet-stream"


async def list_(request: web.Request) -> web.Response:
    """``GET /api/v1/jobs/{id}/files?folder=&limit=&cursor=``: the files of a job, by name."""
    job, store = await _job(request), request.app[PAYLOADS_KEY]
    limit, after = read_limit(request), request.query.get("cursor", "")
    found: list[dict[str, Any]] = []
    async for facts in store.list(job_folder(job.id, request.query.get("folder", ""))):
        name = name_of(job.id, store.key_of(facts.uri))
        # What the engine itself keeps of the job is no file of anybody's.
        if name <= after or name.startswith(f"{PAYLOADS}/"):
            continue
        if len(found) == limit:
            return answer({"files": found, "next_cursor": found[-1]["name"]})
        found.append(_view(name, facts))
    return answer({"files": found, "next_cursor": None})


async def put(request: web.Request) -> web.Response:
    """``PUT /api/v1/jobs/{id}/files/{name}``: stores a file, as it comes.

    It is there when all of it has come, in the place of one of the same name.
    """
    job, name = await _job(request), request.match_info["name"]
    key, store = job_key(job.id, name), request.app[PAYLOADS_KEY]
    limit = request.app[SETTINGS_KEY].max_file
    if (request.content_length or 0) > limit:
        raise _too_large(request.content_length or 0, limit)
    await request.app[JOBS_KEY].expect_file(job, FileFacts(store.uri_of(key)))
    async with aclosing(_limited(request, limit)) as chunks:
        facts = await store.write_stream(key, chunks)
    now = await request.app[JOBS_KEY].get(job.id)
    if now.is_terminal:
        await store.remove(key)  # the job's end may have cleaned up before the file was there
        raise JobStateError(f"job '{job.id}' has become {now.status} while the file came, and takes none any more.")
    await request.app[JOBS_KEY].note_file(now, name, facts, request[CLIENT_KEY].name)
    return answer(_view(name, facts), 201)


async def get(request: web.Request) -> web.StreamResponse:
    """``GET /api/v1/jobs/{id}/files/{name}``: the file, or a redirect to where it can be had without a token.

    With ``?for=upload`` or ``?for=download`` the answer is an address for that: of the object store, good for anybody
    for an hour or ``?expires=`` seconds, or else this engine's own.
    """
    job, name = await _job(request), request.match_info["name"]
    key, store = job_key(job.id, name), request.app[PAYLOADS_KEY]
    purpose = request.query.get("for", "")
    expires = expiry_seconds(request, _EXPIRES_SECONDS, _LONGEST_SECONDS)
    if purpose not in {"", "upload", "download"}:
        raise RequestError(400, "invalid_query", f"'for' is '{purpose[:80]}'; expected upload or download.")
    if purpose == "upload":
        await request.app[JOBS_KEY].expect_file(job, FileFacts(store.uri_of(key)))
        return _address(request, "PUT", await store.upload_url(key, expires), expires)
    facts = await store.facts(key)
    if facts is None:
        raise _missing(job, name)
    url = await store.download_url(key, expires)
    if purpose == "download":
        return _address(request, "GET", url, expires)
    if url is not None:
        return _elsewhere(request, facts, url)
    path = await store.local_path(key)
    if path is None:
        raise _missing(job, name)
    return _File(path, chunk_size=1024 * 1024, headers=_headers(name))


class _File(web.FileResponse):
    """A file as it is: a compressed one of nearly the same name is another file, and never sent in its place."""

    def _make_response(self, request: web.BaseRequest, accept_encoding: str) -> Any:
        del accept_encoding
        return super()._make_response(request, "")


async def _job(request: web.Request) -> Job:
    """Returns the job, if it is the caller's."""
    return await request.app[JOBS_KEY].get(request.match_info["job_id"], request[CLIENT_KEY].name)


async def _limited(request: web.Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Yields the body, up to a limit after decompression."""
    size = 0
    try:
        async with aclosing(read_chunks(request)) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise _too_large(size, limit)
                yield chunk
    except ConnectionError:  # nobody hears the answer; the log need not tell of a broken line
        raise RequestError(400, "upload_broken", "the connection broke before all of the file came.") from None


def _missing(job: Job, name: str) -> RequestError:
    # Not the store's own error: it names a place on this machine.
    message = f"job '{job.id}' has no file {name!a}; GET /api/v1/jobs/{job.id}/files lists what it has."
    return RequestError(404, PayloadNotFoundError.code, message)


def _too_large(size: int, limit: int) -> RequestError:
    told = too_large(size, limit)
    return RequestError(
        told.status,
        "file_too_large",
        f"the file has {size:,} bytes or more, and the limit is {limit:,} (FILE_MAX_BYTES).",
        limit=limit,
    )


def _elsewhere(request: web.Request, facts: FileFacts, url: str) -> web.Response:
    if request.method == "HEAD":  # the address is for GET alone
        known = {hdrs.CONTENT_LENGTH: str(facts.size), hdrs.ETAG: f'"{facts.etag}"', hdrs.CONTENT_TYPE: _BYTES}
        return web.Response(headers=known)
    return web.Response(status=307, headers={hdrs.LOCATION: url})


def _address(request: web.Request, method: str, url: str | None, expires: float) -> web.Response:
    own = str(own_url(request)).rstrip("/") + request.rel_url.raw_path
    return answer(
        {"url": url or own, "method": method, "expires_in": expires, "token_required": url is None},
    )


def _headers(name: str) -> dict[str, str]:
    """Returns headers that make browsers save the file, whatever is in it."""
    last = quote(Path(name).name, safe="")
    return {hdrs.CONTENT_TYPE: _BYTES, hdrs.CONTENT_DISPOSITION: f"attachment; filename*=UTF-8''{last}"}


def _view(name: str, facts: FileFacts) -> dict[str, Any]:
    return {"name": name, "uri": facts.uri, "size": facts.size, "etag": facts.etag}
