"""The engine of a film studio: three blueprints, one of which runs another, and one that the clock runs."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter

from avtomatika import ActionFactory, F, OrchestratorEngine, RetryPolicy, StateMachineBlueprint
from avtomatika.app_keys import METER_KEY
from avtomatika.blueprints import SharedStore

shelf = SharedStore({"films": {}}, name="shelf")  # all engines and all blueprints see the same one
video = StateMachineBlueprint(
    "video",
    api_endpoint="/videos",
    data_stores={"shelf": shelf},
    retry=RetryPolicy(attempts=4, delay=0.1, max_delay=2),
    input_schema={
        "type": "object",
        "properties": {
            "title": {"type": "string", "minLength": 1},
            "lengths": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 50},
            "seed": {"type": "integer"},
            "grain_limit": {"type": "number"},
        },
        "required": ["title", "lengths"],
    },
)
review = StateMachineBlueprint("review")
digest = StateMachineBlueprint("digest", data_stores={"shelf": shelf})


@video.handler_for("shoot", is_start=True)
async def shoot(initial_data: dict[str, Any], actions: ActionFactory) -> None:
    """Asks for a camera with a long enough lens."""
    actions.dispatch_task(
        "film",
        {"lengths": initial_data["lengths"], "seed": initial_data.get("seed", 0)},
        transitions={"success": "cut", "failure": "failed"},
        resource_requirements={"lens_mm": 35},
        timeout_seconds=60,
    )


@video.handler_for("cut")
async def cut(source: str, actions: ActionFactory) -> None:
    """Lets the camera's worker find the scenes: the film's address goes along, and becomes a path there."""
    actions.dispatch_task(
        "cut", {"source": source}, transitions={"success": "restore", "failure": "failed"}, affinity_seconds=1
    )


@video.handler_for("restore")
async def restore(source: str, scenes: list[list[int]], actions: ActionFactory) -> None:
    """Sends every scene to a laboratory: long ones first, at no more than 5 a scene, each tried again by itself."""
    actions.dispatch_parallel(
        tasks=[
            {
                "task_type": "restore",
                "params": {"source": source, "number": number, "begin": begin, "end": end},
                "priority": float(end - begin),
                "dispatch_strategy": "cheapest",
                "max_cost": 5.0,
            }
            for number, (begin, end) in enumerate(scenes)
        ],
        aggregate_into="compare",
        policy="fail_fast",
    )


@video.aggregator_for("compare")
async def compare(
    aggregation_results: dict[str, dict[str, Any]], state_history: dict[str, Any], actions: ActionFactory
) -> None:
    """Keeps what the laboratories measured, once, when all have ended."""
    results = list(aggregation_results.values())
    state_history["parts"] = [result["data"]["scene"] for result in results]
    state_history["grain"] = [result["data"]["grain"] for result in results]
    state_history["worst_grain"] = max(after for _, after in state_history["grain"])
    state_history["laboratories"] = sorted({result["worker_id"] for result in results})
    actions.transition_to("judge")


@video.handler_for("judge").when(F.state_history["worst_grain"] > F.initial_data["grain_limit"])
async def ask(title: str, worst_grain: float, actions: ActionFactory) -> None:
    """Lets people decide about a film that is not clean enough, in a job of its own."""
    actions.run_blueprint(
        "review",
        {"message": f"'{title}' still has a grain of {worst_grain:g}. Show it?"},
        transitions={"success": "join", "failure": "dropped_rejected"},
    )


@video.handler_for("judge")
async def judge(actions: ActionFactory) -> None:
    """Goes on with a clean one, or with any if nobody has said what is clean."""
    actions.transition_to("join")


@video.handler_for("join")
async def join(parts: list[str], actions: ActionFactory) -> None:
    """Has the scenes joined where there is a GPU."""
    actions.dispatch_task(
        "join",
        {"parts": parts},
        transitions={"success": "shown", "failure": "failed"},
        resource_requirements={"gpu_info": {"vram_gb": 8}},
    )


@video.handler_for("shown", is_end=True)
async def shown(
    title: str, state_history: dict[str, Any], data_stores: Any, task_files: Any, idempotency_key: str
) -> dict[str, Any]:
    """Writes the report, counts the film, and returns what there is; other files of the job are removed."""
    report = {name: state_history[name] for name in ("scenes", "grain", "laboratories", "frames")}
    await task_files.write_json("report.json", {"title": title, **report})
    # A handler may run twice, a film stands on the shelf once: the key is the same then.
    await data_stores.shelf.update("films", lambda films: {**films, idempotency_key: title})
    pictures.inc(state_history["frames"])
    return {"film": "film.y4m", "poster": "poster.png", "report": "report.json", "scenes": len(report["scenes"])}


@video.handler_for("dropped_rejected", is_end=True)
@video.handler_for("failed", is_end=True)
async def lost(last_error: dict[str, Any]) -> dict[str, Any]:
    """Ends the job as failed, because of the states' names."""
    return {"reason": last_error["message"]}


@review.handler_for("ask", is_start=True)
async def ask_people(message: str, actions: ActionFactory) -> None:
    """Waits for a person, three days at most."""
    actions.await_human_approval(
        message,
        transitions={"approved": "liked", "rejected": "disliked_failed", "expired": "disliked_failed"},
        timeout_seconds=3 * 24 * 3600,
    )


@review.handler_for("liked", is_end=True)
@review.handler_for("disliked_failed", is_end=True)
async def decided(current_state: str) -> dict[str, str]:
    """Returns the decision."""
    return {"decision": current_state}


@digest.handler_for("count", is_start=True, is_end=True)
async def count(data_stores: Any) -> dict[str, Any]:
    """Says what is on the shelf; the clock asks."""
    return {"films": sorted((await data_stores.shelf.get("films")).values())}


engine = OrchestratorEngine()
for blueprint in (video, review, digest):
    engine.register_blueprint(blueprint)
pictures = Counter("studio_pictures", "Pictures of films that were shown.", registry=engine.app[METER_KEY].registry)
