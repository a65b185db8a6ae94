"""The cookbook, what jobs do: pipelines, people, branches, conditions, children, clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.client import AsyncClient
from avtomatika.errors import ClientError, JobNotFoundError

from .conftest import Serve

pytestmark = pytest.mark.acceptance


async def test_linear_pipeline_hands_data_from_task_to_task(serve: Serve) -> None:
    """Each state sends a task; what its worker returns is an argument of the next handler, by its name."""
    bp = StateMachineBlueprint(name="video", api_version="v1", api_endpoint="/jobs/video")

    @bp.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.transition_to("transcode" if initial_data["path"] else "nothing_failed")

    @bp.handler_for("transcode")
    async def transcode(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        ways = {"success": "publish", "failure": "transcoding_failed", "needs_review": "review"}
        actions.dispatch_task("transcode", params={"input_path": initial_data["path"]}, transitions=ways)

    @bp.handler_for("publish")
    def publish(output_path: str, duration: int, job_id: str, actions: ActionFactory) -> None:
        params = {"path": output_path, "seconds": duration, "key": job_id}
        actions.dispatch_task(task_type="publish", params=params, transitions={"success": "complete"})

    @bp.handler_for("complete", is_end=True)
    async def complete(context: Any) -> dict[str, Any]:
        return {"url": context.state_history["url"], "seconds": context.state_history["duration"]}

    @bp.handler_for("review", is_end=True)
    @bp.handler_for("nothing_failed", is_end=True)
    @bp.handler_for("transcoding_failed", is_end=True)
    async def end() -> None: ...

    kitchen = await serve(bp)
    await kitchen.hire(
        tasks={
            "transcode": lambda input_path: (
                {"output_path": f"{input_path}.mp4", "duration": 95}
                if input_path != "odd"
                else {"status": "needs_review"}
            ),
            "publish": lambda path, seconds, key: {"url": f"https://example.org/{key}/{path}"},
        }
    )

    job = await kitchen.run("/jobs/video", {"path": "cats"})
    odd = await kitchen.run("/jobs/video", {"path": "odd"})
    empty = await kitchen.run("/jobs/video", {"path": ""})

    assert job["status"] == "finished"
    assert job["result"] == {"url": f"https://example.org/{job['id']}/cats.mp4", "seconds": 95}
    assert (odd["status"], odd["current_state"]) == ("finished", "review")
    assert (empty["status"], empty["current_state"]) == ("failed", "nothing_failed")


@pytest.mark.parametrize(
    ("decision", "status", "state"), [("approved", "finished", "published"), ("rejected", "failed", "rejected")]
)
async def test_moderation_waits_for_a_person(serve: Serve, decision: str, status: str, state: str) -> None:
    """A doubtful text waits with a ready link in the job; who posts a decision there sends the job on."""
    bp = StateMachineBlueprint("moderation", api_endpoint="/moderation")

    @bp.handler_for("check", is_start=True)
    async def check(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.dispatch_task("judge", {"text": initial_data["text"]}, {"clean": "published", "doubtful": "ask"})

    @bp.handler_for("ask")
    async def ask(score: float, actions: ActionFactory) -> None:
        actions.await_human_approval(
            integration="webhook",
            message=f"Publish a text with score {score}?",
            transitions={"approved": "published", "rejected": "rejected"},
        )

    @bp.handler_for("published", is_end=True)
    @bp.handler_for("rejected", is_end=True)
    async def end(score: float) -> dict[str, Any]:
        return {"score": score}

    kitchen = await serve(bp)
    await kitchen.hire(
        tasks={
            "judge": lambda text: {
                "status": "doubtful" if "spam" in text else "clean",
                "data": {"score": text.count("spam") / 2},
            }
        }
    )

    clean = await kitchen.run("/moderation", {"text": "good morning"})
    job_id = await kitchen.client.submit("/moderation", {"text": "spam"})
    waiting = await kitchen.until(job_id, "waiting_for_human")
    async with kitchen.http.post(waiting["approval"]["url"], json={"decision": "perhaps"}) as response:
        unknown = response.status, (await response.json())["error"]
    async with kitchen.http.post(f"{kitchen.engine.url}/_public/webhooks/approval/{job_id}", json={}) as response:
        stranger = response.status
    async with kitchen.http.post(waiting["approval"]["url"], json={"decision": decision}) as response:
        answer = response.status, await response.json()
    job = await kitchen.client.wait(job_id, timeout=60)

    assert (clean["status"], clean["result"]) == ("finished", {"score": 0.0})
    assert waiting["approval"]["message"] == "Publish a text with score 0.5?"
    assert waiting["approval"]["decisions"] == ["approved", "rejected"]
    assert unknown[0] == 400
    assert "approved" in unknown[1]
    assert stranger == 401
    assert answer == (200, {"status": "approval_received", "job_id": job_id})
    assert (job["status"], job["current_state"], job["result"]) == (status, state, {"score": 0.5})


async def test_parallel_tasks_are_joined_by_the_aggregator(serve: Serve) -> None:
    """All tasks of a list run, named by ``type`` or by ``task_type``; the aggregator runs once with all results."""
    bp = StateMachineBlueprint("files", api_endpoint="/files")

    @bp.handler_for("process_files", is_start=True)
    async def process(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        tasks = [{"type": "measure", "params": {"file": name}} for name in initial_data["files"]]
        tasks.append({"task_type": "count", "params": {"files": initial_data["files"]}})
        actions.dispatch_parallel(tasks=tasks, aggregate_into="aggregate_results")

    @bp.aggregator_for("aggregate_results")
    async def aggregate(
        aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: ActionFactory
    ) -> None:
        state_history["summary"] = [result["data"] for result in aggregation_results.values()]
        state_history["runs"] = state_history.get("runs", 0) + 1
        actions.transition_to("processing_complete")

    @bp.handler_for("processing_complete", is_end=True)
    async def complete() -> None: ...

    kitchen = await serve(bp)
    for worker_id in ("w1", "w2"):
        await kitchen.hire(
            worker_id,
            tasks={"measure": lambda file: {"size": len(file)}, "count": lambda files: {"total": len(files)}},
        )

    job = await kitchen.run("/files", {"files": ["a", "bb", "ccc"]})

    assert job["status"] == "finished"
    assert job["result"]["summary"] == [{"size": 1}, {"size": 2}, {"size": 3}, {"total": 3}]
    assert job["result"]["runs"] == 1


async def test_conditions_choose_the_handler_and_the_default_takes_the_rest(serve: Serve) -> None:
    """Conditions are tried in the order of definition, over nested fields; a missing field makes one false."""
    bp = StateMachineBlueprint("routing", api_endpoint="/routing")

    @bp.handler_for("decide", is_start=True).when("context.initial_data.type == 'urgent'")
    async def urgent(actions: ActionFactory) -> None:
        actions.transition_to("urgent_processing")

    @bp.handler_for("decide").when("context.initial_data.area.km > 10 and not context.initial_data.local == True")
    async def far(actions: ActionFactory) -> None:
        actions.transition_to("far_processing")

    @bp.handler_for("decide")
    async def normal(actions: ActionFactory) -> None:
        actions.transition_to("normal_processing")

    @bp.handler_for("urgent_processing", is_end=True)
    @bp.handler_for("far_processing", is_end=True)
    @bp.handler_for("normal_processing", is_end=True)
    async def end(current_state: str) -> dict[str, Any]:
        return {"by": current_state.removesuffix("_processing")}

    kitchen = await serve(bp)
    data: tuple[dict[str, Any], ...] = (
        {"type": "urgent", "area": {"km": 20}},
        {"type": "calm", "area": {"km": 20}},
        {"area": {"km": 20}, "local": True},
        {},
    )

    assert [(await kitchen.run("/routing", one))["result"]["by"] for one in data] == [
        "urgent",
        "far",
        "normal",
        "normal",
    ]


async def test_nested_blueprints_give_their_results_upwards(serve: Serve) -> None:
    """A job runs a blueprint, which runs another one; the way on follows the child's end, and results come back."""
    order = StateMachineBlueprint("order", api_endpoint="/order")
    invoice, tax = StateMachineBlueprint("invoice"), StateMachineBlueprint("tax")

    @order.handler_for("start", is_start=True)
    async def start(initial_data: dict[str, Any], actions: ActionFactory) -> None:
        actions.run_blueprint("invoice", {"net": initial_data["net"]}, {"success": "billed", "failure": "refused"})

    @order.handler_for("billed", is_end=True)
    @order.handler_for("refused", is_end=True)
    async def end(invoice: dict[str, Any], current_state: str) -> dict[str, Any]:
        return {"state": current_state, "invoice": invoice["result"], "child": invoice["job_id"]}

    @invoice.handler_for("start", is_start=True)
    async def begin(net: float, actions: ActionFactory) -> None:
        actions.run_blueprint(
            blueprint_name="tax", initial_data={"net": net}, transitions={"success": "sum", "failure": "tax_failed"}
        )

    @invoice.handler_for("sum", is_end=True)
    async def add(net: float, tax: dict[str, Any]) -> dict[str, Any]:
        return {"gross": net + tax["result"]["tax"]}

    @invoice.handler_for("tax_failed", is_end=True)
    async def no_tax() -> dict[str, Any]:
        return {"reason": "no tax"}

    @tax.handler_for("start", is_start=True)
    async def ask(net: float, actions: ActionFactory) -> None:
        actions.dispatch_task("tax", {"net": net}, {"success": "known", "negative": "net_error"})

    @tax.handler_for("known", is_end=True)
    @tax.handler_for("net_error", is_end=True)
    async def known(state_history: dict[str, Any]) -> dict[str, Any]:
        return {"tax": state_history.get("tax")}

    kitchen = await serve(order, invoice, tax)
    await kitchen.hire(tasks={"tax": lambda net: {"tax": net / 5} if net > 0 else {"status": "negative"}})

    job, refused = await kitchen.run("/order", {"net": 100}), await kitchen.run("/order", {"net": -1})
    child = await kitchen.client.job(job["result"]["child"])

    assert (job["status"], job["result"]["state"], job["result"]["invoice"]) == ("finished", "billed", {"gross": 120})
    assert (refused["result"]["state"], refused["result"]["invoice"]) == ("refused", {"reason": "no tax"})
    assert (child["parent_job_id"], child["blueprint_name"]) == (job["id"], "invoice")


async def test_parameters_of_the_client_decide(serve: Serve, tmp_path: Path) -> None:
    """Plan, other fields and quota of ``clients.toml`` reach conditions and handlers; nobody sees another's jobs."""
    (tmp_path / "clients.toml").write_text("""
[premium]
token = "token-of-premium"
plan = "premium"
languages = ["en", "de"]

[free]
token = "token-of-free"
plan = "free"
monthly_attempts = 1
languages = ["en"]
""")
    bp = StateMachineBlueprint("translate", api_endpoint="/translate")

    @bp.handler_for("start", is_start=True).when("context.client.plan == 'premium'")
    async def premium(client: Any, actions: ActionFactory) -> None:
        actions.dispatch_task("translate", {"to": client.params["languages"]}, {"success": "done"}, priority=10)

    @bp.handler_for("start")
    async def free(client: Any, actions: ActionFactory) -> None:
        actions.dispatch_task("translate", {"to": client.params["languages"][:1]}, {"success": "done"})

    @bp.handler_for("done", is_end=True)
    async def done(texts: list[str], client: Any) -> dict[str, Any]:
        return {"texts": texts, "plan": client.plan}

    kitchen = await serve(bp, token="token-of-premium", CLIENTS_CONFIG_PATH=str(tmp_path / "clients.toml"))
    await kitchen.hire(tasks={"translate": lambda to: {"texts": [f"hello ({language})" for language in to]}})

    job = await kitchen.run("/translate")
    async with AsyncClient(kitchen.engine.url, "token-of-free") as other:
        poor = await other.wait(await other.submit("/translate"), timeout=60)
        with pytest.raises(ClientError) as refused:
            await other.submit("/translate")
        with pytest.raises(JobNotFoundError):
            await other.job(job["id"])

    assert job["result"] == {"texts": ["hello (en)", "hello (de)"], "plan": "premium"}
    assert poor["result"] == {"texts": ["hello (en)"], "plan": "free"}
    assert refused.value.status == 429
    assert "token-of" not in str(job)
