"""The public names: every import path that users were promised, and what stands behind it."""

from __future__ import annotations

import importlib

import pytest
from aiohttp import web

import avtomatika
from avtomatika import app_keys
from avtomatika.runtime.dispatcher import Dispatcher

PROMISED = [
    ("avtomatika", "OrchestratorEngine"),
    ("avtomatika", "StateMachineBlueprint"),
    ("avtomatika", "ActionFactory"),
    ("avtomatika", "JobContext"),
    ("avtomatika", "Blueprint"),
    ("avtomatika", "F"),
    ("avtomatika.context", "ActionFactory"),
    ("avtomatika.context", "JobContext"),
    ("avtomatika.config", "Config"),
    ("avtomatika.storage", "MemoryStorage"),
    ("avtomatika.storage.memory", "MemoryStorage"),
    ("avtomatika.app_keys", "ENGINE_KEY"),
    ("avtomatika.app_keys", "DISPATCHER_KEY"),
    ("avtomatika.worker", "Worker"),
    ("avtomatika.client", "AsyncClient"),
    ("avtomatika.client", "Client"),
    ("avtomatika.testing", "BlueprintTester"),
    ("avtomatika.testing", "FakeClock"),
]
WITH_ALL = [
    "avtomatika",
    "avtomatika.app_keys",
    "avtomatika.context",
    "avtomatika.storage",
    "avtomatika.testing",
    "avtomatika.worker",
]


@pytest.mark.parametrize(("module", "name"), PROMISED)
def test_promised_name_can_be_imported(module: str, name: str) -> None:
    """A program written against the description finds what it imports."""
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize("module", WITH_ALL)
def test_public_names_are_sorted_and_exist(module: str) -> None:
    """``__all__`` is the list of public names, in order, and none of them is missing."""
    imported = importlib.import_module(module)

    names = list(imported.__all__)

    assert names == sorted(names)
    assert all(hasattr(imported, name) for name in names)
    assert set(names) <= set(dir(imported))


def test_one_thing_has_one_class() -> None:
    """All import paths lead to the same objects."""
    assert avtomatika.Blueprint is avtomatika.StateMachineBlueprint
    assert importlib.import_module("avtomatika.context").ActionFactory is avtomatika.ActionFactory
    assert importlib.import_module("avtomatika.context").JobContext is avtomatika.JobContext
    assert importlib.import_module("avtomatika.config").Config is avtomatika.Config


def test_unknown_name_is_no_part_of_the_package() -> None:
    """A misspelt import fails as in any other package."""
    with pytest.raises(ImportError):
        from avtomatika import OrchestratorEngin  # type: ignore[attr-defined]  # noqa: F401, PLC0415
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = avtomatika.nothing


def test_engine_has_its_parts_after_construction() -> None:
    """``engine.app`` holds every part under its key before anything is started."""
    engine = avtomatika.OrchestratorEngine(config=avtomatika.Config())

    assert engine.app[app_keys.ENGINE_KEY] is engine
    assert isinstance(engine.app[app_keys.DISPATCHER_KEY], Dispatcher)
    for name in app_keys.__all__:
        assert isinstance(getattr(app_keys, name), web.AppKey)
        assert getattr(app_keys, name) in engine.app


def test_engine_needs_neither_storage_nor_config() -> None:
    """Both are optional and come from the environment."""
    assert isinstance(avtomatika.OrchestratorEngine().app, web.Application)


def test_version_is_the_one_of_the_distribution() -> None:
    """The package says which version it is."""
    assert avtomatika.__version__.split(".")[0].isdecimal()
