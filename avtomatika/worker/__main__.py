"""``python -m avtomatika.worker module:worker`` runs a worker that a module defines."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from avtomatika.errors import AuthError, ConfigError, suggest
from avtomatika.worker.worker import Worker

_REFUSED, _WRONG = 1, 2
"""Exit codes: the engine refuses the token; the command or a setting is wrong."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: of the command line; those of the process if left out.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    try:
        worker = load_worker(options.target)
        worker.configure(
            url=options.url,
            token=options.token,
            worker_id=options.id,
            concurrency=options.concurrency,
            stop_when_stdin_closes=options.stop_with_parent or None,
        )
        worker.run()
    except ConfigError as error:
        return _complain(error, _WRONG)
    except AuthError as error:
        return _complain(error, _REFUSED)
    except KeyboardInterrupt:
        return 130
    return 0


def load_worker(target: str) -> Worker:
    """Imports a worker.

    Args:
        target: ``module:name``, or ``module`` alone if it defines one worker only.

    Raises:
        ConfigError: there is no such module, it cannot be imported, or it has no such worker.
    """
    module_name, _, name = target.partition(":")
    module = _import(module_name)
    workers = {key: value for key, value in vars(module).items() if isinstance(value, Worker)}
    known = ", ".join(workers) or "none"
    if not name and len({id(worker) for worker in workers.values()}) == 1:
        return next(iter(workers.values()))
    if not name:
        raise ConfigError(f"module '{module_name}' has these workers: {known}. Name one: {module_name}:NAME")
    if name in workers:
        return workers[name]
    found = getattr(module, name, None)
    what = "does not have it" if found is None else f"has a {type(found).__name__} under that name"
    raise ConfigError(
        f"worker '{name}' was expected in module '{module_name}', which {what}; its workers: {known}."
        f"{suggest(name, workers)}"
    )


def _import(name: str) -> ModuleType:
    if name.endswith(".py"):
        raise ConfigError(f"'{name}' is a file; name the module: {name.removesuffix('.py').replace('/', '.')}:worker")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module '{name}' here ({here}) or among the installed ones.") from error
        raise ConfigError(f"module '{name}' needs '{error.name}', which is not installed.") from error
    except Exception as error:
        logging.getLogger("avtomatika.worker").exception("module '%s' raised", name)
        raise ConfigError(f"module '{name}' cannot be imported: {type(error).__name__}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m avtomatika.worker", description="Run a worker. Options win over the module and the environment."
    )
    parser.add_argument("target", help="where the worker is: module:name")
    parser.add_argument("--url", help="address of the engine (ORCHESTRATOR_URL)")
    parser.add_argument("--token", help="the worker's token; better set WORKER_TOKEN, which other users cannot see")
    parser.add_argument("--id", help="identity of the worker (WORKER_ID)")
    parser.add_argument("--concurrency", type=int, help="how many tasks run at once (MAX_CONCURRENT_TASKS)")
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when standard input closes")
    parser.add_argument("--log-level", default="INFO", type=str.upper, choices=_LEVELS, help="INFO unless given")
    return parser


def _complain(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
