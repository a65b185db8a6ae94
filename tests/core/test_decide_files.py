"""What is known of the files that results bring, and what later tasks are told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avtomatika.core import fan_outs
from avtomatika.core.document import EMPTY
from avtomatika.core.events import FileMove, FileReceived, HandlerReturned
from avtomatika.core.job import message_of
from avtomatika.protocol.files import MAX_FILES, FileFacts

if TYPE_CHECKING:
    from tests.core.conftest import Machine

FACTS = FileFacts("s3://b/j/out.png", 3, "e")
OTHER = FileFacts("s3://b/j/other.png", 5)


def test_files_of_a_result_are_kept_with_task_and_job(machine: Machine) -> None:
    """The row of the task's end tells of them, too."""
    machine.started().dispatches()
    machine.claims()

    machine.reports(data={"file": FACTS.uri}, files={"file": FACTS})

    assert machine.task.data_metadata == {"file": FACTS}
    assert machine.job.file_facts == {FACTS.uri: FACTS}
    assert machine.row("task_finished").details == {
        "task_type": "render",
        "status": "success",
        "data_metadata": {"file": {"uri": FACTS.uri, "size": 3, "etag": "e"}},
    }


def test_task_is_told_of_the_files_that_its_params_name(machine: Machine) -> None:
    """What an earlier result said of a file goes to the worker that gets it."""
    machine.started().dispatches()
    machine.claims()
    machine.reports(data={"file": FACTS.uri}, files={"file": FACTS})

    task = machine.dispatches(params={"inputs": [FACTS.uri, OTHER.uri]}, transitions={"success": "repair"})

    assert task.params_metadata == {"inputs[0]": FACTS}
    assert message_of(task).params_metadata == {"inputs[0]": FACTS}


def test_files_of_branches_reach_the_aggregator_and_go_on_with_it(machine: Machine) -> None:
    """The job learns of them at once, when the aggregator returns."""
    first, second = machine.started().fans_out({}, {})
    for task, facts in ((first, FACTS), (second, OTHER)):
        machine.claims(task=task)
        machine.reports(data={"file": facts.uri}, task=task, files={"file": facts})
    results = fan_outs.results(machine.tasks.values())
    before = machine.job.file_facts

    machine.feed(HandlerReturned(None, EMPTY, file_facts={FACTS.uri: FACTS, OTHER.uri: OTHER}))

    assert before == {}
    assert results[second.id]["data_metadata"] == {"file": {"uri": OTHER.uri, "size": 5}}
    assert machine.job.file_facts == {FACTS.uri: FACTS, OTHER.uri: OTHER}


def test_files_that_are_too_many_are_forgotten_oldest_first(machine: Machine) -> None:
    """A job in a loop does not grow for ever."""
    many = {str(number): FileFacts(f"s3://b/{number}") for number in range(MAX_FILES)}
    machine.started().dispatches(transitions={"success": "charge"})
    machine.claims()
    machine.reports(data={"n": 1}, files=many)
    machine.dispatches(transitions={"success": "repair"})
    machine.claims()

    machine.reports(data={"n": 2}, files={"file": FACTS})

    known = list(machine.job.file_facts)
    assert (len(known), known[0], known[-1]) == (MAX_FILES, "s3://b/1", FACTS.uri)


def test_file_of_a_client_is_told_to_history_and_job(machine: Machine) -> None:
    """As those of handlers are; a task whose params name it hears of it."""
    machine.started().asks()

    machine.feed(FileReceived(FileMove("received", "out.png", FACTS), "ada"))

    row = machine.row("files_moved")
    assert (row.attempt, row.details) == (
        None,
        {
            "count": 1,
            "bytes": 3,
            "files": [{"way": "received", "name": "out.png", "uri": FACTS.uri, "size": 3, "etag": "e"}],
            "by": "ada",
        },
    )
    assert machine.job.file_facts == {FACTS.uri: FACTS}


def test_file_that_comes_while_the_handler_runs_is_not_noted_yet(machine: Machine) -> None:
    """A commit of its own would undo what the handler does."""
    machine.started()

    assert machine.feed(FileReceived(FileMove("received", "out.png", FACTS))).ignored == "stale_task"
