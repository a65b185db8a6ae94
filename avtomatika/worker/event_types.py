"""The events that a task may tell: which words there are, and what their payloads look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from avtomatika.errors import ConfigError, ProtocolError, suggest
from avtomatika.protocol.codec import dumps, to_json
from avtomatika.protocol.worker_events import MAX_PAYLOAD_BYTES, PROGRESS
from avtomatika.worker import typed
from avtomatika.worker.task_errors import ContractViolationError

_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def read_event_types(events: Mapping[str, Any] | Iterable[str] | None, owner: str) -> dict[str, Any]:
    """Returns the declared events, each with the annotation of its payload.

    Args:
        events: words, or words with the types of their payloads.
        owner: who declares them, for the message.

    Raises:
        ConfigError: a word is none, or no JSON value can become such a payload.
    """
    if isinstance(events, str):
        raise ConfigError(f"{owner}: events is the text {events!r}; a list of words, or a dict, was expected.")
    types = dict(events) if isinstance(events, Mapping) else dict.fromkeys(events or (), Any)
    for word, annotation in types.items():
        check_word(word, owner)
        if typed.is_checked(annotation):
            typed.schema_of(annotation, f"event {word}", owner)
    return types


def check_word(word: object, owner: str) -> None:
    """Checks the type of an event.

    Args:
        word: as somebody wrote it.
        owner: who did, for the message.

    Raises:
        ConfigError: it is no word, or one that means something else.
    """
    if not isinstance(word, str) or not _WORD.fullmatch(word):
        raise ConfigError(f"{owner}: an event is called {word!r}; use 1 to 128 of A-Z a-z 0-9 _ . : and -.")
    if word == PROGRESS:
        raise ConfigError(
            f"{owner}: the event '{PROGRESS}' is the engine's own; call context.progress(value, message)."
        )


def schema_of_events(types: Mapping[str, Any], owner: str) -> dict[str, Any] | None:
    """Returns a JSON Schema for the payload of each event, as the engine is told; None if there are no events."""
    return {
        word: typed.schema_of(one, f"event {word}", owner) if typed.is_checked(one) else {"type": "object"}
        for word, one in types.items()
    } or None


class EventTypes:
    """Checks events before they are sent.

    Args:
        types: the declared events, each with the annotation of its payload.
        owner: the type of the tasks, for messages.
        strict: other events are refused.
    """

    def __init__(self, types: Mapping[str, Any], owner: str, *, strict: bool) -> None:
        self._types = types
        self._owner = owner
        self._strict = strict

    def payload(self, word: str, payload: object) -> dict[str, Any]:
        """Returns the payload of an event in JSON values.

        Raises:
            ContractViolationError: the event is not declared, or its payload is not what was declared, no object, or
                too large.
        """
        owner = f"task '{self._owner}'"
        try:
            check_word(word, owner)
        except ConfigError as error:
            raise ContractViolationError(str(error)) from None
        if self._strict and word not in self._types:
            known = ", ".join(self._types) or "none"
            raise ContractViolationError(
                f"{owner} tells the event '{word}', which it does not declare; declared: {known}."
                f"{suggest(word, self._types)} Name it in @worker.task(events=...), or set "
                "STRICT_EVENT_VALIDATION=false."
            )
        path = f"event '{word}'"
        try:
            made = to_json(typed.plain({} if payload is None else payload), path)
            typed.read(made, self._types.get(word, Any), path)
        except (ProtocolError, typed.UnfitError) as error:
            raise ContractViolationError(f"{owner}: {error}") from None
        if not isinstance(made, dict):
            raise ContractViolationError(
                f"{owner}: the payload of {path} is a {type(payload).__name__}; a dict or dataclass was expected."
            )
        size = len(dumps(made).encode())
        if size > MAX_PAYLOAD_BYTES:
            raise ContractViolationError(
                f"{owner}: the payload of {path} has {size:,} bytes; at most {MAX_PAYLOAD_BYTES:,} are kept. Store a "
                "file, and send its name."
            )
        return made
