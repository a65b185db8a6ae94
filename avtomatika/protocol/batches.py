"""Many tasks in one answer, many results in one request, and tasks in the answer to results.

This is an extension between this engine and its own SDK. An engine that speaks it says so in the answer to a
registration, as ``"batch": 64`` and ``"tasks_with_results": true``; published workers pass that over. A worker that
knows it asks for tasks with ``batch=N`` in the query of its poll, and posts results to ``/_worker/tasks/results``; or
it asks in the query of a result, whose answer then brings the tasks that wait or come within a moment. Everything else
is as without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avtomatika.errors import ProtocolError
from avtomatika.protocol.codec import dumps
from avtomatika.protocol.reading import read_mapping, read_object, read_text, read_whole

MOST = 64
"""How many tasks, or results, go together at most."""
AGAIN, REFUSED = "again", "refused"
"""What one result of many may be answered besides what a single one is: to be sent again, or never taken like this."""


def parse_announcement(body: Any) -> int:
    """Reads in the answer to a registration how many the engine takes at a time; 1 if it does not say."""
    return max(1, min(MOST, read_whole(read_mapping(body).get("batch")) or 1))


def brings_tasks(body: Any) -> bool:
    """Reads in the answer to a registration whether answers to results may bring tasks."""
    return read_mapping(body).get("tasks_with_results") is True


def encode_tasks(tasks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Writes the answer to a poll for many, of tasks as they are written alone."""
    return {"tasks": list(tasks)}


def task_bodies(body: Any) -> list[Any]:
    """Reads the answer to a poll, one task or many, as they came."""
    told = read_mapping(body)
    bodies = told.get("tasks") if "tasks" in told else [body]
    return bodies if isinstance(bodies, list) else [bodies]


def carried_tasks(body: Any) -> list[Any]:
    """Reads the tasks in the answer to a result, as they came; most have none."""
    bodies = read_mapping(body).get("tasks")
    return bodies if isinstance(bodies, list) else []


def write_results(worker_id: str, results: Iterable[str], now: float) -> str:
    """Writes many results.

    Args:
        worker_id: the sender; an identifier.
        results: each as it is written alone, in JSON.
        now: Unix seconds, for the time stamp.
    """
    return f'{{"worker_id":"{worker_id}","timestamp":{int(now)},"results":[{",".join(results)}]}}'


def with_trace(result: str, carrier: Mapping[str, str]) -> str:
    """Writes into one of many results which trace it belongs to; a single one has that in its headers.

    Args:
        result: as it is written alone, in JSON.
        carrier: W3C trace context; nothing is written if it is empty.
    """
    return f'{result[:-1]},"tracing_context":{dumps(dict(carrier))}}}' if carrier else result


def parse_trace(result: Any) -> dict[str, str]:
    """Reads which trace one of many results belongs to; empty for none."""
    told = read_mapping(read_mapping(result).get("tracing_context"))
    return {name: text for name in ("traceparent", "tracestate") if (text := read_text(told.get(name)))}


def parse_results(body: Any) -> list[Any]:
    """Reads the bodies of many results, each of which is to be parsed as one.

    Raises:
        ProtocolError: it is no object with a list of up to ``MOST`` results.
    """
    results = read_object(body, "results").get("results")
    if not isinstance(results, list) or len(results) > MOST:
        raise ProtocolError(f"results: 'results' must be a list of at most {MOST}. Send fewer at a time.")
    return results


def encode_answers(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Writes the answer to many results, one for each in their order."""
    return {"answers": list(answers)}


def again() -> dict[str, Any]:
    """Answers a result that could not be written just now."""
    return {"status": AGAIN}


def refused(reason: str) -> dict[str, Any]:
    """Answers a result that cannot be understood."""
    return {"status": REFUSED, "error": reason}


def parse_answers(body: Any, number: int) -> list[dict[str, Any]]:
    """Reads the answers to so many results; one that is missing or odd counts as to be sent again."""
    told = read_mapping(body).get("answers")
    answers = [read_mapping(one) for one in told] if isinstance(told, list) else []
    found = [answer if read_text(answer.get("status")) else again() for answer in answers[:number]]
    return found + [again()] * (number - len(found))
