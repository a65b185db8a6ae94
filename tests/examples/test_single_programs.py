"""Examples that are one program do what their READMEs say."""

from __future__ import annotations

from collections.abc import Callable

from .programs import Example


def test_first_blueprint_prints_what_its_readme_says(example: Callable[[str], Example]) -> None:
    """The two jobs end as the README says, line for line."""
    loan = example("first_blueprint")

    printed = loan.run("loan.py").splitlines()

    assert printed == ["finished: {'pay_back': 2300.0}", "failed: {'reason': '50000 is above 10000'}"]
    assert all(f"`{line}`" in loan.readme for line in printed)


def test_graph_command_of_first_blueprint_draws_all_states(example: Callable[[str], Example]) -> None:
    """The graph is read from the example's handlers."""
    drawn = example("first_blueprint").run("avtomatika graph")

    assert drawn.startswith("stateDiagram-v2")
    assert all(f'state "{name}"' in drawn for name in ("check", "approved", "rejected"))


def test_parallel_prints_what_its_readme_says(example: Callable[[str], Example]) -> None:
    """The fan-out with a retried branch, and the one that all branches refuse."""
    quotes = example("parallel")

    printed = quotes.run("quotes.py").splitlines()

    assert len(printed) == 2
    assert all(f"`{line}`" in quotes.readme for line in printed)
