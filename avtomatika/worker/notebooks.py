"""A notebook as a task: run with the task's params, with progress for each cell, and its recorded values as the result.

    worker.add_task(notebook_task("report.ipynb", output="reports"), "report")

In the notebook, a cell tagged ``parameters`` holds the defaults, and ``record(total=12)`` says what the result is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avtomatika.worker.context import Context
from avtomatika.worker.task_errors import DependencyError, InvalidInputError, TaskError

RECORD_MIME = "application/vnd.avtomatika.record+json"
"""MIME type of a recorded value in the outputs of a notebook."""
_MAX_MESSAGE = 500


def record(**values: Any) -> None:
    """Says in a notebook what its result is; a later value of the same name replaces the former.

    Args:
        values: by name; JSON values.

    Raises:
        TypeError: a value has no JSON form.
    """
    from IPython.display import display  # noqa: PLC0415 - there in every notebook, not on every worker

    json.dumps(values)
    shown = ", ".join(f"{name} = {value!r}" for name, value in values.items())
    display({RECORD_MIME: values, "text/plain": shown}, raw=True)


def notebook_task(
    notebook: str | Path, output: str | Path = "notebook-runs", kernel: str = "python3", cell_timeout: float = 600.0
) -> Callable[..., dict[str, Any]]:
    """Returns a function for ``worker.add_task`` that runs a notebook.

    Its result is what the notebook recorded, and ``notebook``: the path of the executed one, which is there even when a
    cell failed. A worker that is stopped or a job that is cancelled ends the notebook before its next cell.

    Args:
        notebook: the file.
        output: folder for executed notebooks; made if it is missing.
        kernel: name of the kernel.
        cell_timeout: seconds that one cell may take.

    Raises:
        FileNotFoundError: there is no such notebook.
    """
    source = Path(notebook).absolute()
    if not source.is_file():
        raise FileNotFoundError(f"there is no notebook {source}; give the path of an .ipynb file.")
    folder = Path(output).absolute()

    def run_notebook(context: Context, **params: Any) -> dict[str, Any]:
        return _run(source, folder / f"{source.stem}-{context.task_id}.ipynb", kernel, cell_timeout, context, params)

    return run_notebook


def _run(
    source: Path, target: Path, kernel: str, cell_timeout: float, context: Context, params: dict[str, Any]
) -> dict[str, Any]:
    try:
        import nbformat  # noqa: PLC0415 - optional, and slow to import
        from nbclient import NotebookClient  # noqa: PLC0415 - as above
        from nbclient.exceptions import CellExecutionError  # noqa: PLC0415 - as above
        from papermill.iorw import load_notebook_node  # noqa: PLC0415 - as above
        from papermill.parameterize import parameterize_notebook  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise DependencyError(f"{error}; install it with: pip install 'avtomatika[notebook]'") from error
    notebook = load_notebook_node(str(source))
    if params and not any("parameters" in cell.metadata.tags for cell in notebook.cells):
        raise InvalidInputError(f"{source.name} has no cell tagged 'parameters', but got {', '.join(sorted(params))}.")
    notebook = parameterize_notebook(notebook, params, kernel_name=kernel, language="python")
    count = len(notebook.cells)

    def begin(cell: Any, cell_index: int) -> None:
        del cell
        context.progress(cell_index / count, f"cell {cell_index + 1} of {count}")
        if context.cancelled:
            raise TaskError(f"{source.name} was ended before cell {cell_index + 1}: the task was cancelled.")

    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=cell_timeout,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_start=begin,
    )
    try:
        # A loop of this thread's own, which is closed at the end; client.execute() would leave one open.
        asyncio.run(client.async_execute())
    except CellExecutionError as error:
        raise TaskError(f"{source.name}: {error.ename}: {error.evalue}"[:_MAX_MESSAGE], details=str(target)) from error
    finally:
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
    recorded: dict[str, Any] = {}
    for cell in notebook.cells:
        for shown in cell.get("outputs", ()):
            recorded.update(shown.get("data", {}).get(RECORD_MIME, {}))
    return {**recorded, "notebook": str(target)}
