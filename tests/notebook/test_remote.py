"""A workbench over an engine elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avtomatika import ActionFactory, StateMachineBlueprint
from avtomatika.blueprints.render import graph_dict, graph_from_dict
from avtomatika.errors import AuthError, AvtomatikaError, BlueprintError, ConnectionFailedError
from avtomatika.notebook import RemoteWorkbench, Workbench


@pytest.fixture
def remote(workbench: Workbench, doubling: StateMachineBlueprint) -> Iterator[RemoteWorkbench]:
    """A connection to the engine of a workbench."""
    workbench.register(doubling)
    with Workbench.connect(workbench.url, workbench.token) as connected:
        yield connected


def test_remote_jobs_are_handled_like_own_ones(remote: RemoteWorkbench) -> None:
    """Submit, result, graph, history and tables over HTTP alone."""
    job = remote.submit("doubling", {"number": 21})

    assert job.result(timeout=30) == {"double": 42}
    assert job.graph is not None
    assert "data:image/svg+xml" in job._repr_mimebundle_()["text/html"]
    assert list(remote.history(job)["event_type"])[-1] == "job_completed"
    assert list(remote.jobs(status="finished")["id"]) == [job.id]
    assert len(remote.workers()) == 0
    assert job.id in remote.dashboard()._repr_mimebundle_()["text/html"]


def test_end_of_the_connection_leaves_the_engine_alone(workbench: Workbench, remote: RemoteWorkbench) -> None:
    """Stop closes what is here; jobs go on there."""
    job = remote.submit("doubling", {"number": 1})
    remote.stop()
    remote.stop()

    assert repr(remote) == "RemoteWorkbench(stopped)"
    assert workbench.job(job.id).result(30) == {"double": 2}
    with pytest.raises(AvtomatikaError, match="stopped"):
        remote.jobs()


def test_wrong_token_is_told_where_it_was_given(workbench: Workbench) -> None:
    """Not at the first job."""
    with pytest.raises(AuthError):
        Workbench.connect(workbench.url, "wrong")


def test_engine_that_does_not_answer_is_told(workbench: Workbench) -> None:
    """The address is in the sentence."""
    url = workbench.url
    workbench.stop()

    with pytest.raises(ConnectionFailedError, match=url):
        Workbench.connect(url, "token")


def test_blueprint_without_endpoint_is_refused_in_a_sentence(
    workbench: Workbench, remote: RemoteWorkbench, patient: StateMachineBlueprint
) -> None:
    """Over HTTP only blueprints with an endpoint can be started; jobs of others can be looked at."""
    job = workbench.submit(patient, {"text": "a"})

    with pytest.raises(BlueprintError):
        remote.submit("patient")
    assert remote.job(job.id).graph is not None


def test_graph_survives_its_way_over_http() -> None:
    """Version, conditions and kinds of edges are the same; what is new in a later version is left out."""
    bp = StateMachineBlueprint("orders")

    @bp.handler_for("ask", is_start=True)
    async def ask(actions: ActionFactory) -> None:
        actions.dispatch_task("shout", {}, transitions={"success": "done", "failure": "lost"})

    @bp.handler_for("done", is_end=True)
    async def done() -> None: ...

    @bp.handler_for("lost", is_end=True, outcome="failed")
    async def lost() -> None: ...

    drawn = graph_dict(bp.graph)
    drawn["states"][0]["invented_later"] = 1

    assert graph_from_dict(drawn) == bp.graph
    assert graph_from_dict(drawn).version == bp.graph.version
