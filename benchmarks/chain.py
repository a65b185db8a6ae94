"""How fast a job goes from state to state: jobs of ten transitions.

    python -m benchmarks.chain [--jobs 1000] [--transitions 10] [--rounds 5] [--storage memory sqlite redis]

Several storages are measured in turn in each round. ``sqlite`` and ``redis`` are new and empty each time.

The figure to compare between machines, and the one that a busy machine disturbs least, is the engine's processor time
for a transition as a multiple of a bare loop's: the same handlers, awaited one after another with the same data copied
and encoded at each step, but no engine. What a Redis server works besides is not in it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import msgpack

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint, loops
from avtomatika.app_keys import STORAGE_KEY
from avtomatika.core.states import JobStatus
from avtomatika.history.noop import NoopHistory
from benchmarks.setting import DURABILITY, describe, kind_of, options_of, storage_uri

_LIMIT_SECONDS = 120.0


def chain_blueprint(transitions: int) -> StateMachineBlueprint:
    """Returns a blueprint of so many transitions; each handler counts one up."""
    blueprint = StateMachineBlueprint("chain")
    for number in range(transitions):
        target = f"s{number + 1}"

        async def step(state_history: dict[str, Any], actions: ActionFactory, target: str = target) -> None:
            state_history["count"] = state_history.get("count", 0) + 1
            actions.transition_to(target)

        blueprint.handler_for(f"s{number}", is_start=number == 0, transitions=[target])(step)

    async def end(state_history: dict[str, Any]) -> dict[str, Any]:
        return state_history

    blueprint.handler_for(f"s{transitions}", is_end=True)(end)
    return blueprint


async def run_engine(jobs: int, transitions: int, storage_uri: str = "memory:") -> tuple[float, float]:
    """Returns the seconds from the first creation to the last end, and those of processor time in between."""
    config = Config(API_PORT=0, API_HOST="127.0.0.1", MAX_TRANSITIONS_PER_JOB=transitions + 1, STORAGE_URI=storage_uri)
    engine = OrchestratorEngine(config=config, history=NoopHistory())
    engine.register_blueprint(chain_blueprint(transitions))
    async with engine:
        with loops.rare_collections():  # as in engine.run()
            return await _time_jobs(engine, jobs)


async def _time_jobs(engine: OrchestratorEngine, jobs: int) -> tuple[float, float]:
    storage = engine.app[STORAGE_KEY]
    ended = asyncio.Event()
    left = jobs

    def count_down(signal: Any) -> None:
        nonlocal left
        if signal.final:
            left -= 1
            if not left:
                ended.set()

    before = (await storage.count_jobs()).get(JobStatus.FINISHED, 0)
    storage.subscribe(count_down, "job")
    began, began_at_work = time.perf_counter(), time.process_time()
    creations = [engine.create_background_job("chain", {"payload": "x" * 100}) for _ in range(jobs)]
    await asyncio.gather(*creations)
    await asyncio.wait_for(ended.wait(), _LIMIT_SECONDS)
    took, used = time.perf_counter() - began, time.process_time() - began_at_work
    finished = (await storage.count_jobs()).get(JobStatus.FINISHED, 0) - before
    if finished != jobs:
        raise SystemExit(f"only {finished} of the {jobs} jobs finished")
    return took, used


async def run_bare(jobs: int, transitions: int) -> float:
    """Returns the seconds of processor time that the same steps take without an engine."""

    async def step(state: dict[str, Any]) -> None:
        state["count"] = state.get("count", 0) + 1

    began = time.process_time()
    for _ in range(jobs):
        stored = msgpack.packb({})
        for _ in range(transitions):
            state = msgpack.unpackb(stored)
            await step(state)
            stored = msgpack.packb(state)
    return time.process_time() - began


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__, ["memory"])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--transitions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe(f"{options.jobs} jobs of {options.transitions} transitions, history off, {options.rounds} rounds"))
    steps = options.jobs * options.transitions
    bare: list[float] = []
    took: dict[str, list[float]] = {name: [] for name in options.storage}
    used: dict[str, list[float]] = {name: [] for name in options.storage}
    for _ in range(options.rounds):
        bare.append(loops.run(run_bare(options.jobs, options.transitions)))
        for name in options.storage:
            with storage_uri(name) as uri:
                elapsed, at_work = loops.run(run_engine(options.jobs, options.transitions, uri))
                took[name].append(elapsed)
                used[name].append(at_work)
    for name, seconds in took.items():
        ratios = [one / base for one, base in zip(used[name], bare, strict=True)]
        print(
            f"  {kind_of(name):<7} ({DURABILITY[kind_of(name)]}): median {steps / statistics.median(seconds):8,.0f} "
            f"transitions/s (from {steps / max(seconds):,.0f} to {steps / min(seconds):,.0f}); "
            f"{statistics.median(used[name]) / steps * 1e6:.0f} µs of the engine's processor time each, "
            f"{statistics.median(ratios):.0f} times the bare loop's"
        )


if __name__ == "__main__":
    main()
