"""An engine that speaks TLS, knows its workers by their certificates, and gives them tokens that end soon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme

from avtomatika import Config
from avtomatika.app_keys import JOBS_KEY
from avtomatika.core.job import Job
from avtomatika.server.keys import STS_KEY
from avtomatika.server.sts import Issued

from .field import PATIENCE, Field, SdkWorker


class SecureField(Field):
    """As ``Field``, over TLS.

    Args:
        home: directory for logs, certificates and files.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        home.mkdir()
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(home / "ca.pem")
        self.issued: list[str] = []

    @property
    def url(self) -> str:
        """The engine's address."""
        return f"https://127.0.0.1:{self.port}"

    def _config(self) -> Config:
        config = super()._config()
        cert = self._certificate("server", "127.0.0.1")
        config.TLS_ENABLED, config.TLS_CA_PATH = True, str(self.home / "ca.pem")
        config.TLS_CERT_PATH, config.TLS_KEY_PATH = cert["TLS_CERT_PATH"], cert["TLS_KEY_PATH"]
        return config

    async def start(self) -> None:
        """Starts the engine, and writes down whom it gives tokens."""
        await super().start()
        assert self._engine is not None
        tokens = self._engine.app[STS_KEY]
        issue = tokens.issue

        async def noted(names: tuple[str, ...], *rest: Any, **more: Any) -> Issued:
            issued = await issue(names, *rest, **more)
            self.issued.append(names[0])
            return issued

        tokens.issue = noted  # type: ignore[method-assign]

    def start_secure_worker(self, python: Path, worker_id: str, name: str) -> SdkWorker:
        """Starts a worker with a certificate of that name."""
        certificate = self._certificate(worker_id, name)
        return self.start_worker(python, worker_id, TLS_CA_PATH=str(self.home / "ca.pem"), **certificate)

    async def did(self, task: str, params: dict[str, Any]) -> Job:
        """Creates a job inside the engine and returns it when it has ended."""
        assert self._engine is not None
        data = {"task": task, "params": params, "guarded": False}
        job_id = await self._engine.create_background_job("work", data)
        jobs = self._engine.app[JOBS_KEY]
        job = await jobs.get(job_id)
        while not job.is_terminal:
            before = job.version
            job = await jobs.wait(job_id, before, PATIENCE)
            assert job.version > before, f"nothing happened to {job}"
        return job

    def _certificate(self, file: str, name: str) -> dict[str, str]:
        """Returns the settings of a certificate of that name, which the authority of this field has signed."""
        made = self._ca.issue_cert("127.0.0.1", common_name=name)
        chain, key = self.home / f"{file}.pem", self.home / f"{file}.key"
        made.cert_chain_pems[0].write_to_path(chain)
        made.private_key_pem.write_to_path(key)
        return {"TLS_CERT_PATH": str(chain), "TLS_KEY_PATH": str(key)}
