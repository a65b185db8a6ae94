"""The worker's side: a program that any machine can run."""

from __future__ import annotations

from avtomatika.worker import Worker

worker = Worker()


@worker.task
def count_words(line: str) -> int:
    """Counts the words of a line."""
    return len(line.split())
