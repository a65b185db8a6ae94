"""``python -m avtomatika.worker module:worker`` runs a worker of a module, or one with the tasks of a folder."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from avtomatika.errors import AuthError, ConfigError
from avtomatika.loading import load_object
from avtomatika.observability.logging import setup_logging
from avtomatika.worker.worker import Worker

_REFUSED, _WRONG = 1, 2
"""Exit codes: the engine refuses the token; the command or a setting is wrong."""
_LEVELS = ("INFO", "DEBUG", "WARNING", "ERROR")
_FORMATS = ("text", "json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: of the command line; those of the process if left out.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    if options.reload:
        from avtomatika import reloading  # noqa: PLC0415 - for development only

        return reloading.run([word for word in given if word != "--reload"], ("avtomatika.worker",))
    # All loggers: what the functions of the tasks log is as much the program's as what the worker itself says.
    setup_logging(options.log_level, options.log_format, logger_name="")
    try:
        worker = load_object(options.target, Worker, "worker") if options.target else Worker()
        worker.configure(
            url=options.url,
            token=options.token,
            worker_id=options.id,
            concurrency=options.concurrency,
            skills_dir=options.skills,
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m avtomatika.worker",
        allow_abbrev=False,
        description="Run a worker. Options win over the module and the environment.",
    )
    parser.add_argument(
        "target",
        nargs="?",
        help="where the worker is: module:name; without it, the tasks in the files of a folder count",
    )
    parser.add_argument("--url", help="address of the engine (ORCHESTRATOR_URL)")
    parser.add_argument("--token", help="the worker's token; better set WORKER_TOKEN, which other users cannot see")
    parser.add_argument("--id", help="identity of the worker (WORKER_ID)")
    parser.add_argument(
        "--skills", help="folder of files with tasks (WORKER_SKILLS_DIR, else 'skills' if there is one)"
    )
    parser.add_argument("--concurrency", type=int, help="how many tasks run at once (MAX_CONCURRENT_TASKS)")
    parser.add_argument(
        "--reload", action="store_true", help="for development: start again when a .py or .toml file here changes"
    )
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when standard input closes")
    parser.add_argument(
        "--log-level", default=_variable("LOG_LEVEL", _LEVELS), type=str.upper, choices=_LEVELS, help="(LOG_LEVEL)"
    )
    parser.add_argument(
        "--log-format", default=_variable("LOG_FORMAT", _FORMATS), choices=_FORMATS, help="(LOG_FORMAT)"
    )
    return parser


def _variable(name: str, known: Sequence[str]) -> str:
    """Returns the value of a variable of the environment; the first known one if it is unset or unknown."""
    value = os.environ.get(name, "")
    return next((word for word in known if word.lower() == value.lower()), known[0])


def _complain(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
