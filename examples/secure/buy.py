"""The client: has a token, and trusts the CA of the engine."""

from __future__ import annotations

import os

from avtomatika.client import Client


def main() -> None:
    """Orders a coin."""
    client = Client(os.environ["AVTOMATIKA_URL"], os.environ["CLIENT_TOKEN"])
    job = client.wait(client.submit("/coins"), timeout=30)
    print(job["status"], job["result"] or job["error_message"])


if __name__ == "__main__":
    main()
