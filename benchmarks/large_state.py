"""What large data cost where they stay with the job, and where they leave it for the store of files.

    python -m benchmarks.large_state [--jobs 20] [--bytes 1048576] [--transitions 10] [--rounds 3]
                                     [--storage memory sqlite redis]

Each job fills its ``state_history`` at the first step. Then ``carried`` goes through its transitions without touching
it, and ``changed`` changes a member of it each time. Both are done with the data in the storage and with the data in a
directory, in turn in each round. ``sqlite`` and ``redis`` are new and empty each time.

The figures to compare between machines are the ratios: how much longer the same jobs take when their data leave, and
how much less of Redis's memory they hold.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from redis import Redis

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint, loops
from avtomatika.app_keys import STORAGE_KEY
from avtomatika.history.noop import NoopHistory
from benchmarks.setting import DURABILITY, describe, kind_of, options_of, storage_uri

_LIMIT_SECONDS = 300.0
_THRESHOLD = 256 * 1024


@dataclass(frozen=True)
class Run:
    """What one run took.

    Args:
        seconds: from the first creation to the last end.
        memory: bytes that Redis holds more than before; 0 for another storage.
    """

    seconds: float
    memory: int


def large_blueprint(transitions: int, size: int, *, changes: bool) -> StateMachineBlueprint:
    """Returns a blueprint of so many transitions, whose first handler leaves so much."""
    blueprint = StateMachineBlueprint("large")
    for number in range(transitions):
        target = f"s{number + 1}"

        async def step(
            job_id: str,
            state_history: dict[str, Any],
            actions: ActionFactory,
            target: str = target,
            number: int = number,
        ) -> None:
            if not number:
                # Of each job its own: the same bytes would be kept in memory once.
                state_history["text"] = (job_id * (size // len(job_id) + 1))[:size]
            if changes:
                state_history["count"] = number
            actions.transition_to(target)

        blueprint.handler_for(f"s{number}", is_start=number == 0, transitions=[target])(step)

    async def end() -> dict[str, Any]:
        return {}

    blueprint.handler_for(f"s{transitions}", is_end=True)(end)
    return blueprint


async def run_engine(jobs: int, blueprint: StateMachineBlueprint, uri: str, threshold: int) -> Run:
    """Runs the jobs and says what it took."""
    with tempfile.TemporaryDirectory(prefix="avtomatika-bench-") as folder:
        config = Config(
            API_PORT=0,
            API_HOST="127.0.0.1",
            STORAGE_URI=uri,
            TASK_FILES_DIR=folder,
            PAYLOAD_OFFLOAD_BYTES=threshold,
            EXECUTOR_MAX_CONCURRENT_JOBS=jobs,
        )
        engine = OrchestratorEngine(config=config, history=NoopHistory())
        engine.register_blueprint(blueprint)
        ended, left = asyncio.Event(), jobs
        async with engine:

            def count_down(signal: Any) -> None:
                nonlocal left
                left -= signal.final
                if not left:
                    ended.set()

            engine.app[STORAGE_KEY].subscribe(count_down, "job")
            before = _held(uri)
            began = time.perf_counter()
            await asyncio.gather(*(engine.create_background_job("large", {}) for _ in range(jobs)))
            await asyncio.wait_for(ended.wait(), _LIMIT_SECONDS)
            took = time.perf_counter() - began
        return Run(took, _held(uri) - before)


def _held(uri: str) -> int:
    """Returns how many bytes a Redis server holds; 0 for a storage that has no server."""
    if kind_of(uri) != "redis":
        return 0
    with Redis.from_url(uri) as client:
        return int(client.info("memory")["used_memory"])


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__, ["memory"])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--bytes", type=int, default=1024**2)
    parser.add_argument("--transitions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    what = f"{options.jobs} jobs of {options.transitions} transitions with {options.bytes:,} bytes each, history off"
    print(describe(f"{what}, {options.rounds} rounds"))
    for name in options.storage:
        for way in ("carried", "changed"):
            blueprint = large_blueprint(options.transitions, options.bytes, changes=way == "changed")
            there: list[Run] = []
            away: list[Run] = []
            for _ in range(options.rounds):
                for runs, threshold in ((there, 0), (away, _THRESHOLD)):
                    with storage_uri(name) as uri:
                        runs.append(loops.run(run_engine(options.jobs, blueprint, uri, threshold)))
            _tell(name, way, options.jobs * options.transitions, there, away)


def _tell(name: str, way: str, steps: int, there: list[Run], away: list[Run]) -> None:
    """Prints one line: a step with the data in the storage, and away."""
    stays, leaves = (statistics.median(run.seconds for run in runs) for runs in (there, away))
    ratio = statistics.median(far.seconds / near.seconds for far, near in zip(away, there, strict=True))
    memory = ""
    if kind_of(name) == "redis":
        near, far = (statistics.median(run.memory for run in runs) for runs in (there, away))
        memory = f"; Redis holds {near / 1e6:,.1f} MB there, {far / 1e6:,.1f} MB away"
    print(
        f"  {kind_of(name):<7} ({DURABILITY[kind_of(name)]}): {way}: {stays / steps * 1e3:.2f} ms a transition there, "
        f"{leaves / steps * 1e3:.2f} ms away, {ratio:.2f} times the time{memory}"
    )


if __name__ == "__main__":
    main()
