"""What the client asks and how it reads the answers, without I/O; both shells send exactly this."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from avtomatika.errors import (
    AuthError,
    BlueprintError,
    ClientError,
    ConfigError,
    DocumentError,
    JobNotFoundError,
    suggest,
)

PAGE = 1000
"""How many dead letters the engine lists in one answer, at most."""
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the API.

    Args:
        method: HTTP method.
        path: below the server's address, quoted, with its query.
        headers: besides the token.
        body: JSON, or None.
        wait: seconds that the server may hold the answer back.
        job_id: the job that the call is about, or empty.
        answers: status codes whose body is the answer, besides 2xx.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait: float = 0.0
    job_id: str = ""
    answers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: HTTP status code.
        content_type: without parameters.
        body: not decoded.
        location: where a redirect leads, or empty.
        retry_after: the header of that name, or empty.
    """

    status: int
    content_type: str
    body: bytes
    location: str = ""
    retry_after: str = ""


class Requests:
    """Makes the requests.

    Args:
        url: address of the engine, such as ``http://127.0.0.1:8080``.
        token: the client token.
        prefix: the engine's ``CLIENT_API_PREFIX``.

    Raises:
        ConfigError: the address or the token cannot be used.
    """

    def __init__(self, url: str, token: str, prefix: str = "api") -> None:
        self.url = _checked_url(url)
        self._headers = {"X-Client-Token": _header_value("token", token), "Accept": "*/*"}
        self._prefix = "/" + prefix.strip("/")

    def headers(self, request: Request) -> dict[str, str]:
        """Returns all headers that the request is sent with."""
        return {**self._headers, **request.headers}

    def submit(
        self,
        path: str,
        initial_data: Mapping[str, Any] | None,
        idempotency_key: str | None,
        options: Mapping[str, Any],
    ) -> Request:
        """Asks for a new job.

        Args:
            path: from ``creation_path``.
            initial_data: what the job starts with.
            idempotency_key: the same key gives the same job, or None.
            options: further members of the body; None is left out.

        Raises:
            DocumentError: the data is no JSON object.
        """
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = _header_value("idempotency_key", idempotency_key)
        given = {name: value for name, value in options.items() if value is not None}
        body = _json_bytes({"initial_data": _mapping(initial_data), **given})
        return Request("POST", path, headers, body)

    def creation_path(self, target: str, version: str, blueprints: Iterable[Mapping[str, Any]] = ()) -> str:
        """Returns the path under which a job is created.

        Args:
            target: an endpoint such as ``/orders``, or the name of a blueprint.
            version: API version of an endpoint; a blueprint brings its own.
            blueprints: the server's list, needed for a name.

        Raises:
            BlueprintError: no blueprint has that name, or it has no endpoint.
        """
        if is_endpoint(target):
            return f"{self._prefix}/{quote(version)}{quote(target)}"
        by_name = {str(blueprint.get("name")): blueprint for blueprint in blueprints}
        if target not in by_name:
            raise BlueprintError(
                f"the engine has no blueprint '{target}'; known: {', '.join(by_name) or 'none'}."
                f"{suggest(target, by_name)} An endpoint begins with '/'."
            )
        path = by_name[target].get("url")
        if not path:
            raise BlueprintError(
                f"blueprint '{target}' has no api_endpoint, so its jobs cannot be created over HTTP; give it one."
            )
        return quote(str(path))

    def job(self, job_id: str, wait: float | None, version: int | None) -> Request:
        """Asks for a job, or for its first change after ``version`` within ``wait`` seconds."""
        path = self._job_path(job_id, "", wait=wait or None, version=version if wait else None)
        return Request("GET", path, wait=wait or 0.0, job_id=job_id)

    def changes(self, after: str, job_ids: Iterable[str], blueprint: str | None) -> Request:
        """Asks for the stream of what happens to jobs."""
        chosen = [("job_id", job_id) for job_id in job_ids] + [("blueprint", blueprint)] * (blueprint is not None)
        headers = {"Last-Event-ID": _header_value("after", after)} if after else {}
        return Request("GET", self._path("/events") + (f"?{urlencode(chosen)}" if chosen else ""), headers)

    def cancel(self, job_id: str) -> Request:
        """Asks to end a job."""
        return Request("POST", self._job_path(job_id, "/cancel"), job_id=job_id)

    def requeue(self, job_id: str) -> Request:
        """Asks to let a failed or quarantined job go on."""
        return Request("POST", self._job_path(job_id, "/requeue"), job_id=job_id)

    def change_jobs(self, action: str, ids: Iterable[str] | None, limit: int, filters: Mapping[str, Any]) -> Request:
        """Asks to cancel or requeue many jobs: those named, or those that the filters find."""
        given = {name: value for name, value in filters.items() if value is not None}
        if ids is not None and given:
            raise ValueError(f"give ids or filters ({', '.join(given)}), not both: which jobs are meant?")
        if "since" in given:
            given["since"] = _unix_seconds(given["since"])
        body = {"filter": given, "limit": limit} if ids is None else {"ids": list(ids)}
        return Request("POST", self._path(f"/jobs/{action}"), {"Content-Type": "application/json"}, _json_bytes(body))

    def approve(self, job_id: str, decision: str, by: str | None, comment: str | None) -> Request:
        """Decides about a job that waits for a person, as its owner."""
        said = {"decision": decision, "by": by, "comment": comment}
        body = _json_bytes({name: value for name, value in said.items() if value is not None})
        path = f"/_public/webhooks/approval/{quote(job_id, safe='')}"
        return Request("POST", path, {"Content-Type": "application/json"}, body, job_id=job_id)

    def rewind(self, job_id: str, state: str | None, sequence: int | None) -> Request:
        """Asks to start a job again from its past."""
        return self._of_past(job_id, "rewind", {"state": state, "sequence": sequence})

    def fork(self, job_id: str, idempotency_key: str | None, body: Mapping[str, Any]) -> Request:
        """Asks for a new job that begins where this one once was."""
        return self._of_past(job_id, "fork", body, idempotency_key)

    def _of_past(
        self, job_id: str, action: str, body: Mapping[str, Any], idempotency_key: str | None = None
    ) -> Request:
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = _header_value("idempotency_key", idempotency_key)
        given = {name: value for name, value in body.items() if value is not None}
        return Request("POST", self._job_path(job_id, f"/{action}"), headers, _json_bytes(given), job_id=job_id)

    def explain(self, job_id: str) -> Request:
        """Asks what a job waits for."""
        return Request("GET", self._job_path(job_id, "/explain"), job_id=job_id)

    def history(self, job_id: str) -> Request:
        """Asks for the events of a job."""
        return Request("GET", self._job_path(job_id, "/history"), job_id=job_id)

    def tasks(self, job_id: str, status: str | None) -> Request:
        """Asks for the tasks of a job."""
        return Request("GET", self._job_path(job_id, "/tasks", status=status), job_id=job_id)

    def files(self, job_id: str, folder: str, cursor: str) -> Request:
        """Asks for a page of the files of a job."""
        return Request("GET", self._job_path(job_id, "/files", folder=folder, cursor=cursor, limit=PAGE), job_id=job_id)

    def put_file(self, job_id: str, name: str) -> Request:
        """Sends a file; its content is the body."""
        headers = {"Content-Type": "application/octet-stream"}
        return Request("PUT", self._file_path(job_id, name), headers, job_id=job_id)

    def get_file(self, job_id: str, name: str) -> Request:
        """Asks where a file can be had; the answer may lead elsewhere."""
        return Request("GET", self._file_path(job_id, name), job_id=job_id, answers=(307,))

    def file_address(self, job_id: str, name: str, purpose: str, expires: float) -> Request:
        """Asks for an address to send a file to, or to have it from."""
        query = urlencode({"for": purpose, "expires": expires})
        return Request("GET", f"{self._file_path(job_id, name)}?{query}", job_id=job_id)

    def _file_path(self, job_id: str, name: str) -> str:
        # Dots too: a path with '..' in it would be another one before it is sent.
        return self._job_path(job_id, f"/files/{quote(name)}".replace("/.", "/%2E"))

    def jobs(self, since: float | datetime.datetime | None, **filters: Any) -> Request:
        """Asks for a list of jobs."""
        return Request("GET", self._path("/jobs", since=_unix_seconds(since), **filters))

    def dead_letters(self, topic: str | None, limit: int, cursor: str | None) -> Request:
        """Asks for a page of messages that were given up."""
        return Request("GET", self._path("/dead-letters", topic=topic, limit=limit, cursor=cursor))

    def replay(self, message_ids: Iterable[str]) -> Request:
        """Asks to send dead letters again."""
        body = _json_bytes({"ids": list(message_ids)})
        return Request("POST", self._path("/dead-letters/replay"), {"Content-Type": "application/json"}, body)

    def blueprints(self) -> Request:
        """Asks which blueprints there are."""
        return Request("GET", self._path("/blueprints"))

    def graph(self, name: str, kind: str) -> Request:
        """Asks for the graph of a blueprint; DOT is what the server gives when nothing is said."""
        return Request("GET", self._path(f"/blueprints/{quote(name, safe='')}/graph", format=kind))

    def workers(self) -> Request:
        """Asks for the live workers."""
        return Request("GET", self._path("/workers"))

    def dashboard(self) -> Request:
        """Asks for the numbers of workers and jobs."""
        return Request("GET", self._path("/dashboard"))

    def status(self) -> Request:
        """Asks how the engine is; 503 is an answer, too."""
        return Request("GET", "/_public/status", answers=(503,))

    def _job_path(self, job_id: str, rest: str, **query: Any) -> str:
        return self._path(f"/jobs/{quote(job_id, safe='')}{rest}", **query)

    def _path(self, path: str, **query: Any) -> str:
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self._prefix}/v1{path}" + (f"?{urlencode(given)}" if given else "")


def read_answer(request: Request, answer: Answer) -> Any:
    """Returns what the server said: parsed JSON, or text where it is no JSON.

    Raises:
        AuthError: the token is missing or wrong.
        JobNotFoundError: there is no such job, or it is another client's.
        ClientError: the server refused for another reason, or what answered is no engine.
    """
    content = _content(answer)
    if 200 <= answer.status < 300 or answer.status in request.answers:
        return content
    told = content if isinstance(content, dict) else {}
    code = str(told.get("code") or f"http_{answer.status}")
    message = str(told.get("error") or _unexplained(request, answer))
    if answer.status in {401, 403}:
        raise AuthError(message)
    if request.job_id and code == JobNotFoundError.code:
        raise JobNotFoundError(request.job_id)
    # The other form of the header, a date, is for caches and comes from no engine.
    seconds = float(answer.retry_after) if answer.retry_after.isdecimal() else 0.0
    raise ClientError(answer.status, code, message, seconds)


def as_object(content: Any, member: str = "") -> dict[str, Any]:
    """Returns an answer that must be a JSON object.

    Args:
        content: from ``read_answer``.
        member: what it must have, or empty.

    Raises:
        ClientError: it is something else.
    """
    if not isinstance(content, dict) or (member and member not in content):
        raise _unexpected(content, f"an object with '{member}'" if member else "an object")
    return content


def as_list(content: Any) -> list[dict[str, Any]]:
    """Returns an answer that must be a JSON array.

    Raises:
        ClientError: it is something else.
    """
    if not isinstance(content, list):
        raise _unexpected(content, "a list")
    return content


def is_endpoint(target: str) -> bool:
    """Returns whether ``target`` of a submit is an endpoint; else it is the name of a blueprint."""
    return target.startswith("/")


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        port_is_good = False
    if not port_is_good or parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        hint = f" Did you mean 'http://{url}'?" if "//" not in url else ""
        raise ConfigError(f"the engine's address is '{url}', but must look like http://127.0.0.1:8080.{hint}")
    return url.rstrip("/")


def _header_value(name: str, value: str) -> str:
    """Returns a value that a header can carry; the message does not repeat it, it may be a secret."""
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ConfigError(f"{name} must be printable ASCII characters without spaces, at least one.")
    return value


def _mapping(initial_data: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if initial_data is None:
        return {}
    if not isinstance(initial_data, Mapping):
        raise DocumentError("initial_data", f"it is a {type(initial_data).__name__}, but a job starts with a dict")
    return initial_data


def _json_bytes(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, default=_plain, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError("initial_data", str(error)) from None


def _plain(value: Any) -> Any:
    """Turns what json does not know into what it knows: mappings, and moments as ISO 8601."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"it holds a {type(value).__name__}")


def _unix_seconds(moment: float | datetime.datetime | None) -> float | None:
    if not isinstance(moment, datetime.datetime):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"since is {moment.isoformat()} without a time zone; add one, such as tzinfo=datetime.UTC.")
    return moment.timestamp()


def _content(answer: Answer) -> Any:
    """Returns the body, parsed if it is JSON."""
    if answer.content_type == "application/json":
        try:
            return json.loads(answer.body)
        except ValueError:
            raise ClientError(
                answer.status, "invalid_answer", "the server's answer is broken JSON; is a proxy in between?"
            ) from None
    return answer.body.decode("utf-8", "replace")


def _unexpected(content: Any, expected: str) -> ClientError:
    return ClientError(
        200,
        "invalid_answer",
        f"the server answered with a {type(content).__name__} instead of {expected}; is this an avtomatika engine?",
    )


def _unexplained(request: Request, answer: Answer) -> str:
    """Says something of an answer that says nothing itself."""
    if answer.location:
        return f"the server sends {request.path} on to {answer.location}; use that address"
    return f"{request.method} {request.path} was refused without an explanation; is this an avtomatika engine?"
