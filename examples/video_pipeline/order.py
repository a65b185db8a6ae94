"""The client: orders a film, watches it being made, decides about it, and takes it home.

    python order.py "The moon" 20 30 12 24

The numbers are pictures of each scene. Standard input is asked when a person has to decide.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from standardwebhooks import Webhook

from avtomatika.client import Client
from avtomatika.config import DEFAULT_CLIENT_TOKEN
from avtomatika.errors import JobNotFoundError

heard: list[dict[str, Any]] = []
told = threading.Event()


class Receiver(BaseHTTPRequestHandler):
    """Takes the webhook at the end."""

    def do_POST(self) -> None:
        """Checks who sent it."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        heard.append(Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, dict(self.headers)))
        self.send_response(204)
        self.end_headers()
        told.set()

    def log_message(self, *_: Any) -> None:
        """Says nothing of requests."""


def find(client: Client, job_id: str) -> dict[str, Any]:
    """Returns a child, which is made a moment after its parent has begun to wait for it."""
    while True:
        try:
            return client.job(job_id)
        except JobNotFoundError:
            time.sleep(0.1)


def decide(client: Client, job: dict[str, Any]) -> None:
    """Asks the person at the terminal about the child that waits for one."""
    child = find(client, job["sub_job"]["job_id"])
    while "approval" not in child:
        child = client.job(child["id"], wait=10, version=child["version"])
    print(f"{child['approval']['message']} ({' or '.join(child['approval']['decisions'])})", flush=True)
    client.approve(child["id"], sys.stdin.readline().strip(), by="the client")


def main() -> None:
    """Does it."""
    title, lengths = sys.argv[1], [int(word) for word in sys.argv[2:]]
    url = os.environ.get("AVTOMATIKA_URL", "http://127.0.0.1:8080")
    client = Client(url, os.environ.get("CLIENT_TOKEN", DEFAULT_CLIENT_TOKEN))
    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{receiver.server_port}/"
    wish = {"title": title, "lengths": lengths, "grain_limit": 3.0}
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"{title} {lengths}").hex  # the same order twice makes one film
    job = client.job(client.submit("/videos", wish, webhook_url=address, idempotency_key=key))
    states: list[str] = []
    asked = False
    while job["status"] not in {"finished", "failed", "quarantined", "cancelled", "error"}:
        if job["current_state"] not in states:
            states.append(job["current_state"])
            print(f"state: {job['current_state']}", flush=True)
        if "sub_job" in job and not asked:
            asked = True
            decide(client, job)
        job = client.job(job["id"], wait=10, version=job["version"])
    print(job["status"], job["result"] or job["error_message"])
    if job["status"] == "finished":
        for name in (job["result"]["film"], job["result"]["poster"], job["result"]["report"]):
            print(f"fetched: {client.download_file(job['id'], name)}")
    told.wait(30)
    print(f"webhook: {', '.join(event['event'] for event in heard)}")


if __name__ == "__main__":
    main()
