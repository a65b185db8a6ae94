"""Signatures: the vectors of the protocol notes, and what changes a signature and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.errors import ProtocolError
from avtomatika.security.signatures import Kind, is_signed_by, key_of, sign, sign_task, signed_texts

KEY = key_of("example-key")
HEARTBEAT = (
    '{"worker_id":"w1","status":"idle","current_tasks":[],"hot_skills":null,"skills_hash":"abc",'
    '"timestamp":1700000000,"security":{"signature":"x","signer_id":"w1"}}'
)
OF_HEARTBEAT = "d33d0a5dd9abbc8c6ef82ec67e3e44657c97133ef695af5b69a6f54d01b29386"
TASK = {
    "type": "echo",
    "job_id": "j1",
    "task_id": "t1",
    "params": {"a": 1},
    "tracing_context": {},
    "priority": 5,
}
OF_TASK = "7cf3e35b3a7eb3db7e3ebc1f0bba379ab3e3ed891b5906a275108de4a5963b12"


def test_heartbeat_of_the_notes_has_their_signature() -> None:
    """The vector of section 5.3, text and signature."""
    text = next(signed_texts(HEARTBEAT, Kind.HEARTBEAT))

    assert text == ('{"current_tasks":[],"skills_hash":"abc","status":"idle","timestamp":1700000000,"worker_id":"w1"}')
    assert is_signed_by(OF_HEARTBEAT, HEARTBEAT, Kind.HEARTBEAT, [key_of("other"), KEY])


def test_task_of_the_notes_has_their_signature() -> None:
    """The vector of section 5.4."""
    assert sign_task(TASK, KEY) == {**TASK, "sig": OF_TASK}


@pytest.mark.parametrize(
    "change",
    [
        {"priority": 5.0},
        {"params": {"a": 1.0, "b": None}},
        {"deadline": None},
        {"step": 0, "depth": 0},
        {"security": {"x": 1}},
        {"attempt": 1},
    ],
)
def test_task_is_signed_as_its_worker_rebuilds_it(change: dict[str, Any]) -> None:
    """Whole numbers without a point, no nulls, no zeros that the worker leaves out."""
    assert sign_task({**TASK, **change}, KEY)["sig"] == OF_TASK


@pytest.mark.parametrize(
    "change", [{"priority": 6}, {"params": {"a": 1, "b": False}}, {"deadline": 1}, {"step": 1}, {"type": "other"}]
)
def test_task_that_is_another_has_another_signature(change: dict[str, Any]) -> None:
    """Nothing that matters is left out."""
    assert sign_task({**TASK, **change}, KEY)["sig"] != OF_TASK


@pytest.mark.parametrize(
    "tampered",
    [
        HEARTBEAT.replace("idle", "busy"),
        HEARTBEAT.replace("1700000000", "1700000001"),
        HEARTBEAT.replace("1700000000", "1700000000.0"),
        HEARTBEAT.replace("[]", "[0]"),
        HEARTBEAT.replace('"hot_skills":null', '"hot_skills":[]'),
    ],
)
def test_tampered_message_is_not_the_one_that_was_signed(tampered: str) -> None:
    """One letter is enough."""
    assert not is_signed_by(OF_HEARTBEAT, tampered, Kind.HEARTBEAT, [KEY])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('{"b":1e20,"a":1E+20}', '{"a":1E+20,"b":1e20}'),
        ('{"a":0.0,"b":-0,"c":123456789012345678901234567890}', '{"a":0.0,"b":-0,"c":123456789012345678901234567890}'),
        ('{"ключ":"\\u00e9\\/\\n\\u0001\\ud83d\\ude00"}', '{"ключ":"é/\\n\\u0001😀"}'),
        ('{"a":[1,null,{"b":null}],"c":NaN}', '{"a":[1,null,{}],"c":NaN}'),
    ],
)
def test_text_that_is_signed_keeps_numbers_as_they_were_written(raw: str, text: str) -> None:
    """Members sorted, no white space, numbers untouched, only what must be escaped is."""
    assert next(signed_texts(raw, Kind.RESULT)) == text


def test_oldest_form_keeps_nulls_and_signs_less() -> None:
    """1.0b12 signs its registration with its nulls, of the others some members only, and of an event the payload."""
    raw = json.dumps({"worker_id": "w", "payload": {"progress": None}, "security": {"signature": "x"}, "b": None})

    assert list(signed_texts(raw, Kind.REGISTER))[-1] == (
        '{"b":null,"payload":{"progress":null},"security":null,"worker_id":"w"}'
    )
    assert list(signed_texts(raw, Kind.EVENT))[-1] == '{"progress":null}'
    assert list(signed_texts(raw, Kind.RESULT))[-1] == (
        '{"data":null,"error":null,"job_id":null,"status":null,"task_id":null,"worker_id":"w"}'
    )


def test_oldest_form_of_a_heartbeat_has_no_list_of_skills() -> None:
    """1.0b12 puts it in after it has signed."""
    raw = '{"worker_id":"w","supported_skills":[]}'

    assert '"supported_skills":null' in list(signed_texts(raw, Kind.HEARTBEAT))[-1]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.25, "0.25"),
        (5.0, "5"),
        (1e-5, "0.00001"),
        (1.5e-5, "0.000015"),
        (1e-7, "1e-7"),
        (1.5e17, "150000000000000000"),
    ],
)
def test_number_of_a_task_is_signed_as_workers_write_it(number: float, text: str) -> None:
    """Seen with workers of 1.0b19 and 1.0b20, which write it anew before they check."""
    signed = sign_task({"params": {"n": number}}, KEY)

    assert signed["sig"] == sign(KEY, f'{{"params":{{"n":{text}}}}}')


def test_chain_of_an_event_is_not_signed() -> None:
    """Others may add to it on the way."""
    raw = '{"event_type":"x","bubbling_chain":["w"]}'

    assert next(signed_texts(raw, Kind.EVENT)) == '{"event_type":"x"}'
    assert next(signed_texts(raw, Kind.RESULT)) == '{"bubbling_chain":["w"],"event_type":"x"}'


@pytest.mark.parametrize("raw", [b"[]", b"{", b"\xff", b"null", b"[" * 100_000])
def test_message_that_is_no_object_has_no_text(raw: bytes) -> None:
    """It is refused, not raised over."""
    with pytest.raises(ProtocolError):
        next(signed_texts(raw, Kind.RESULT))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(body=st.dictionaries(st.text(max_size=5), JSON, max_size=4), indent=st.none() | st.just(2))
def test_white_space_and_order_do_not_matter(body: dict[str, Any], indent: int | None) -> None:
    """Whoever signs and whoever checks need not write the same bytes."""
    one = json.dumps(body, indent=indent, ensure_ascii=indent is None)
    other = json.dumps(dict(reversed(body.items())))

    assert next(signed_texts(one, Kind.RESULT)) == next(signed_texts(other, Kind.RESULT))
    assert is_signed_by(sign(KEY, next(signed_texts(one, Kind.RESULT))), other, Kind.RESULT, [KEY])
