"""What a worker tells of its machine while it works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from avtomatika.clock import SystemClock
from avtomatika.protocol.heartbeats import parse_heartbeat
from avtomatika.protocol.registration import parse_register
from avtomatika.testing import FakeClock
from avtomatika.worker import Worker, gpus, machine
from avtomatika.worker.usage import Gauges, Reading, UsageReport

from .conftest import FakeEngine

GIB = 2**30


class _NvmlError(Exception):
    """What the library raises."""


class FakeNvml:
    """Two GPUs, as NVIDIA's library tells of them; ``broken`` ones do not answer any more."""

    NVMLError = _NvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        self.driver, self.broken, self.load = True, set[int](), 30

    def nvmlInit(self) -> None:  # noqa: N802 - as the library calls it, here and below
        """Finds the driver."""
        if not self.driver:
            raise _NvmlError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Says how many there are."""
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        """Returns a handle."""
        return number

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:  # noqa: N802
        """Says what it is; older releases say it in bytes."""
        return "L4" if handle else b"A100"

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        """Says which one it is."""
        return f"GPU-{handle}f00"

    def nvmlDeviceGetMemoryInfo(self, _handle: int) -> Any:  # noqa: N802
        """Counts bytes."""
        return SimpleNamespace(total=24 * GIB, used=6 * GIB)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        """Measures the load."""
        if handle in self.broken:
            raise _NvmlError
        return SimpleNamespace(gpu=self.load)

    def nvmlDeviceGetTemperature(self, _handle: int, _kind: int) -> int:  # noqa: N802
        """Measures the temperature."""
        return 61


def forget() -> None:
    """Lets the library be looked for again."""
    gpus._library.cache_clear()
    gpus._found.cache_clear()


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    """A machine with GPUs."""
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    forget()
    yield fake
    forget()


def reading(**percents: float) -> Reading:
    """A reading of these figures."""
    return Reading(None, {}, percents)


def test_usage_is_told_when_something_changes_or_after_a_while() -> None:
    """A steady machine costs no words."""
    report = UsageReport(5, 60)

    def tell(cpu: float, ram: float, now: float) -> bool:
        one = reading(cpu=cpu, ram=ram)
        is_news = report.is_news(one, now)
        if is_news:
            report.told(one, now)
        return is_news

    told = [
        tell(cpu, ram, now)
        for cpu, ram, now in [(50, 20, 0), (52, 20, 15), (44, 20, 30), (44, 26, 45), (44, 26, 104), (44, 26, 105)]
    ]

    assert told == [True, False, True, True, False, True]
    assert not report.has_changed(reading(cpu=44, ram=26))
    assert report.is_news(reading(), 999) is False
    assert report.is_news(reading(cpu=44, ram=26, gpu=0), 106) is True


def test_usage_that_no_engine_heard_is_told_again() -> None:
    """A heartbeat may be lost, and an engine forget."""
    report = UsageReport(5, 60)

    assert [report.is_news(reading(cpu=50), now) for now in (0, 1)] == [True, True]
    report.told(reading(cpu=50), 1)
    assert not report.is_news(reading(cpu=50), 2)
    report.forget()
    assert report.has_changed(reading(cpu=50))


@pytest.mark.parametrize("library", [psutil, None])
def test_processors_and_memory_are_measured(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    """With the library, and without it."""
    total = psutil.virtual_memory().total / GIB
    monkeypatch.setitem(sys.modules, "psutil", library)

    found = Gauges(SystemClock()).read()

    assert found.load is not None
    assert 0 <= found.load <= 1
    assert found.usage["cpu_load_percent"] == pytest.approx(found.load * 100, abs=0.1)
    assert 0 < found.usage["ram_used_gb"] < total
    assert found.percents["ram"] == pytest.approx(100 * found.usage["ram_used_gb"] / total, abs=0.1)


class FakeTimes(tuple[float, ...]):
    """What processors have done: work, idleness, waiting and guests, who are counted with the work."""

    idle, iowait, guest = property(lambda t: t[1]), property(lambda t: t[2]), property(lambda t: t[3])


async def test_load_is_that_since_the_last_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this worker, whoever else measures; and readings that follow each other closely are one."""
    times = FakeTimes((100.0, 100.0, 0.0, 20.0))
    memory = SimpleNamespace(total=8 * GIB, available=6 * GIB)
    fake = SimpleNamespace(cpu_times=lambda: times, virtual_memory=lambda: memory)
    monkeypatch.setitem(sys.modules, "psutil", fake)
    clock = FakeClock()
    gauges = Gauges(clock)

    first = gauges.read()
    times = FakeTimes((103.0, 105.0, 2.0, 20.0))
    await clock.advance(4)
    again = gauges.read()
    await clock.advance(2)
    second = gauges.read()

    assert again is first
    assert second.load == pytest.approx(0.3)
    assert second.usage == {"cpu_load_percent": pytest.approx(30), "ram_used_gb": 2.0}


async def test_engine_hears_of_gpus(nvml: FakeNvml, engine: FakeEngine, worker: Worker) -> None:
    """What they are with the registration, what they do with the heartbeats; one that is gone is left out."""
    nvml.broken = {1}
    worker.add_task(lambda: None, "nothing")

    async with worker:
        registration = await engine.wait_for("register")
        heartbeat = await engine.wait_for("heartbeat")

    assert parse_register(registration.body, 1.0).resources["devices"] == [
        {"type": "gpu", "model": "A100", "id": "0", "properties": {"memory_gb": 24.0}},
        {"type": "gpu", "model": "L4", "id": "1", "properties": {"memory_gb": 24.0}},
    ]
    assert parse_heartbeat("w", heartbeat.body).usage["devices_usage"] == [
        {"unit_id": "0", "load_percent": 30.0, "metrics": {"memory_used_gb": 6.0, "temperature": 61.0}}
    ]


@pytest.mark.parametrize(
    ("visible", "found"), [(None, ["0", "1"]), ("1", ["1"]), ("GPU-0", ["0"]), ("", []), ("1, GPU-0f00", ["0", "1"])]
)
def test_hidden_gpus_are_not_told(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, visible: str | None, found: list[str]
) -> None:
    """Functions could not use them either."""
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert [device["id"] for device in gpus.devices()] == found


def test_machine_without_a_driver_has_no_gpus(nvml: FakeNvml) -> None:
    """The library may be there all the same."""
    nvml.driver = False

    assert (gpus.devices(), gpus.usage()) == ([], [])


def test_variables_win_over_what_is_found(nvml: FakeNvml) -> None:
    """Whoever sets them knows better."""
    named = machine.resources({"GPU_MODEL": "T4", "GPU_VRAM_GB": "16", "GPU_ID": "7"})["devices"]
    listed = machine.resources({"WORKER_DEVICES": "[]"})["devices"]

    assert (named, listed) == (
        [{"type": "gpu", "model": "T4", "id": "7", "properties": {"memory_gb": 16}}],
        [],
    )


async def test_hot_skills_are_told_in_registration_heartbeats_and_polls(engine: FakeEngine, worker: Worker) -> None:
    """A function in a thread may say so itself."""

    @worker.task
    def warm(n: int) -> None:
        worker.mark_hot("warm", "model")
        worker.mark_cold("first")

    worker.mark_hot("first")
    async with worker:
        registration = await engine.wait_for("register")
        poll = await engine.wait_for("poll")
        engine.put("warm", n=1)
        heartbeat = await engine.wait_for("heartbeat", lambda heard: heard.body.get("hot_skills") == ["model", "warm"])
        engine.put("warm", "t-2", n=2)  # ends the poll that is held
        later = await engine.wait_for("poll", lambda heard: "warm" in heard.query["hot_skills"])

    assert parse_register(registration.body, 1.0).hot == {"first"}
    assert (poll.query["hot_skills"], later.query["hot_skills"]) == ("first", "model,warm")
    assert parse_heartbeat("w", heartbeat.body).hot == {"model", "warm"}
    assert worker.hot == {"model", "warm"}
