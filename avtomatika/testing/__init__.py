"""Tests of blueprints: a whole engine in memory, workers that do as they are told, and time that is moved by hand.

async with BlueprintTester(bp) as t:
    t.worker("carry", returns={"signed_by": "Ada"})
    job = await t.submit({"to": "Vigo"})
    await t.advance(hours=2)
    assert job.status == "finished"
"""

from __future__ import annotations

from avtomatika.core.job import Client
from avtomatika.testing.errors import NotReachedError, TestingError
from avtomatika.testing.fake_clock import FakeClock
from avtomatika.testing.fake_worker import Call, FakeWorker
from avtomatika.testing.tested_job import TestedJob
from avtomatika.testing.tester import BlueprintTester

__all__ = [
    "BlueprintTester",
    "Call",
    "Client",
    "FakeClock",
    "FakeWorker",
    "NotReachedError",
    "TestedJob",
    "TestingError",
]
