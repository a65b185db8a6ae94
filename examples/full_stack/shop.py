"""The engine: parcels are packed by workers, and heavy ones are looked at twice."""

from avtomatika import OrchestratorEngine, StateMachineBlueprint

parcels = StateMachineBlueprint("parcels", api_endpoint="/parcels")


@parcels.handler_for("pack", is_start=True)
async def pack(initial_data, actions):
    """Asks a worker to pack the parcel."""
    actions.dispatch_task("pack", {"kg": initial_data["kg"]}, transitions={"success": "packed", "heavy": "look"})


@parcels.handler_for("look")
async def look(actions):
    """Has a heavy one weighed on both scales."""
    actions.dispatch_parallel([{"type": "weigh", "params": {"scale": scale}} for scale in ("a", "b")], "compare")


@parcels.aggregator_for("compare")
async def compare(aggregation_results, state_history, actions):
    """Keeps what the scales say."""
    state_history["weights"] = [result["data"]["kg"] for result in aggregation_results.values()]
    actions.transition_to("packed")


@parcels.handler_for("packed", is_end=True)
async def packed(job_id, state_history, task_files):
    """Ends with the box, the weights, and a label in the bucket."""
    await task_files.write_text("label.txt", f"parcel {job_id}, box {state_history.get('box')}\n")
    return {"box": state_history.get("box"), "weights": state_history.get("weights", []), "label": "label.txt"}


engine = OrchestratorEngine()
engine.register_blueprint(parcels)
