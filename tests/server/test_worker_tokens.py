"""Short-lived tokens: issued for a proof, renewed once each, and gone when somebody else has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avtomatika.core.document import Document
from avtomatika.server.ended_tokens import EndedTokens
from avtomatika.server.keys import STORAGE_KEY, STS_KEY, WORKERS_KEY
from avtomatika.server.sts import GRACE_SECONDS
from avtomatika.storage.base import Record, RecordWrite
from avtomatika.testing import FakeClock

from .conftest import WORKER, Answer, Api, StartApi, until

ISSUE, REFRESH = "/_worker/auth/token", "/_worker/auth/token/refresh"
GPU = "only-for-gpu-1"
W1 = {"X-Worker-ID": "w1"}
Skip = Callable[[float], None]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each storage: what is counted and what is used up is decided there."""
    return str(request.param)


@pytest.fixture
def skip(clock: FakeClock) -> Skip:
    """Returns what lets time pass at once, without waking anybody on the way."""

    def go(seconds: float) -> None:
        clock._now += seconds

    return go


async def issued(api: Api, token: str = WORKER, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Asks for a pair of tokens."""
    answer = await api.post(ISSUE, token=token, headers=W1 if headers is None else headers)
    assert answer.status == 200, answer
    return dict(answer.body)


async def renewed(api: Api, refresh_token: str, **options: Any) -> Answer:
    """Asks for the next pair."""
    return await api.post(REFRESH, {"refresh_token": refresh_token}, token="ended-long-ago", **options)


async def beats(api: Api, token: str, worker_id: str = "w1") -> Answer:
    """Sends a heartbeat with a token."""
    return await api.call("PATCH", f"/_worker/workers/{worker_id}", {"worker_id": worker_id}, token=token)


async def test_token_is_issued_in_the_form_that_all_workers_read(api: Api) -> None:
    """Three members, a whole number of seconds, and a refresh token besides."""
    told = await issued(api)

    assert (told["worker_id"], told["expires_in"]) == ("w1", 3600)
    assert isinstance(told["expires_in"], int)
    assert (await beats(api, told["access_token"])).status == 200
    assert (await beats(api, told["access_token"], "w2")).body["code"] == "worker_mismatch"


async def test_token_of_a_worker_without_id_header_proves_what_its_token_proved(api: Api) -> None:
    """SDK 1.0b4 to 1.0b16 do not say who they are when they ask."""
    told = await issued(api, headers={})

    assert isinstance(told["worker_id"], str)
    assert {(await beats(api, told["access_token"], worker)).status for worker in ("w1", "w2")} == {200}


async def test_tokens_are_stored_as_hashes_only(api: Api) -> None:
    """Whoever reads the storage can use none of them."""
    told = await issued(api)

    storage = api.engine.app[STORAGE_KEY]
    records = [*await storage.list_records("sts-access"), *await storage.list_records("sts-refresh")]
    assert len(records) == 2
    shown = repr([(record.key, record.value.value()) for record in records])
    assert not any(told[name] in shown for name in ("access_token", "refresh_token"))
    assert WORKER not in shown


async def test_ended_token_is_401_so_that_the_worker_renews_it(api: Api, skip: Skip) -> None:
    """And only then: every other refusal is 403, which leaves a worker its token."""
    told = await issued(api)

    skip(3600)
    answer = await beats(api, told["access_token"])

    assert (answer.status, answer.body["code"]) == (401, "token_expired")
    assert (await beats(api, "none-of-ours")).status == 403
    fresh = await renewed(api, told["refresh_token"])
    assert (await beats(api, fresh.body["access_token"])).status == 200


async def polls(api: Api, token: str, worker_id: str = "w1") -> asyncio.Task[Answer]:
    """Lets a worker ask for a task; returns when its poll is answered or held."""
    path = f"/_worker/workers/{worker_id}/tasks/next"
    call = asyncio.create_task(api.get(path, token=token, headers={"X-Worker-ID": worker_id}))
    await until(lambda: call.done() or api.engine.app[WORKERS_KEY].held == 1)
    return call


async def test_poll_with_an_ended_token_is_told_so_at_once(api: Api, skip: Skip) -> None:
    """The worker fetches the next token and polls again; nobody waits for anything."""
    told = await issued(api)

    for _ in range(2):
        skip(3600)
        answer = await asyncio.wait_for(await polls(api, told["access_token"]), 30)
        assert (answer.status, answer.body["code"]) == (401, "token_expired")
        told = (await renewed(api, told["refresh_token"])).body


async def test_poll_that_comes_back_with_an_ended_token_is_held(api: Api, skip: Skip) -> None:
    """A worker that gets no other one asks a hundred times a second; one that is another is told at once."""
    told, other = await issued(api), await issued(api, headers={"X-Worker-ID": "w2"})
    skip(3600)
    assert (await polls(api, told["access_token"])).done()

    again = await polls(api, told["access_token"])

    assert not again.done()
    await api.clock.advance(5)
    assert (await again).status == 401
    assert (await polls(api, other["access_token"], "w2")).done()


def test_workers_that_were_told_of_their_tokens_are_forgotten_when_they_are_many() -> None:
    """The memory for it is small, and a minute is soon over."""
    ended = EndedTokens()

    assert all(ended.is_news(f"w{number}", 0.0) for number in range(10_001))

    assert (ended.is_news("w0", 1.0), ended.is_news("w9999", 1.0), ended.is_news("w9999", 31.0)) == (True, False, True)


async def test_ended_token_still_brings_the_next_one_for_a_day(api: Api, skip: Skip) -> None:
    """SDK 1.0b4 to 1.0b16 have nothing else to show."""
    told = await issued(api)

    skip(3600 + GRACE_SECONDS - 1)
    second = await issued(api, told["access_token"])
    skip(3600 + GRACE_SECONDS + 1)

    assert (await api.post(ISSUE, token=second["access_token"], headers=W1)).status == 403


async def test_refresh_rotates_both_tokens(api: Api) -> None:
    """Each refresh token brings one pair."""
    first = await issued(api)

    second = (await renewed(api, first["refresh_token"])).body

    assert second.keys() == first.keys()
    assert len({first["access_token"], second["access_token"], first["refresh_token"], second["refresh_token"]}) == 4
    assert second["worker_id"] == "w1"
    assert (await beats(api, second["access_token"])).status == 200


async def test_refresh_that_is_repeated_after_a_lost_answer_is_answered_again(api: Api, skip: Skip) -> None:
    """A worker whose connection broke must not be locked out for ever."""
    first = await issued(api)
    await renewed(api, first["refresh_token"])

    skip(59)
    again = await renewed(api, first["refresh_token"])

    assert (await beats(api, again.body["access_token"])).status == 200


async def test_refresh_token_used_again_later_revokes_the_whole_family(
    api: Api, skip: Skip, caplog: pytest.LogCaptureFixture
) -> None:
    """One of the two who have it is a thief, so neither goes on; other workers do."""
    first, other = await issued(api), await issued(api, headers={"X-Worker-ID": "w2"})
    second = (await renewed(api, first["refresh_token"])).body
    assert (await beats(api, second["access_token"])).status == 200

    skip(61)
    with caplog.at_level(logging.WARNING):
        stolen = await renewed(api, first["refresh_token"])
    skip(6)

    assert (stolen.status, stolen.body["code"]) == (403, "forbidden")
    assert "was used before" in stolen.body["error"]
    assert "used twice" in caplog.text
    assert (await beats(api, second["access_token"])).status == 403
    assert (await renewed(api, second["refresh_token"])).status == 403
    assert (await beats(api, other["access_token"], "w2")).status == 200


async def test_revocation_counts_at_once_where_it_was_noticed(api: Api, skip: Skip) -> None:
    """The engine that finds a stolen token forgets what it remembered of the family."""
    first = await issued(api)
    second = (await renewed(api, first["refresh_token"])).body
    skip(61)
    assert (await beats(api, second["access_token"])).status == 200

    await renewed(api, first["refresh_token"])

    assert (await beats(api, second["access_token"])).status == 403


async def test_refresh_that_was_overtaken_is_a_second_use(
    api: Api, skip: Skip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looked before the first use, and writes a minute after it, does not win."""
    storage, first = api.engine.app[STORAGE_KEY], await issued(api)
    find, looked, go = storage.find_record, asyncio.Event(), asyncio.Event()

    async def find_slowly(space: str, key: str) -> Record | None:
        record = await find(space, key)
        if space == "sts-refresh" and not looked.is_set():
            looked.set()
            await go.wait()
        return record

    monkeypatch.setattr(storage, "find_record", find_slowly)
    overtaken = asyncio.create_task(renewed(api, first["refresh_token"]))
    await looked.wait()
    assert (await renewed(api, first["refresh_token"])).status == 200

    skip(61)
    go.set()

    assert (await overtaken).status == 403


async def test_refresh_by_many_at_once_never_uses_a_token_twice_unseen(api: Api) -> None:
    """The first use is written once; the others are repetitions of that moment."""
    first = await issued(api)

    answers = await asyncio.gather(*(renewed(api, first["refresh_token"]) for _ in range(5)))

    assert {answer.status for answer in answers} == {200}
    (record, *_) = [
        record
        for record in await api.engine.app[STORAGE_KEY].list_records("sts-refresh")
        if record.value.value()["used_at"] is not None
    ]
    assert record.version == 2


@pytest.mark.parametrize("body", [{}, {"refresh_token": 5}, {"refresh_token": ""}, {"refresh_token": "none-of-ours"}])
async def test_refresh_without_a_good_token_is_refused(api: Api, body: dict[str, Any]) -> None:
    """A malformed request is told apart from a token that is not good."""
    answer = await api.post(REFRESH, body, token=WORKER)

    assert answer.status == (403 if body.get("refresh_token") == "none-of-ours" else 400)


async def test_tokens_end_with_the_token_that_they_were_issued_for(start_api: StartApi, tmp_path: Path) -> None:
    """Who is taken out of ``workers.toml`` is out, whatever it was issued before."""
    path = tmp_path / "workers.toml"
    path.write_text(f'[gpu-1]\ntoken = "{GPU}"\n')
    api = await start_api(WORKERS_CONFIG_PATH=str(path))
    told = await issued(api, GPU, {"X-Worker-ID": "gpu-1"})
    assert (await beats(api, told["access_token"], "gpu-1")).status == 200

    path.write_text("")
    await api.post("/api/v1/admin/reload-workers")

    assert (await beats(api, told["access_token"], "gpu-1")).status == 403
    assert (await renewed(api, told["refresh_token"])).status == 403


async def test_global_token_brings_none_for_a_worker_with_its_own(start_api: StartApi, tmp_path: Path) -> None:
    """A detour over a short-lived token opens nothing either."""
    path = tmp_path / "workers.toml"
    path.write_text(f'[gpu-1]\ntoken = "{GPU}"\n')
    api = await start_api(WORKERS_CONFIG_PATH=str(path))

    assert (await api.post(ISSUE, token=WORKER, headers={"X-Worker-ID": "gpu-1"})).status == 403
    anonymous = await issued(api, WORKER, {})
    assert (await beats(api, anonymous["access_token"], "gpu-1")).status == 403
    assert (await beats(api, anonymous["access_token"], "other")).status == 200


async def test_wrong_token_brings_none(api: Api) -> None:
    """Only a proof brings a token."""
    assert (await api.post(ISSUE, token="guess", headers=W1)).status == 403
    assert (await api.post(ISSUE, token=None, headers=W1)).status == 403


async def test_pattern_is_no_id_of_a_worker(api: Api) -> None:
    """Who could call itself ``gpu-?`` would be no reserved worker, and could speak for one."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers = {**upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

    answers = [
        await api.post(ISSUE, token=WORKER, headers={"X-Worker-ID": "gpu-?"}),
        await api.get("/_worker/ws/gpu-%3F", token=WORKER, headers=headers),
    ]

    assert [answer.status for answer in answers] == [400, 400]


async def test_revocation_by_another_engine_counts_within_seconds(api: Api, skip: Skip) -> None:
    """An engine that has seen a token remembers it for a few seconds only."""
    told = await issued(api)
    await beats(api, told["access_token"])
    found = await api.engine.app[STS_KEY].find(told["access_token"])
    assert found is not None

    await api.engine.app[STORAGE_KEY].put_record(RecordWrite("sts-revoked", found.family, Document.of({})))
    skip(5)

    assert (await beats(api, told["access_token"])).status == 403
