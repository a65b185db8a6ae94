"""Dead letters over HTTP: own ones are listed and sent again, others do not exist."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from avtomatika.core.document import Document
from avtomatika.server import dead_letters
from avtomatika.server.keys import JOBS_KEY, STORAGE_KEY
from avtomatika.storage.base import Batch, Committed, Message

from .conftest import OTHER, Api


async def bury(api: Api, job_id: str, *topics: str) -> list[str]:
    """Lets an ended job send messages that are given up, a second after each other."""
    storage = api.engine.app[STORAGE_KEY]
    job = await storage.find_job(job_id)
    assert job is not None
    now, job = api.clock.now(), replace(job, version=job.version + 1)
    body = Document.of({"secret": "s3cret"})
    messages = [
        Message(f"{job_id}:{job.version}:{n}", topic, job_id, "shop.example", body, now, now)
        for n, topic in enumerate(topics)
    ]
    assert await storage.commit(Batch(job, frozenset(), now, messages=messages)) == Committed(job.version)
    for message in messages:
        await storage.bury_message(message.id, "shop.example answered 503.")
        await api.clock.advance(1)
    return [message.id for message in messages]


async def ended(api: Api, **options: Any) -> str:
    """Creates a job and returns its id when it has ended."""
    job_id, jobs = await api.submit(**options), api.engine.app[JOBS_KEY]
    job = await jobs.get(job_id)
    while not job.is_terminal:
        job = await jobs.wait(job_id, job.version, 1e9)
    return job_id


async def pages(api: Api, query: str = "") -> list[list[str]]:
    """Returns the ids of all pages."""
    found, cursor = [], ""
    while cursor is not None:
        answer = await api.get(f"/api/v1/dead-letters?cursor={cursor}&{query}")
        assert answer.status == 200, answer
        found.append([letter["id"] for letter in answer.body["dead_letters"]])
        cursor = answer.body["next_cursor"]
    return found


async def test_dead_letter_tells_what_is_needed_and_not_what_is_in_it(api: Api) -> None:
    """The body is for its receiver alone."""
    job_id = await ended(api)
    now = api.clock.now()
    (letter,) = await bury(api, job_id, "webhook")

    answer = await api.get("/api/v1/dead-letters")

    assert answer.body == {
        "dead_letters": [
            {
                "id": letter,
                "topic": "webhook",
                "job_id": job_id,
                "key": "shop.example",
                "created_at": now,
                "buried_at": now,
                "attempts": 0,
                "error": "shop.example answered 503.",
            }
        ],
        "next_cursor": None,
    }


async def test_dead_letters_are_listed_last_given_up_first_in_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page goes on behind the last one; those of other clients are passed over, however many they are."""
    monkeypatch.setattr(dead_letters, "_PAGE", 2)
    monkeypatch.setattr(dead_letters, "_MOST", 4)
    theirs = await ended(api, token=OTHER)
    first = await bury(api, await ended(api), "webhook", "child", "webhook")
    await bury(api, theirs, *["webhook"] * 9)
    last = await bury(api, await ended(api), "webhook")

    letters = [*last, *reversed(first)]
    assert [letter for page in await pages(api) for letter in page] == letters
    assert [page for page in await pages(api, "limit=1") if page] == [[letter] for letter in letters]
    assert [letter for page in await pages(api, "topic=child") for letter in page] == [first[1]]


async def test_dead_letters_are_sent_again(api: Api) -> None:
    """Own ones that are dead; of others is said that they are unknown, and they are left alone."""
    job_id, theirs = await ended(api), await ended(api, token=OTHER)
    first, second = await bury(api, job_id, "nobody_s", "nobody_s")
    (foreign,) = await bury(api, theirs, "nobody_s")

    # A topic that no carrier of the engine takes: what is sent again stays where a test can see it.
    answer = await api.post("/api/v1/dead-letters/replay", {"ids": [second, foreign, "nobody", "", second]})

    assert (answer.status, answer.body) == (200, {"replayed": [second], "unknown": [foreign, "nobody", ""]})
    assert await pages(api) == [[first]]
    storage = api.engine.app[STORAGE_KEY]
    assert await storage.next_message_at(["nobody_s"]) == api.clock.now()
    assert foreign in [message.id for message in await storage.list_dead_messages()]


@pytest.mark.parametrize(
    "body", [{}, {"ids": "all"}, {"ids": [1]}, {"ids": [], "topic": "webhook"}, {"ids": [f"m{n}" for n in range(1001)]}]
)
async def test_replay_of_nothing_sensible_is_refused(api: Api, body: dict[str, Any]) -> None:
    """The answer says what the body needs."""
    answer = await api.post("/api/v1/dead-letters/replay", body)

    assert (answer.status, answer.body["code"]) == (400, "invalid_body")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "cursor=nonsense"])
async def test_list_with_a_wrong_parameter_is_refused(api: Api, query: str) -> None:
    """The answer names the parameter."""
    answer = await api.get(f"/api/v1/dead-letters?{query}")

    assert (answer.status, answer.body["code"]) == (400, "invalid_query")
