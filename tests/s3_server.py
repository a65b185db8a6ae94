"""An S3 server of the tests' own: moto's, in a process of its own."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from typing import Any

from .server_process import ServerProcess, free_port

ACCESS_KEY, SECRET_KEY, REGION = "AKEXAMPLE", "secret-of-the-bucket", "us-east-1"


def is_installed() -> bool:
    """Returns whether moto's server and the client that the tests look with are there."""
    return all(importlib.util.find_spec(name) for name in ("moto", "flask", "boto3"))


class S3Server:
    """A server in memory, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process = ServerProcess("moto's server", "Press CTRL+C to quit")
        self._buckets = itertools.count(1)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        self._process.start([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)])

    def kill(self) -> None:
        """Ends the server. Idempotent."""
        self._process.kill()

    def client(self) -> Any:
        """Returns a client of boto3: what another program sees."""
        import boto3  # noqa: PLC0415 - it may not be there

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
        )

    def settings(self, bucket: str = "") -> dict[str, Any]:
        """Returns the settings of an engine that keeps its files here: in this bucket, or in a new one."""
        return {
            "S3_ENDPOINT_URL": self.endpoint,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
            "S3_DEFAULT_BUCKET": bucket or self.new_bucket(),
            "S3_REGION": REGION,
        }

    def new_bucket(self) -> str:
        """Makes an empty bucket; returns its name."""
        name = f"bucket-{next(self._buckets)}"
        self.client().create_bucket(Bucket=name)
        return name
