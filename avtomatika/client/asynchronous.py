"""The client for asyncio."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import aiohttp
import stamina
import yarl

from avtomatika.client.files import STORE_SECONDS, name_for, not_served, open_source, place_for
from avtomatika.client.following import CHANGE_WAIT, Waiting, has_changed, is_terminal
from avtomatika.client.repeating import ATTEMPTS, policy
from avtomatika.client.requests import (
    PAGE,
    Answer,
    Request,
    Requests,
    as_list,
    as_object,
    is_endpoint,
    read_answer,
)
from avtomatika.client.streaming import SILENCE_SECONDS, Event, Reader, Reconnecting, is_stream, refused
from avtomatika.errors import ConnectionFailedError
from avtomatika.payloads.base import BLOCK_BYTES
from avtomatika.payloads.streams import beside, save


class AsyncClient:
    """Talks to an engine from a coroutine: ``async with AsyncClient(url, token) as client: ...``.

    One client serves many calls at once and keeps its connections; ``close`` gives them up.

    Every call may raise ``ConnectionFailedError`` (no engine answered), ``AuthError`` (the token is wrong) and
    ``ClientError`` (the engine refused; it has the engine's sentence and its stable ``code``). A call that was one too
    many is made again when the engine says that it may; one that changes nothing, or creates a job with an
    ``idempotency_key``, also when no engine answered or one was in trouble.

    Args:
        url: address of the engine, such as ``http://127.0.0.1:8080``.
        token: the client token.
        prefix: the engine's ``CLIENT_API_PREFIX``.
        timeout: seconds to wait for an answer, besides what the call itself waits.
        attempts: how often a call is made, at most, as long as a try costs nothing: see ``repeating``. 1 for once only.

    Raises:
        ConfigError: the address or the token cannot be used.
    """

    def __init__(
        self, url: str, token: str, *, prefix: str = "api", timeout: float = 30.0, attempts: int = ATTEMPTS
    ) -> None:
        self._requests = Requests(url, token, prefix)
        self._timeout = timeout
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._requests.url!r})"

    async def close(self) -> None:
        """Gives the connections up. Idempotent; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def submit(
        self,
        endpoint_or_blueprint: str,
        initial_data: Mapping[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        webhook_url: str | None = None,
        dispatch_timeout: float | None = None,
        result_timeout: float | None = None,
    ) -> str:
        """Creates a job.

        Args:
            endpoint_or_blueprint: an endpoint with its leading ``/``, or the name of a blueprint, which costs one more
                request.
            initial_data: what the job starts with; JSON values.
            version: API version of an endpoint; a blueprint brings its own.
            idempotency_key: the same key and data give the same job, so that a call can be repeated safely.
            webhook_url: where to send the outcome.
            dispatch_timeout: seconds that a task of the job may wait for a worker.
            result_timeout: seconds for the whole job.

        Returns:
            The id of the job.

        Raises:
            BlueprintError: there is no blueprint of that name, or it has no endpoint.
            DocumentError: the data is no JSON object.
        """
        blueprints = [] if is_endpoint(endpoint_or_blueprint) else await self.blueprints()
        request = self._requests.submit(
            self._requests.creation_path(endpoint_or_blueprint, version, blueprints),
            initial_data,
            idempotency_key,
            {"webhook_url": webhook_url, "dispatch_timeout": dispatch_timeout, "result_timeout": result_timeout},
        )
        return str(as_object(await self._send(request), "job_id")["job_id"])

    async def job(self, job_id: str, wait: float | None = None, version: int | None = None) -> dict[str, Any]:
        """Returns the job.

        Args:
            job_id: from ``submit``.
            wait: seconds to wait for its next change; a job that has ended comes at once.
            version: the ``version`` of the job as last seen: a change since then comes at once, too.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        return as_object(await self._send(self._requests.job(job_id, wait, version)))

    async def wait(self, job_id: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - told to the engine
        """Returns the job when it has ended.

        Args:
            job_id: from ``submit``.
            timeout: seconds, or None for ever.

        Raises:
            TimeoutError: it has not ended in time; it goes on.
            JobNotFoundError: there is none, or it is another client's.
        """
        waiting = Waiting(job_id, timeout, time.monotonic())
        while True:
            job = await self.job(job_id, waiting.next_wait(time.monotonic()))
            if waiting.is_over(job, time.monotonic()):
                return job

    async def events(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yields the job now and after each change, until it has ended.

        Changes that follow each other quickly come as one. Progress between two requests is told within five seconds,
        everything else at once.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        last, job = None, await self.job(job_id)
        while True:
            if has_changed(last, job):
                yield job
            if is_terminal(job):
                return
            last, job = job, await self.job(job_id, CHANGE_WAIT, job.get("version"))

    async def changes(
        self,
        after: str = "",
        *,
        job_ids: Iterable[str] = (),
        blueprint: str | None = None,
        patience: float = 60.0,
    ) -> AsyncGenerator[Event, None]:
        """Yields what happens to own jobs, as it happens, for ever: break the loop to end it.

        The first event is ``hello``: what happens from then on is told, so look jobs up after it. A connection that
        breaks is made again, at the place where it broke. A job's end is told once; its ``version`` rises by one from
        ``job`` to ``job``.

        Args:
            after: id of the last event that was seen; empty to begin now.
            job_ids: only these jobs, at most 100.
            blueprint: only jobs of this blueprint.
            patience: seconds without any engine after which to give up.

        Raises:
            ConnectionFailedError: no engine answered at first, or for ``patience`` seconds later.
        """
        again, last_id, chosen = Reconnecting(patience), after, tuple(job_ids)
        while True:
            error: ConnectionFailedError | None = None
            reader = Reader(last_id)
            try:
                async with aclosing(self._lines(self._requests.changes(last_id, chosen, blueprint))) as lines:
                    async for line in lines:
                        again.stands()
                        event = reader.read(line)
                        last_id = reader.last_id
                        if event is not None:
                            yield event
            except ConnectionFailedError as broken:
                error = broken
            await asyncio.sleep(again.next_pause(time.monotonic(), error))

    async def cancel(self, job_id: str) -> str:
        """Asks to end the job.

        Returns:
            The engine's word: ``cancellation_request_sent`` or ``cancellation_request_accepted``.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 409: it has ended already.
        """
        return str(as_object(await self._send(self._requests.cancel(job_id)), "status")["status"])

    async def requeue(self, job_id: str) -> None:
        """Lets a failed or quarantined job go on in the state where it stopped.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 409: it is neither failed nor quarantined.
        """
        await self._send(self._requests.requeue(job_id))

    async def cancel_jobs(
        self,
        ids: Iterable[str] | None = None,
        *,
        status: str | None = None,
        blueprint: str | None = None,
        since: float | datetime.datetime | None = None,
        limit: int = 100,
    ) -> dict[str, Any]:
        """Ends many own jobs: those named by ``ids``, else the newest ``limit`` that the filters find.

        Args:
            ids: at most 1000; jobs that cannot be cancelled are told, and hinder no other.
            status: only these of the live ones.
            blueprint: only of this blueprint.
            since: only those created since, as Unix seconds or a datetime with a time zone.
            limit: at most 1000.

        Returns:
            ``matched`` (how many were meant), ``cancelled`` (their ids), ``refused`` (objects with ``job_id``, ``code``
            and ``error``), ``more`` (whether the filters find others beyond the limit).

        Raises:
            ValueError: ids and filters are both given.
        """
        filters = {"status": status, "blueprint": blueprint, "since": since}
        return as_object(await self._send(self._requests.change_jobs("cancel", ids, limit, filters)))

    async def requeue_jobs(
        self,
        ids: Iterable[str] | None = None,
        *,
        status: str | None = None,
        blueprint: str | None = None,
        since: float | datetime.datetime | None = None,
        limit: int = 100,
    ) -> dict[str, Any]:
        """Lets many failed and quarantined jobs go on; as ``cancel_jobs``, with ``requeued`` in the answer."""
        filters = {"status": status, "blueprint": blueprint, "since": since}
        return as_object(await self._send(self._requests.change_jobs("requeue", ids, limit, filters)))

    async def approve(self, job_id: str, decision: str, *, by: str | None = None, comment: str | None = None) -> None:
        """Decides about a job that waits for a person.

        Args:
            job_id: from ``submit``.
            decision: one of those that the job offers in ``approval``.
            by: who decided, for the history; the client's name if left out.
            comment: what else they said.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 400: the decision is not offered; with 409: it does not wait for one.
        """
        await self._send(self._requests.approve(job_id, decision, by, comment))

    async def rewind(self, job_id: str, state: str | None = None, *, sequence: int | None = None) -> None:
        """Starts the job again from a state that it was in, whatever it does now or however it ended.

        Args:
            job_id: from ``submit``.
            state: the last time that it entered this state is meant.
            sequence: or this row ``state_started`` of its history.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 400: it never entered that state, or its history is not kept.
        """
        await self._send(self._requests.rewind(job_id, state, sequence))

    async def fork(
        self,
        job_id: str,
        state: str | None = None,
        *,
        sequence: int | None = None,
        initial_data: Mapping[str, Any] | None = None,
        state_history: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Creates a job that begins where this one once was, with other data; this one is left alone.

        Args:
            job_id: from ``submit``.
            state: the last time that it entered this state is meant.
            sequence: or this row ``state_started`` of its history.
            initial_data: members to lay over those of this job.
            state_history: members to lay over its data of that moment.
            idempotency_key: the same key and data give the same job.

        Returns:
            The id of the new job.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 400: it never entered that state, or its history is not kept.
        """
        body = {
            "state": state,
            "sequence": sequence,
            "initial_data": initial_data,
            "state_history": state_history,
        }
        request = self._requests.fork(job_id, idempotency_key, body)
        return str(as_object(await self._send(request), "job_id")["job_id"])

    async def explain(self, job_id: str) -> list[str]:
        """Returns what the job waits for, who holds it and until when, in sentences.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        return [str(one) for one in as_object(await self._send(self._requests.explain(job_id)), "reasons")["reasons"]]

    async def history(self, job_id: str) -> list[dict[str, Any]]:
        """Returns the events of the job, oldest first.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        return as_list(await self._send(self._requests.history(job_id)))

    async def tasks(self, job_id: str, status: str | None = None) -> list[dict[str, Any]]:
        """Returns the tasks of the job, with what came of them so far; also while a fan-out still runs.

        Args:
            job_id: from ``submit``.
            status: only those of this status, such as ``quarantined``.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        return as_list(await self._send(self._requests.tasks(job_id, status)))

    async def files(self, job_id: str, folder: str = "") -> list[dict[str, Any]]:
        """Returns the files of the job, or those of one folder, by name.

        Returns:
            Objects with ``name``, ``uri``, ``size`` and ``etag``.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = as_object(await self._send(self._requests.files(job_id, folder, cursor)), "files")
            found += page["files"]
            cursor = page["next_cursor"]
        return found

    async def upload_file(self, job_id: str, source: str | Path | bytes, name: str = "") -> dict[str, Any]:
        """Sends a file to the job, in constant memory.

        Args:
            job_id: from ``submit``.
            source: a file of this machine, or its content.
            name: in the job, with ``/`` between folders; the file's own name if empty.

        Returns:
            ``name``, ``uri``, ``size`` and ``etag``.

        Raises:
            OSError: the file cannot be read.
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 409: the job has ended; with 413: the file is too large; with 400: the name is not
                allowed.
        """
        request = self._requests.put_file(job_id, name_for(source, name))
        with await asyncio.to_thread(open_source, source) as file:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=STORE_SECONDS)
            async with self._answering(request, limits, STORE_SECONDS, file) as response:
                answer = await _read(response)
        return as_object(read_answer(request, answer), "uri")

    async def download_file(self, job_id: str, name: str, destination: str | Path | None = None) -> Path:
        """Fetches a file of the job, in constant memory; it is there when all of it is.

        Args:
            job_id: from ``submit``.
            name: of the file.
            destination: where to; a folder takes it under its own name, None the working directory.

        Returns:
            Where the file is.

        Raises:
            OSError: it cannot be written.
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 404: there is no such file.
            PayloadMismatchError: less came than was promised.
        """
        place = place_for(name, destination)
        await asyncio.to_thread(place.parent.mkdir, parents=True, exist_ok=True)
        async with aclosing(self._content(job_id, name)) as blocks:
            await save(blocks, place, beside(place))
        return place

    async def read_file(self, job_id: str, name: str) -> bytes:
        """Returns a file of the job that fits into memory; raises as ``download_file``."""
        async with aclosing(self._content(job_id, name)) as blocks:
            return b"".join([block async for block in blocks])

    async def file_address(
        self, job_id: str, name: str, purpose: str = "download", expires: float = 3600.0
    ) -> dict[str, Any]:
        """Returns an address for other programs.

        Args:
            job_id: from ``submit``.
            name: of the file.
            purpose: ``download`` or ``upload``.
            expires: seconds for which it is good, at most a week.

        Returns:
            ``url``, ``method``, ``expires_in``, and ``token_required``: false if anybody may use it.
        """
        return as_object(await self._send(self._requests.file_address(job_id, name, purpose, expires)), "url")

    async def jobs(
        self,
        status: str | None = None,
        blueprint: str | None = None,
        since: float | datetime.datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[dict[str, Any]]:
        """Returns own jobs, newest first.

        Args:
            status: only these.
            blueprint: only of this blueprint.
            since: only those created since, as Unix seconds or a datetime with a time zone.
            limit: at most so many; the engine has a limit of its own.
            offset: leave so many out.
        """
        request = self._requests.jobs(since, status=status, blueprint=blueprint, limit=limit, offset=offset)
        return as_list(await self._send(request))

    async def dead_letters(self, topic: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Returns messages of own jobs that were given up, last given up first.

        Args:
            topic: only of this one, such as ``webhook``.
            limit: at most so many.

        Returns:
            Objects with ``id``, ``topic``, ``job_id``, ``key``, ``created_at``, ``buried_at``, ``attempts``, ``error``.
        """
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None and len(found) < limit:
            request = self._requests.dead_letters(topic, min(PAGE, limit - len(found)), cursor)
            page = as_object(await self._send(request), "dead_letters")
            found += page["dead_letters"]
            cursor = page["next_cursor"]
        return found

    async def replay(self, message_ids: Iterable[str]) -> list[str]:
        """Sends dead letters again, with all their attempts before them.

        Args:
            message_ids: at most 1000.

        Returns:
            The ids of those that were dead letters of own jobs.
        """
        return list(as_object(await self._send(self._requests.replay(message_ids)), "replayed")["replayed"])

    async def blueprints(self) -> list[dict[str, Any]]:
        """Returns the registered blueprints."""
        return as_list(await self._send(self._requests.blueprints()))

    async def graph(self, name: str, format: str = "dot") -> Any:  # noqa: A002 - the API's own word
        """Returns the graph of a blueprint.

        Args:
            name: of the blueprint.
            format: ``dot``, ``svg`` or ``mermaid`` for text, ``json`` for an object.
        """
        return await self._send(self._requests.graph(name, format))

    async def workers(self) -> list[dict[str, Any]]:
        """Returns the live workers."""
        return as_list(await self._send(self._requests.workers()))

    async def dashboard(self) -> dict[str, Any]:
        """Returns the numbers of workers and of jobs by status."""
        return as_object(await self._send(self._requests.dashboard()))

    async def status(self) -> dict[str, Any]:
        """Returns how the engine is: ``{"status": "ok", ...}``; another word while it is degraded."""
        return as_object(await self._send(self._requests.status()))

    async def _lines(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yields the lines of a stream while it lasts."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=SILENCE_SECONDS)
        async with self._answering(request, limits, SILENCE_SECONDS) as response:
            refusal = None if is_stream(response.status, response.content_type) else await _read(response)
            if refusal is None:
                async for line in response.content:
                    yield line
        if refusal is not None:
            raise refused(request, refusal)

    async def _content(self, job_id: str, name: str) -> AsyncGenerator[bytes, None]:
        """Yields a file, from wherever the engine has it."""
        request = self._requests.get_file(job_id, name)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=STORE_SECONDS)
        async with self._answering(request, limits, STORE_SECONDS) as response:
            if response.status == 200:
                async for block in response.content.iter_chunked(BLOCK_BYTES):
                    yield block
                return
            answer = await _read(response)
        if answer.status != 307:
            raise refused(request, answer)
        # Elsewhere the address is the proof; the token is for the engine alone.
        async with self._answering(Request("GET", answer.location), limits, STORE_SECONDS, elsewhere=True) as response:
            if response.status != 200:
                raise not_served(name, response.status)
            async for block in response.content.iter_chunked(BLOCK_BYTES):
                yield block

    async def _send(self, request: Request) -> Any:
        limits = aiohttp.ClientTimeout(total=self._timeout + request.wait)
        async for attempt in stamina.retry_context(**policy(request, self._attempts, self._timeout)):
            with attempt:
                async with self._answering(request, limits, self._timeout) as response:
                    answer = await _read(response)
                return read_answer(request, answer)
        raise AssertionError("a policy makes at least one call")  # pragma: no cover

    @asynccontextmanager
    async def _answering(
        self,
        request: Request,
        limits: aiohttp.ClientTimeout,
        silence: float,
        body: BinaryIO | None = None,
        *,
        elsewhere: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a request; what breaks while the answer is read is an error of ours, too.

        Args:
            request: what to send.
            limits: seconds for it and its parts.
            silence: seconds of silence to tell of.
            body: a file to send in place of the request's body.
            elsewhere: the path is the address of another server, which gets no token.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with self._session.request(
                request.method,
                yarl.URL(request.path if elsewhere else self._requests.url + request.path, encoded=True),
                headers={} if elsewhere else self._requests.headers(request),
                data=request.body if body is None else body,
                timeout=limits,
                allow_redirects=False,  # the token is for this address, not for another
            ) as response:
                yield response
        except TimeoutError:
            raise ConnectionFailedError(self._requests.url, f"silent for {silence:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionFailedError(self._requests.url, str(error) or type(error).__name__) from error


async def _read(response: aiohttp.ClientResponse) -> Answer:
    location, retry_after = (response.headers.get(name, "") for name in ("Location", "Retry-After"))
    return Answer(response.status, response.content_type, await response.read(), location, retry_after)
