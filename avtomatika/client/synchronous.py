"""The client for plain code: scripts, threads, notebook cells."""

from __future__ import annotations

import datetime
import http.client
import io
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import stamina

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
from avtomatika.errors import ConnectionFailedError, PayloadMismatchError
from avtomatika.payloads.base import BLOCK_BYTES
from avtomatika.payloads.streams import beside


class Client:
    """Talks to an engine from plain code, also inside a running event loop, from any thread.

    Each call opens a connection of its own and closes it, so there is nothing to give up, an interrupt ends a call at
    once, and one client may serve many threads. Calls, answers and errors are those of ``AsyncClient``.

    Args:
        url: address of the engine, such as ``http://127.0.0.1:8080``.
        token: the client token.
        prefix: the engine's ``CLIENT_API_PREFIX``.
        timeout: seconds that the engine may be silent, besides what the call itself waits.
        attempts: how often a call is made, at most; see ``AsyncClient``.

    Raises:
        ConfigError: the address or the token cannot be used.
    """

    def __init__(
        self, url: str, token: str, *, prefix: str = "api", timeout: float = 30.0, attempts: int = ATTEMPTS
    ) -> None:
        self._requests = Requests(url, token, prefix)
        self._timeout = timeout
        self._attempts = attempts

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does nothing: for code that treats both clients alike."""

    def __repr__(self) -> str:
        return f"Client({self._requests.url!r})"

    def submit(
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
        """Creates a job and returns its id; see ``AsyncClient.submit``."""
        blueprints = [] if is_endpoint(endpoint_or_blueprint) else self.blueprints()
        request = self._requests.submit(
            self._requests.creation_path(endpoint_or_blueprint, version, blueprints),
            initial_data,
            idempotency_key,
            {"webhook_url": webhook_url, "dispatch_timeout": dispatch_timeout, "result_timeout": result_timeout},
        )
        return str(as_object(self._send(request), "job_id")["job_id"])

    def job(self, job_id: str, wait: float | None = None, version: int | None = None) -> dict[str, Any]:
        """Returns the job, after a change or ``wait`` seconds; see ``AsyncClient.job``."""
        return as_object(self._send(self._requests.job(job_id, wait, version)))

    def wait(self, job_id: str, timeout: float | None = None) -> dict[str, Any]:
        """Returns the job when it has ended; see ``AsyncClient.wait``. An interrupt ends the waiting, not the job."""
        waiting = Waiting(job_id, timeout, time.monotonic())
        while True:
            job = self.job(job_id, waiting.next_wait(time.monotonic()))
            if waiting.is_over(job, time.monotonic()):
                return job

    def events(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Yields the job now and after each change, until it has ended; see ``AsyncClient.events``."""
        last, job = None, self.job(job_id)
        while True:
            if has_changed(last, job):
                yield job
            if is_terminal(job):
                return
            last, job = job, self.job(job_id, CHANGE_WAIT, job.get("version"))

    def changes(
        self,
        after: str = "",
        *,
        job_ids: Iterable[str] = (),
        blueprint: str | None = None,
        patience: float = 60.0,
    ) -> Generator[Event, None, None]:
        """Yields what happens to own jobs, as it happens, for ever; see ``AsyncClient.changes``."""
        again, last_id, chosen = Reconnecting(patience), after, tuple(job_ids)
        while True:
            error: ConnectionFailedError | None = None
            reader = Reader(last_id)
            try:
                with closing(self._lines(self._requests.changes(last_id, chosen, blueprint))) as lines:
                    for line in lines:
                        again.stands()
                        event = reader.read(line)
                        last_id = reader.last_id
                        if event is not None:
                            yield event
            except ConnectionFailedError as broken:
                error = broken
            time.sleep(again.next_pause(time.monotonic(), error))

    def cancel(self, job_id: str) -> str:
        """Asks to end the job and returns the engine's word for it; see ``AsyncClient.cancel``."""
        return str(as_object(self._send(self._requests.cancel(job_id)), "status")["status"])

    def requeue(self, job_id: str) -> None:
        """Lets a failed or quarantined job go on in the state where it stopped.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 409: it is neither failed nor quarantined.
        """
        self._send(self._requests.requeue(job_id))

    def cancel_jobs(
        self,
        ids: Iterable[str] | None = None,
        *,
        status: str | None = None,
        blueprint: str | None = None,
        since: float | datetime.datetime | None = None,
        limit: int = 100,
    ) -> dict[str, Any]:
        """Ends many own jobs; see ``AsyncClient.cancel_jobs``."""
        filters = {"status": status, "blueprint": blueprint, "since": since}
        return as_object(self._send(self._requests.change_jobs("cancel", ids, limit, filters)))

    def requeue_jobs(
        self,
        ids: Iterable[str] | None = None,
        *,
        status: str | None = None,
        blueprint: str | None = None,
        since: float | datetime.datetime | None = None,
        limit: int = 100,
    ) -> dict[str, Any]:
        """Lets many failed and quarantined jobs go on; see ``AsyncClient.requeue_jobs``."""
        filters = {"status": status, "blueprint": blueprint, "since": since}
        return as_object(self._send(self._requests.change_jobs("requeue", ids, limit, filters)))

    def approve(self, job_id: str, decision: str, *, by: str | None = None, comment: str | None = None) -> None:
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
        self._send(self._requests.approve(job_id, decision, by, comment))

    def rewind(self, job_id: str, state: str | None = None, *, sequence: int | None = None) -> None:
        """Starts the job again from a state that it was in, whatever it does now or however it ended.

        Args:
            job_id: from ``submit``.
            state: the last time that it entered this state is meant.
            sequence: or this row ``state_started`` of its history.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
            ClientError: with status 400: it never entered that state, or its history is not kept.
        """
        self._send(self._requests.rewind(job_id, state, sequence))

    def fork(
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
        return str(as_object(self._send(request), "job_id")["job_id"])

    def explain(self, job_id: str) -> list[str]:
        """Returns what the job waits for, who holds it and until when, in sentences.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        return [str(one) for one in as_object(self._send(self._requests.explain(job_id)), "reasons")["reasons"]]

    def history(self, job_id: str) -> list[dict[str, Any]]:
        """Returns the events of the job, oldest first."""
        return as_list(self._send(self._requests.history(job_id)))

    def tasks(self, job_id: str, status: str | None = None) -> list[dict[str, Any]]:
        """Returns the tasks of the job, with what came of them so far; also while a fan-out still runs.

        Args:
            job_id: from ``submit``.
            status: only those of this status, such as ``quarantined``.

        Raises:
            JobNotFoundError: there is none, or it is another client's.
        """
        return as_list(self._send(self._requests.tasks(job_id, status)))

    def files(self, job_id: str, folder: str = "") -> list[dict[str, Any]]:
        """Returns the files of the job, or those of one folder; see ``AsyncClient.files``."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = as_object(self._send(self._requests.files(job_id, folder, cursor)), "files")
            found += page["files"]
            cursor = page["next_cursor"]
        return found

    def upload_file(self, job_id: str, source: str | Path | bytes, name: str = "") -> dict[str, Any]:
        """Sends a file to the job, in constant memory; see ``AsyncClient.upload_file``."""
        request = self._requests.put_file(job_id, name_for(source, name))
        with open_source(source) as file, self._answering(request, STORE_SECONDS, file) as response:
            answer = _read(response)
        return as_object(read_answer(request, answer), "uri")

    def download_file(self, job_id: str, name: str, destination: str | Path | None = None) -> Path:
        """Fetches a file of the job, in constant memory; see ``AsyncClient.download_file``."""
        place = place_for(name, destination)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = beside(place)
        try:
            with closing(self._content(job_id, name)) as blocks, aside.open("xb") as file:
                file.writelines(blocks)
            aside.replace(place)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        return place

    def read_file(self, job_id: str, name: str) -> bytes:
        """Returns a file of the job that fits into memory; see ``AsyncClient.read_file``."""
        with closing(self._content(job_id, name)) as blocks:
            return b"".join(blocks)

    def file_address(
        self, job_id: str, name: str, purpose: str = "download", expires: float = 3600.0
    ) -> dict[str, Any]:
        """Returns an address for other programs; see ``AsyncClient.file_address``."""
        return as_object(self._send(self._requests.file_address(job_id, name, purpose, expires)), "url")

    def jobs(
        self,
        status: str | None = None,
        blueprint: str | None = None,
        since: float | datetime.datetime | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[dict[str, Any]]:
        """Returns own jobs, newest first; see ``AsyncClient.jobs``."""
        request = self._requests.jobs(since, status=status, blueprint=blueprint, limit=limit, offset=offset)
        return as_list(self._send(request))

    def dead_letters(self, topic: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Returns messages of own jobs that were given up; see ``AsyncClient.dead_letters``."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None and len(found) < limit:
            request = self._requests.dead_letters(topic, min(PAGE, limit - len(found)), cursor)
            page = as_object(self._send(request), "dead_letters")
            found += page["dead_letters"]
            cursor = page["next_cursor"]
        return found

    def replay(self, message_ids: Iterable[str]) -> list[str]:
        """Sends dead letters again and returns their ids; see ``AsyncClient.replay``."""
        return list(as_object(self._send(self._requests.replay(message_ids)), "replayed")["replayed"])

    def blueprints(self) -> list[dict[str, Any]]:
        """Returns the registered blueprints."""
        return as_list(self._send(self._requests.blueprints()))

    def graph(self, name: str, format: str = "dot") -> Any:  # noqa: A002 - the API's own word
        """Returns the graph of a blueprint as text, or as an object for ``json``; see ``AsyncClient.graph``."""
        return self._send(self._requests.graph(name, format))

    def workers(self) -> list[dict[str, Any]]:
        """Returns the live workers."""
        return as_list(self._send(self._requests.workers()))

    def dashboard(self) -> dict[str, Any]:
        """Returns the numbers of workers and of jobs by status."""
        return as_object(self._send(self._requests.dashboard()))

    def status(self) -> dict[str, Any]:
        """Returns how the engine is: ``{"status": "ok", ...}``; another word while it is degraded."""
        return as_object(self._send(self._requests.status()))

    def _lines(self, request: Request) -> Generator[bytes, None, None]:
        """Yields the lines of a stream while it lasts."""
        with self._answering(request, SILENCE_SECONDS) as response:
            refusal = None if is_stream(response.status, response.headers.get_content_type()) else _read(response)
            if refusal is None:
                yield from response
        if refusal is not None:
            raise refused(request, refusal)

    def _content(self, job_id: str, name: str) -> Generator[bytes, None, None]:
        """Yields a file, from wherever the engine has it."""
        request = self._requests.get_file(job_id, name)
        with self._answering(request, STORE_SECONDS) as response:
            if response.status == 200:
                yield from _blocks(name, response)
                return
            answer = _read(response)
        if answer.status != 307:
            raise refused(request, answer)
        # Elsewhere the address is the proof; the token is for the engine alone.
        with self._answering(Request("GET", answer.location), STORE_SECONDS, elsewhere=True) as response:
            if response.status != 200:
                raise not_served(name, response.status)
            yield from _blocks(name, response)

    def _send(self, request: Request) -> Any:
        for attempt in stamina.retry_context(**policy(request, self._attempts, self._timeout)):
            with attempt:
                with self._answering(request, self._timeout) as response:
                    answer = _read(response)
                return read_answer(request, answer)
        raise AssertionError("a policy makes at least one call")  # pragma: no cover

    @contextmanager
    def _answering(
        self, request: Request, silence: float, body: BinaryIO | None = None, *, elsewhere: bool = False
    ) -> Iterator[http.client.HTTPResponse]:
        """Sends a request; what breaks while the answer is read is an error of ours, too.

        Args:
            request: what to send.
            silence: seconds that the engine may be silent, besides what the request says.
            body: a file to send in place of the request's body.
            elsewhere: the path is the address of another server, which gets no token.
        """
        address = urlsplit(request.path if elsewhere else self._requests.url)
        path = f"{address.path}?{address.query}" if elsewhere else address.path + request.path
        headers = {} if elsewhere else self._requests.headers(request)
        connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = connect(
            address.hostname or "", address.port, timeout=silence + request.wait, blocksize=BLOCK_BYTES
        )
        try:
            if body is not None:
                headers["Content-Length"] = str(body.seek(0, io.SEEK_END))
                body.seek(0)
            connection.request(request.method, path, body=request.body if body is None else body, headers=headers)
            yield connection.getresponse()
        except TimeoutError:
            raise ConnectionFailedError(self._requests.url, f"silent for {silence:g} s") from None
        except (http.client.HTTPException, OSError) as error:
            raise ConnectionFailedError(self._requests.url, str(error) or type(error).__name__) from error
        finally:
            connection.close()


def _blocks(name: str, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yields the body of an answer, all of it."""
    promised, moved = response.length, 0
    while block := response.read(BLOCK_BYTES):
        moved += len(block)
        yield block
    # Read in pieces, a body that breaks off looks like one that is over.
    if promised is not None and moved != promised:
        raise PayloadMismatchError(name, "size", promised, moved)


def _read(response: http.client.HTTPResponse) -> Answer:
    location, retry_after = (response.headers.get(name, "") for name in ("Location", "Retry-After"))
    return Answer(response.status, response.headers.get_content_type(), response.read(), location, retry_after)
