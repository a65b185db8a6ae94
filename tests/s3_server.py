"""An S3 server of the tests' own: moto's, in a process of its own."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import socket
import subprocess
import sys
import threading
from typing import Any

ACCESS_KEY, SECRET_KEY, REGION = "AKEXAMPLE", "secret-of-the-bucket", "us-east-1"


def is_installed() -> bool:
    """Returns whether moto's server and the client that the tests look with are there."""
    return all(importlib.util.find_spec(name) for name in ("moto", "flask", "boto3"))


class S3Server:
    """A server in memory, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()
        self._buckets = itertools.count(1)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", "--", *command]  # a test run that is killed leaves no server
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if "Press CTRL+C to quit" in line:
                self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
                self._reader.start()  # a full pipe would stop the server
                return
        raise AssertionError("moto's server did not start:\n" + "".join(lines))

    def kill(self) -> None:
        """Ends the server. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(30)
        self._reader.join(30)
        assert process.stdout is not None
        process.stdout.close()

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

    def new_bucket(self) -> str:
        """Makes an empty bucket; returns its name."""
        name = f"bucket-{next(self._buckets)}"
        self.client().create_bucket(Bucket=name)
        return name
