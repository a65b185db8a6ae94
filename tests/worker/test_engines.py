"""The list of engines: what operators write, and who is asked next."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avtomatika.errors import ConfigError
from avtomatika.worker.engines import EngineAddress, Mode, read_engines
from avtomatika.worker.rota import Rota
from avtomatika.worker.settings import read_settings

LIST = [
    {"url": "http://b:1/", "priority": 20, "weight": 3},
    {"url": "http://a:1", "token": "own", "priority": 5},
    "http://c:1",
]


def test_engines_are_read_in_the_order_of_their_priority() -> None:
    """The smaller first; a token of its own wins over that of the worker, which is never printed."""
    settings = read_settings({}, {"ORCHESTRATORS_CONFIG": json.dumps(LIST), "WORKER_TOKEN": "shared"}, "w")

    assert settings.engines == (
        EngineAddress("http://a:1", "own", 5),
        EngineAddress("http://c:1", "shared", 10),
        EngineAddress("http://b:1", "shared", 20, 3),
    )
    assert (settings.url, settings.mode) == ("http://a:1", Mode.WATERFALL)
    assert "own" not in repr(settings.engines)
    assert "shared" not in repr(settings.engines)


def test_list_of_the_environment_wins_over_its_single_address() -> None:
    """As with published workers; an address that the author wrote wins over both."""
    environment = {"ORCHESTRATORS_CONFIG": '["http://a:1", "http://b:1"]', "ORCHESTRATOR_URL": "http://c:1"}

    assert [engine.url for engine in read_settings({}, environment, "w").engines] == ["http://a:1", "http://b:1"]
    assert [engine.url for engine in read_settings({"url": "http://d:1"}, environment, "w").engines] == ["http://d:1"]
    assert [engine.url for engine in read_settings({"engines": ["http://e:1"]}, environment, "w").engines] == [
        "http://e:1"
    ]
    assert [engine.url for engine in read_settings({}, {"ORCHESTRATOR_URL": "http://c:1"}, "w").engines] == [
        "http://c:1"
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[", "ORCHESTRATORS_CONFIG is no JSON"),
        ("{}", "is a dict; a list of objects"),
        ("[]", "is empty; name at least one"),
        ("[3]", "entry 1 of the variable ORCHESTRATORS_CONFIG is int without 'url'"),
        ('[{"url": "x"}]', "'url' in entry 1 .* is 'x'; an address"),
        ('["http://a", {"url": "http://b", "wieght": 1}]', "entry 2 .* has 'wieght'; known: .* Did you mean 'weight'"),
        ('[{"url": "http://a", "weight": 0}]', "'weight' in entry 1 .* is 0; a number above 0"),
        ('[{"url": "http://a", "priority": "x"}]', "'priority' in entry 1 .* is 'x'; a number was"),
        ('["http://a", "http://a/"]', "names http://a twice"),
    ],
)
def test_wrong_list_is_told_with_its_entry(value: str, message: str) -> None:
    """An operator sees which entry and which member."""
    with pytest.raises(ConfigError, match=message):
        read_settings({}, {"ORCHESTRATORS_CONFIG": value}, "w")


def test_mode_is_read_in_any_case_and_checked() -> None:
    """An unknown word does not silently become another mode."""
    assert read_settings({}, {"MULTI_ORCHESTRATOR_MODE": "round_robin"}, "w").mode is Mode.ROUND_ROBIN
    with pytest.raises(ConfigError, match="is 'RANDOM'; one of FAILOVER, ROUND_ROBIN, WATERFALL was expected"):
        read_settings({"mode": "RANDOM"}, {}, "w")


def test_entries_of_the_author_may_be_addresses() -> None:
    """In code, an entry need not be a dict."""
    assert read_engines([EngineAddress("http://a", "t")], "x", "engines") == (EngineAddress("http://a", "t"),)


def asked(rota: Rota, usable: list[bool], brings: Any, number: int) -> list[int | None]:
    """Returns whom the rota asks, one after another; ``brings`` says who has a task."""
    order = []
    for _ in range(number):
        place = rota.next(usable)
        order.append(place)
        if place is not None:
            rota.note(place, brought=brings(place))
    return order


def test_failover_asks_the_first_that_can_be_asked() -> None:
    """The others only while it cannot."""
    rota = Rota([1, 1, 1], Mode.FAILOVER)

    assert asked(rota, [True, True, True], lambda place: False, 3) == [0, 0, 0]
    assert asked(rota, [False, True, True], lambda place: True, 2) == [1, 1]
    assert asked(rota, [True, True, True], lambda place: False, 1) == [0]


def test_waterfall_goes_on_while_there_is_nothing_and_back_after_a_task() -> None:
    """So the first engine's tasks come first, and nobody's are left lying."""
    rota = Rota([1, 1, 1], Mode.WATERFALL)

    assert asked(rota, [True, True, True], lambda place: False, 4) == [0, 1, 2, 0]
    assert asked(rota, [True, True, True], lambda place: place == 1, 4) == [1, 0, 1, 0]
    assert asked(rota, [False, True, False], lambda place: False, 2) == [1, 1]


def test_round_robin_follows_the_weights_and_spreads_them() -> None:
    """Three to one, never all three at once behind each other for longer than needed."""
    rota = Rota([3, 1], Mode.ROUND_ROBIN)

    assert asked(rota, [True, True], lambda place: True, 8) == [0, 0, 1, 0, 0, 0, 1, 0]
    assert asked(rota, [False, True], lambda place: True, 2) == [1, 1]


@pytest.mark.parametrize("mode", list(Mode))
def test_nobody_is_asked_if_nobody_can_be(mode: Mode) -> None:
    """The worker waits then."""
    assert asked(Rota([1, 1], mode), [False, False], lambda place: True, 1) == [None]
