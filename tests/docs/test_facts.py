"""What the manual names exists, and what exists is in the manual."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer

import avtomatika
from avtomatika import ActionFactory, Config, JobContext, OrchestratorEngine, StateMachineBlueprint
from avtomatika.blueprints.handlers import KNOWN_ARGUMENTS
from avtomatika.cli import app as cli
from avtomatika.client import AsyncClient, Client
from avtomatika.config import reference
from avtomatika.core.matching import choose
from avtomatika.core.retry import Verdict, classify
from avtomatika.errors import AvtomatikaError
from avtomatika.notebook import JobHandle, Workbench
from avtomatika.notebook.processes import WorkerProcess
from avtomatika.observability import metrics
from avtomatika.testing import BlueprintTester, FakeWorker, TestedJob
from avtomatika.worker import Context, TaskError, Worker, machine, settings
from avtomatika.worker import __main__ as worker_command

HTTP, CLI, PYTHON = (f"docs/reference/{name}.md" for name in ("http-api", "command-line", "python-api"))
CREATE = "POST /api/{version}{endpoint}"
SOURCE = Path(avtomatika.__file__).parent


def public(owner: type) -> set[str]:
    """Returns the names that a class shows to its users."""
    return {name for name in vars(owner) if not name.startswith("_")}


@functools.cache
def capital_words() -> set[str]:
    """Returns the words in capitals of the whole package."""
    text = (path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    return {word for one in text for word in re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", one)}


@functools.cache
def routes() -> set[str]:
    """Returns what the server answers, written as in the manual."""
    app = OrchestratorEngine(config=Config(API_PORT=0)).app
    found = {
        f"{route.method} {route.resource.canonical}"
        for route in app.router.routes()
        if route.resource is not None and route.method not in {"HEAD", "*"}  # "*" only says what is not there
    }
    # The endpoints of blueprints are looked up, not routed; and the second slash is described once for all.
    return {CREATE if route == "POST /api/{path}" else route for route in found if " //" not in route}


def test_every_route_has_its_section_in_the_manual(pages: dict[str, Any]) -> None:
    """The headings of the HTTP reference are the routes of the server, no more and no fewer."""
    headings = {heading.strip("`") for heading in pages[HTTP].headings if re.match(r"`[A-Z]+ /", heading)}

    assert headings == routes()


def test_paths_that_pages_mention_are_routes(page: Any) -> None:
    """A call such as ``GET /api/v1/jobs`` exists, wherever it is mentioned."""
    # Endpoints of blueprints may have any path but those that the API itself has.
    created = r"POST /api/(\{version\}\{endpoint\}|(?!v1/(jobs|blueprints|workers|dashboard))[^ ]+)"
    shapes = {created, *(re.sub(r"\\\{\w+\\\}", "[^ /]+", re.escape(route)) for route in routes() - {CREATE})}
    patterns = [re.compile(shape + r"(\?.*)?$") for shape in shapes]
    calls = {word for word in page.code_words if re.match(r"(GET|POST|PUT|PATCH|DELETE) /(api|_public|_worker)", word)}

    assert not {call for call in calls if not any(pattern.match(call) for pattern in patterns)}


def test_every_error_code_is_in_the_table(pages: dict[str, Any]) -> None:
    """The table of codes has what the server answers with."""
    listed = {row[0].strip("`") for row in pages[HTTP].table("Codes")}
    server = "\n".join(path.read_text(encoding="utf-8") for path in (SOURCE / "server").rglob("*.py"))
    mapped = {word for word in re.findall(r"\((\w+Error), \d{3}\)", server)}  # noqa: C416 - a set of what is found
    own = {kind.code for kind in _subclasses(AvtomatikaError) if kind.__name__ in mapped}
    literal = set(re.findall(r'"code": "(\w+)"', server)) | set(
        re.findall(r'RequestError\(\s*\d{3},\s*"(\w+)"', server)
    )

    assert listed == own | literal


def _subclasses(kind: type[AvtomatikaError]) -> set[type[AvtomatikaError]]:
    below = set(kind.__subclasses__())
    return below.union(*(_subclasses(one) for one in below))


def test_every_failure_of_the_engine_is_explained(pages: dict[str, Any]) -> None:
    """A code that the core gives or knows stands in the tables of failures."""
    rows = pages["docs/explanation/failures.md"].table("Error codes")
    explained = {word for row in rows for word in re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", row[0])}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (SOURCE / "core").glob("*.py"))

    assert set(re.findall(r'Failure\(\s*"([A-Z_]+)"', code)) | set(
        re.findall(r'^ +"([A-Z_]+)": Verdict', code, re.MULTILINE)
    ) <= (explained)


def test_errors_of_a_worker_have_the_codes_of_the_manual(pages: dict[str, Any]) -> None:
    """Each class of the SDK stands beside the code that it sends and what the engine then does."""
    rows = pages["docs/howto/workers.md"].table("What it raises")
    listed = {re.findall(r"`(\w+)`", row[0])[0]: row[1].strip("`") for row in rows}
    verdicts = {row[1].strip("`"): row[2] for row in rows}

    assert listed == {kind.__name__: kind.code for kind in TaskError.__subclasses__()}
    for code, verdict in verdicts.items():
        assert {Verdict.RETRY: "tries", Verdict.QUARANTINE: "gives", Verdict.FAIL: "fails"}[classify(code)] in verdict


def test_members_of_a_job_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """The table of a job's members is what the server sends."""
    heading = "`GET /api/v1/jobs/{job_id}`"
    listed = {word for row in pages[HTTP].table(heading) for word in re.findall(r"`(\w+)`", row[0])}
    view = inspect.getsource(importlib.import_module("avtomatika.server.views").job_view)

    assert listed == set(re.findall(r'^ {8}"(\w+)":', view, re.MULTILINE)) | set(re.findall(r'view\["(\w+)"\]', view))


def test_event_types_of_a_job_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """The reference names every event that the core or a storage records."""
    section = pages[HTTP].section("`GET /api/v1/jobs/{job_id}/history`")
    listed = set(re.findall(r"`((?:job|state|task|version|sleep|files|approval|sub_blueprint)_[a-z]+)`", section)) - {
        "task_id",
        "job_id",
        "job_not",
        "state_history",
    }
    files = [*(SOURCE / "core").glob("*.py"), SOURCE / "storage" / "memory_tasks.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    recorded = set(re.findall(r'(?:record|RecordHistory)\(\s*"(\w+)"', text)) | set(
        re.findall(r'JobStatus\.\w+: "(\w+)"', text)
    )

    assert listed == recorded


def test_configuration_page_is_the_one_that_the_code_makes(pages: dict[str, Any]) -> None:
    """Every setting is there with its default and meaning, and nothing else."""
    assert pages["docs/reference/configuration.md"].text == reference()


def test_metrics_page_is_the_one_that_the_code_makes(pages: dict[str, Any]) -> None:
    """Every metric is there with its labels and meaning, and nothing else."""
    assert pages["docs/reference/metrics.md"].text == metrics.reference()


def test_metrics_that_pages_mention_exist(page: Any) -> None:
    """A name of a metric is one that the engine has, wherever it is mentioned."""
    names = {re.sub(r"_total$", "", name) for name in re.findall(r"\borchestrator_\w+", page.text)}

    known = metrics.PrometheusMeter().labels
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} <= known.keys()


def _options(command: Any) -> set[str]:
    """Returns the options of a command, and of those below it."""
    below = getattr(command, "commands", {}).values()
    own = {option for parameter in command.params for option in parameter.opts if option[0] == "-"}
    return own.union(*map(_options, below))


def test_commands_and_options_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """The command-line reference has each command and each option, and nothing else."""
    group: Any = typer.main.get_command(cli)
    described = {heading.strip("`"): heading for heading in pages[CLI].headings if heading.startswith("`")}
    commands = {f"avtomatika {name}": _options(command) for name, command in group.commands.items()}
    parser = worker_command._parser()
    commands["python -m avtomatika.worker"] = {
        option for action in parser._actions for option in action.option_strings
    } - {"-h", "--help"}

    assert set(described) == set(commands)
    for command, options in commands.items():
        rows = pages[CLI].table(described[command])
        assert {option for row in rows for option in re.findall(r"`(-[\w-]+)`", row[0])} == options, command


@pytest.mark.parametrize(
    "module",
    ["", ".context", ".blueprints", ".client", ".worker", ".notebook", ".storage", ".app_keys", ".errors"],
)
def test_public_names_of_module_are_those_of_the_manual(pages: dict[str, Any], module: str) -> None:
    """The table of a module lists exactly its ``__all__``, one line each."""
    name = f"avtomatika{module}"
    first_table = pages[PYTHON].section(f"`{name}`").split("\n### ")[0].strip().split("\n\n")
    rows = next(part for part in first_table if part.startswith("|")).splitlines()[2:]
    listed = [row.split("|")[1].strip().strip("`") for row in rows]

    assert sorted(listed) == sorted(importlib.import_module(name).__all__)


@pytest.mark.parametrize(
    ("owner", "heading"),
    [
        (OrchestratorEngine, "`OrchestratorEngine`"),
        (StateMachineBlueprint, "`StateMachineBlueprint`"),
        (AsyncClient, "`avtomatika.client`"),
        (Client, "`avtomatika.client`"),
    ],
)
def test_members_of_class_are_in_the_reference(pages: dict[str, Any], owner: type, heading: str) -> None:
    """Every public method has its line."""
    words = {re.split(r"\W", word)[0] for word in re.findall(r"`([^`]+)`", pages[PYTHON].section(heading))}

    assert public(owner) <= words


@pytest.mark.parametrize(
    ("page_name", "variable", "owner"),
    [
        ("docs/howto/workbench.md", "wb", Workbench),
        ("docs/howto/workbench.md", "job", JobHandle),
        ("docs/howto/workers.md", "context", Context),
    ],
)
def test_page_describes_every_member(pages: dict[str, Any], page_name: str, variable: str, owner: type) -> None:
    """A how-to page of a class leaves nothing out."""
    described = set(re.findall(rf"\b(?:{variable}|{owner.__name__})\.(\w+)", pages[page_name].text))
    internal = {"cancel"} if owner is Context else set()  # for the worker, not for functions

    assert set().union(*map(public, owner.__mro__[:-1])) - internal <= described


def test_attributes_that_pages_use_exist(page: Any) -> None:
    """``wb.jobs`` and the like are no invention."""
    owners: dict[str, tuple[type, ...]] = {
        "wb": (Workbench,),
        "job": (JobHandle, TestedJob),
        "t": (BlueprintTester,),
        "worker": (Worker, FakeWorker),
        "actions": (ActionFactory,),
        "bp": (StateMachineBlueprint,),
        "engine": (OrchestratorEngine,),
        "context": (JobContext, Context),
        "process": (WorkerProcess,),
    }
    instance = {
        "name",
        "engine",
        "id",
        "graph",
        "config",
        "app",
        "worker_id",
        "settings",
        "data_stores",
        "api_endpoint",
        "calls",
        "path",
    }
    instance |= {argument for argument in KNOWN_ARGUMENTS}  # noqa: C416 - a set of the fields of JobContext
    used = (re.match(r"(\w+)\.([a-z_]+)\b", word) for word in page.code_words)
    missing = {
        match[0]
        for match in used
        if match and match[1] in owners and match[2] not in instance | {"py"}
        if not any(hasattr(owner, match[2]) for owner in owners[match[1]])
    }

    assert not missing


def test_modules_and_classes_that_pages_name_exist(page: Any) -> None:
    """``avtomatika.x.y`` in a page can be imported."""
    for word in page.code_words:
        match = re.match(r"(?:from )?(avtomatika(?:\.\w+)+)", word)
        if match and not match[1].endswith((".dev", ".db")):
            module, _, name = match[1].rpartition(".")
            try:
                importlib.import_module(match[1])
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), name), word


def test_words_in_capitals_occur_in_the_code(page: Any) -> None:
    """A setting, a variable or an error code that a page names is one of the package."""
    others = {
        "TARGET",
        "MODULE",
        "NOTEBOOK",
        "FOLDER",
        "WHAT",
        "KIND",
        "VERSION",
        "PYTHON",
        "PYTEST_ARGS",
        "AUDIT_ARGS",
        "NAME",
    }
    words = {word for text in page.code_words for word in re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text)}

    assert not words - others - capital_words() - {"WORKER_EXTRA_ZONE", "SECRET_KEY"}


def test_arguments_of_a_handler_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """Everything that can be injected has its line."""
    rows = pages["docs/howto/blueprints.md"].table("What a handler receives")

    assert {word for row in rows for word in re.findall(r"`(\w+)`", row[0])} == set(KNOWN_ARGUMENTS)


def test_options_of_a_dispatch_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """Every argument of dispatch_task has its line."""
    rows = pages["docs/howto/blueprints.md"].table("Tasks")

    arguments = [name for name in inspect.signature(ActionFactory.dispatch_task).parameters if name != "self"]

    assert sorted(row[0].strip("`") for row in rows) == sorted(arguments)


def test_dispatch_strategies_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """Every strategy that an action takes is explained."""
    strategies = importlib.import_module("avtomatika.blueprints.requests").STRATEGIES
    rows = pages["docs/explanation/dispatch.md"].table("Which of several workers")

    assert {row[0].strip("`") for row in rows} == set(strategies)
    assert all(strategy in str(inspect.getdoc(choose)) for strategy in strategies)


def test_settings_of_a_worker_are_those_of_the_manual(pages: dict[str, Any]) -> None:
    """Every setting of a worker has its line, with the variables that it is read from."""
    page = pages["docs/howto/run-workers.md"]
    rows = [*page.table("Settings"), *page.table("What a worker tells of its machine")]
    arguments = {word for row in rows for word in re.findall(r"`(\w+)`", row[0])}
    variables = {word for row in rows for word in re.findall(r"`([A-Z_*]+)`", row[1])}
    machine_variables = set(re.findall(r'"([A-Z]+_[A-Z_]+)"', inspect.getsource(machine)))
    machine_variables -= {"SC_PAGE_SIZE", "SC_PHYS_PAGES"}  # what the system is asked for

    assert arguments >= set(settings.Settings.__dataclass_fields__)
    assert {name for names in settings._VARIABLES.values() for name in names} <= variables
    assert {name + "*" if name.endswith("_") else name for name in machine_variables} <= variables


def test_make_targets_are_those_of_the_manual(pages: dict[str, Any], root: Path) -> None:
    """CONTRIBUTING.md explains every target, and no page names another."""
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    explained = {row[0].strip("`").removeprefix("make ") for row in pages["CONTRIBUTING.md"].table("Set-up")}
    named = {word for page in pages.values() for word in re.findall(r"`make (\w+)", page.text)}

    assert explained == targets - {"help"}
    assert named <= targets


@pytest.fixture
def changelog(root: Path) -> dict[str, Any]:
    """The names of the program docs/make_changelog.py."""
    return runpy.run_path(str(root / "docs" / "make_changelog.py"))


def test_changelog_has_the_fragments(pages: dict[str, Any], changelog: dict[str, Any]) -> None:
    """The section of what is not released is the one that docs/make_changelog.py writes."""
    text = pages["CHANGELOG.md"].text

    assert text == changelog["with_unreleased"](text, changelog["unreleased"](changelog["FRAGMENTS"])), (
        "run: python docs/make_changelog.py"
    )


def test_changelog_keeps_what_was_released(changelog: dict[str, Any], tmp_path: Path) -> None:
    """Only the section of what is not released is written anew, by kind and then by name."""
    for name, text in {
        "b.fixed.md": "Mended.",
        "z.added.md": "New,\nin two lines.",
        "README.md": "no fragment",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = "# Changelog\n\n## Unreleased\n\n- old\n\n## 1.0.0\n\n- first\n"

    written = changelog["with_unreleased"](before, changelog["unreleased"](tmp_path))

    assert written == (
        "# Changelog\n\n## Unreleased\n\n### Added\n\n- New, in two lines.\n\n### Fixed\n\n- Mended.\n\n"
        "## 1.0.0\n\n- first\n"
    )


def test_changelog_refuses_a_fragment_of_unknown_kind(changelog: dict[str, Any], tmp_path: Path) -> None:
    """A fragment that would be left out silently is an error."""
    (tmp_path / "engine.new.md").write_text("Something.", encoding="utf-8")

    with pytest.raises(ValueError, match=r"WHAT\.KIND"):
        changelog["unreleased"](tmp_path)
