"""The client: sends a file, waits, fetches another one."""

from __future__ import annotations

import os
import sys

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN


def main() -> None:
    """Sends the file that is named on the command line."""
    url = os.environ.get("AVTOMATIKA_URL", "http://127.0.0.1:8080")
    client = Client(url, os.environ.get("CLIENT_TOKEN", DEFAULT_CLIENT_TOKEN))
    job_id = client.submit("/totals")
    job = client.job(job_id)
    while job["status"] != "waiting_for_human":
        job = client.job(job_id, wait=10, version=job["version"])
    sent = client.upload_file(job_id, sys.argv[1], "in/table.csv")
    client.approve(job_id, "sent")
    job = client.wait(job_id, timeout=60)
    print(f"sent {sent['size']} bytes, {job['status']}: {client.read_file(job_id, job['result']['totals']).decode()}")


if __name__ == "__main__":
    main()
