"""The worker: its task is a notebook."""

from __future__ import annotations

from avtomatika.worker import Worker
from avtomatika.worker.notebooks import notebook_task

worker = Worker()
worker.add_task(notebook_task("report.ipynb", output="reports"), "report", concurrency=1)
