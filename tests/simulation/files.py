"""A store of files that all engines of a run share."""

from __future__ import annotations

from typing import Any

from avtomatika.core.document import Document
from avtomatika.payloads.keys import payload_key


class Files:
    """Files in a dict."""

    def __init__(self) -> None:
        self.by_key: dict[str, bytes] = {}

    def has(self, job_id: str, document: Document) -> bool:
        """Returns whether a document can be had: it is here, or where it was named."""
        return not document.is_away or payload_key(job_id, document.digest) in self.by_key

    def value(self, job_id: str, document: Document) -> Any:
        """Returns the value of a document of a job, wherever it is."""
        raw = self.by_key[payload_key(job_id, document.digest)] if document.is_away else document.raw
        return Document(raw).value()
