"""The architecture: imports point one way, and optional packages stay in the files that are made for them."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "avtomatika"

# Each part of the package, and what it may import besides itself. A name stands for the module and all below it.
EVERYTHING = {"*"}
NOTHING: set[str] = set()
MAY_IMPORT: dict[str, set[str]] = {
    "version": NOTHING,
    "errors": NOTHING,
    "clock": NOTHING,
    "loops": NOTHING,
    "lengths": NOTHING,
    "threads": NOTHING,
    "log_context": NOTHING,
    "toml_files": {"errors"},
    "schedules": {"core", "blueprints", "toml_files", "errors"},
    "testing": EVERYTHING,
    "config": {"errors"},
    "loading": {"errors"},
    "protocol": {"errors"},
    "blueprints": {"errors"},
    "context": {"blueprints"},
    "core": {"blueprints", "protocol", "errors"},
    "webhooks": {"core", "protocol", "storage.base", "observability.base", "errors", "clock", "version"},
    "storage": {"core", "protocol", "errors", "clock"},
    "history": {"core.history", "core.document", "protocol", "errors"},
    "payloads": {"protocol", "errors"},
    "security": {"protocol", "errors", "toml_files"},
    # core's records, as storage and history.
    "observability": {"core", "protocol", "errors", "log_context", "threads", "version"},
    "runtime": {
        "core",
        "blueprints",
        "protocol",
        "storage.base",
        "history.base",
        "payloads.base",
        "payloads.keys",
        "payloads.task_files",
        "observability.base",
        "errors",
        "lengths",
        "log_context",
        "clock",
        "threads",
    },
    "server": {
        "runtime",
        "core",
        "blueprints",
        "protocol",
        "security",
        "storage.base",
        "history.base",
        "payloads.base",
        "payloads.keys",
        "observability.base",
        "webhooks",
        "errors",
        "log_context",
        "version",
    },
    "worker": {
        "protocol",
        "payloads",
        "security",
        "loading",
        "loops",
        "reloading",
        "errors",
        "clock",
        "threads",
        "log_context",
        "observability.logging",
        "observability.provider",
        "observability.spans",
    },
    "client": {"protocol", "payloads", "security", "errors", "clock"},
    # core.job: the name under which the workbench creates its jobs.
    "notebook": {
        "engine",
        "app_keys",
        "config",
        "client",
        "worker",
        "blueprints",
        "history.reader",
        "core.job",
        "lengths",
        "log_context",
        "errors",
        "version",
    },
    "holon": {"holon_events", "worker", "runtime", "core", "blueprints", "protocol", "storage.base", "errors", "clock"},
    "holon_events": {"worker", "runtime", "protocol", "errors", "clock"},
    "app_keys": EVERYTHING,
    "backends": {"storage", "history", "payloads", "observability", "webhooks", "config", "errors", "clock"},
    "engine": EVERYTHING,
    "children": {"loops"},
    "processes": EVERYTHING,
    "reloading": {"children", "loops"},
    "cli": EVERYTHING,
    "cli_check": EVERYTHING,
    "cli_init": {"errors"},
    "cli_jobs": EVERYTHING,
    "cli_schedules": EVERYTHING,
    "cli_messages": EVERYTHING,
    "__main__": {"cli"},
    "__init__": {"blueprints", "config", "engine", "errors", "version"},
}
WIDGETS_MAY_IMPORT = {"client", "notebook", "errors"}

# Packages that not every installation has, and the only files that import them.
OPTIONAL = {
    "IPython": {"notebook", "worker/notebooks.py"},
    "anywidget": NOTHING,
    "asyncpg": {"history/postgres"},
    "graphviz": {"blueprints/render.py"},
    "ipywidgets": NOTHING,
    "matplotlib": {"notebook"},
    "nest_asyncio": {"notebook"},
    "numpy": {"notebook/frames.py"},
    "obstore": {"payloads/s3.py"},
    "opentelemetry": {"observability/spans.py"},
    "pandas": {"notebook/frames.py"},
    "papermill": {"worker/notebooks.py"},
    "prometheus_client": {"observability/durations.py", "observability/metrics.py", "worker/metrics.py"},
    "psutil": {"worker/usage.py"},
    "pynvml": {"worker/gpus.py"},
    "redis": {"storage/redis"},
    "standardwebhooks": {"webhooks/signer.py"},
}


class Import:
    """An import statement.

    Args:
        path: the file that it stands in.
        module: what it imports, dotted.
        line: where.
        for_types: it is never executed, but there for type checkers.
    """

    def __init__(self, path: Path, module: str, line: int, *, for_types: bool) -> None:
        self.path = path
        self.module = module
        self.for_types = for_types
        self.place = f"{path.relative_to(ROOT)}:{line}"

    @property
    def own_part(self) -> str | None:
        """What it imports of this package, without the package's name; None for other packages."""
        top, _, rest = self.module.partition(".")
        return rest if top == PACKAGE else None


def files(folder: str = PACKAGE) -> list[Path]:
    """Returns the source files."""
    return sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def imports(path: Path) -> tuple[Import, ...]:
    """Finds all imports of a file, those inside functions included."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {id(node) for block in ast.walk(tree) if _is_type_checking(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(level=0, module=str(module), names=names):
                # ``from avtomatika.core import tasks`` imports avtomatika.core.tasks.
                below = [f"{module}.{alias.name}" for alias in names]
                modules = [name if _is_module(name) else module for name in below]
            case ast.ImportFrom(level=level) if level:
                modules = ["relative"]
            case _:
                continue
        for module in modules:
            yield Import(path, module, node.lineno, for_types=id(node) in lazy)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_module(name: str) -> bool:
    place = ROOT / Path(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def part_of(path: Path) -> str:
    """Returns the part of the package that a file belongs to."""
    return path.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py")


def is_allowed(part: str, imported: str, allowed: set[str]) -> bool:
    """Whether a part may import something of the package."""
    own = imported.split(".", maxsplit=1)[0] == part
    return own or allowed == EVERYTHING or any(imported == one or imported.startswith(f"{one}.") for one in allowed)


def test_every_part_of_the_package_is_known() -> None:
    """A new file or folder gets its place in the order on purpose."""
    assert {part_of(path) for path in files()} <= set(MAY_IMPORT)


@pytest.mark.parametrize("part", sorted({part_of(path) for path in files()}))
def test_imports_point_one_way(part: str) -> None:
    """No module knows one that stands above it."""
    wrong = [
        f"{found.place} imports {found.module}"
        for path in files()
        if part_of(path) == part
        for found in imports(path)
        if found.own_part and not is_allowed(part, found.own_part, MAY_IMPORT[part])
    ]

    assert wrong == []


def test_package_itself_is_imported_by_nobody() -> None:
    """Inside, every module names the module that it needs: the package's own file is for users."""
    wrong = [found.place for path in files() for found in imports(path) if found.module == PACKAGE]

    assert wrong == []


def test_no_import_is_relative() -> None:
    """The full name says where something lives."""
    assert [found.place for path in files() for found in imports(path) if found.module == "relative"] == []


def test_widgets_know_the_client_and_the_view_models_only() -> None:
    """A widget can be used without an engine in the same process."""
    wrong = [
        f"{found.place} imports {found.module}"
        for path in files("widgets")
        for found in imports(path)
        if found.own_part and not is_allowed("widgets", found.own_part, WIDGETS_MAY_IMPORT)
    ]

    assert wrong == []


def test_storage_and_history_backends_are_chosen_in_one_place() -> None:
    """Only the engine knows which backend runs."""
    backends = {f"{family}.{name}" for family in ("storage", "history") for name in ("memory", "sqlite", "redis")}
    wrong = [
        f"{found.place} imports {found.module}"
        for path in files()
        if part_of(path) not in {"engine", "backends", "storage", "history", "notebook", "testing"}
        for found in imports(path)
        if found.own_part in backends
    ]

    assert wrong == []


@pytest.mark.parametrize("package", sorted(OPTIONAL))
def test_optional_package_is_imported_in_its_own_files_only(package: str) -> None:
    """What is not installed is missed only by whoever uses it."""
    allowed = OPTIONAL[package]
    wrong = [
        found.place
        for path in files()
        for found in imports(path)
        if found.module.split(".")[0] == package and not found.for_types
        if not any(path.relative_to(ROOT / PACKAGE).as_posix().startswith(place) for place in allowed)
    ]

    assert wrong == []


def loaded_by(statement: str) -> set[str]:
    """Returns the top-level modules that a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(done.stdout.split())


def test_import_of_the_package_is_light() -> None:
    """Neither the workbench's packages nor a database driver are loaded by a program that does not use them."""
    names = "OrchestratorEngine, StateMachineBlueprint, ActionFactory, JobContext, Blueprint, F, Config"

    loaded = loaded_by(f"from avtomatika import {names}")

    assert loaded.isdisjoint(set(OPTIONAL))
    assert loaded.isdisjoint({"typer", "jupyter_core", "traitlets"})


def test_import_of_the_worker_is_light() -> None:
    """A worker process does not load the engine's packages."""
    loaded = loaded_by("import avtomatika.worker, avtomatika.worker.__main__")

    assert loaded.isdisjoint(
        {*OPTIONAL, "pydantic", "pydantic_settings", "typer", "aiosqlite", "msgpack", "magic_filter"}
    )


@pytest.mark.parametrize("part", ["core", "protocol"])
def test_decisions_and_protocol_neither_wait_nor_look_around(part: str) -> None:
    """No clock, no chance, no environment, no network: what they need comes as an argument."""
    forbidden = {"asyncio", "time", "random", "secrets", "os", "socket", "aiohttp", "threading", "logging"}
    wrong = []
    for path in files(f"{PACKAGE}/{part}"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong += [found.place for found in imports(path) if found.module.split(".")[0] in forbidden]
        wrong += [str(path) for node in ast.walk(tree) if isinstance(node, ast.Await | ast.AsyncFunctionDef)]

    assert wrong == []
