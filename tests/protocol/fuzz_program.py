"""Feeds the decoders what atheris makes up, guided by which lines it reaches; anything but a ProtocolError ends it.

Run by ``test_fuzz.py``; alone: ``python tests/protocol/fuzz_program.py -max_total_time=60 DIRECTORY_OF_SEEDS``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["avtomatika.protocol", "avtomatika.security.signatures"]):
    from avtomatika.errors import ProtocolError
    from avtomatika.protocol.answers import parse_heartbeat_answer
    from avtomatika.protocol.codec import dumps, loads
    from avtomatika.protocol.heartbeats import adopt, parse_heartbeat
    from avtomatika.protocol.polls import parse_poll
    from avtomatika.protocol.reading import read_mapping
    from avtomatika.protocol.registration import encode_register, parse_register
    from avtomatika.protocol.results import encode_result, parse_result
    from avtomatika.protocol.tasks import encode_task, parse_task
    from avtomatika.protocol.worker_events import parse_event, progress_of
    from avtomatika.security.signatures import Kind, signed_texts

DECODERS: tuple[Callable[[Any], object], ...] = (
    lambda body: dumps(encode_register(parse_register(body, 1.0), 1.0)),
    lambda body: adopt(parse_heartbeat("w", body), 1.0),
    lambda body: dumps(encode_result(parse_result(body), 1.0)),
    lambda body: progress_of(parse_event(body)),
    lambda body: dumps(encode_task(parse_task(body))),
    parse_heartbeat_answer,
    lambda body: parse_poll("&".join(f"{key}={value}" for key, value in read_mapping(body).items())),
)


def try_all(raw: bytes) -> None:
    """Decodes one input in every way."""
    with contextlib.suppress(ProtocolError):
        body = loads(raw)
        for decode in DECODERS:
            with contextlib.suppress(ProtocolError):
                decode(body)
        for kind in Kind:
            with contextlib.suppress(ProtocolError):
                list(signed_texts(raw, kind))


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_all)
    atheris.Fuzz()
