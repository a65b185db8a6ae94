"""The client's side: sends a text and prints the answer."""

from __future__ import annotations

import os
import sys

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN


def main() -> None:
    """Sends standard input to the engine, and prints what came of it."""
    url = os.environ.get("AVTOMATIKA_URL", "http://127.0.0.1:8080")
    client = Client(url, os.environ.get("CLIENT_TOKEN", DEFAULT_CLIENT_TOKEN))
    job = client.wait(client.submit("/texts", {"text": sys.stdin.read()}), timeout=30)
    print(job["status"], job["result"] or job["error_message"])


if __name__ == "__main__":
    main()
