"""Settings of what is kept: the jobs and their history."""

from __future__ import annotations

import re
import secrets
import socket

from pydantic import Field

from avtomatika.config.setting import Group, setting


def _own_instance_id() -> str:
    # Host name and process id are not enough: a restarted container has both again, and would take the claims of its
    # dead predecessor for its own.
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100] or "engine"
    return f"{host}-{secrets.token_hex(4)}"


class StorageSettings(Group):
    """Where jobs and their history are kept, and how long."""

    INSTANCE_ID: str = Field(
        default_factory=_own_instance_id,
        description="Name of this engine among several on one storage; no two may share it.",
        json_schema_extra={
            "allowed": "1 to 128 of the characters A-Z a-z 0-9 . _ -",
            "default": "host name and a random part",
        },
        pattern=r"^[A-Za-z0-9._-]{1,128}$",
    )
    STORAGE_URI: str = setting(
        "memory:",
        "Where jobs are kept. `memory:` keeps them in the process: they end with it. `sqlite:///file` keeps them on "
        "one machine, `redis://host:port/db` lets any number of engines share them.",
        "memory:, sqlite:///file or redis://[user:password@]host:port/db",
        pattern=r"^(memory:|sqlite:.+|rediss?://.+|unix://.+)$",
    )
    REDIS_HOST: str = setting(
        "", "Host of a Redis for jobs; the same as a `STORAGE_URI` of `redis://`, which wins.", "empty or a host name"
    )
    REDIS_PORT: int = setting(6379, "Port of that Redis.", "a whole number from 1 to 65535", ge=1, le=65535)
    REDIS_DB: int = setting(0, "Database number of that Redis.", "a whole number from 0", ge=0)
    HISTORY_DATABASE_URI: str = setting(
        "",
        "Where the history is kept. Empty keeps the newest events in the process.",
        "empty, sqlite:path, sqlite:///path or postgresql://user:password@host/database",
        pattern=r"^((sqlite|postgres(ql)?):.+)?$",
    )
    JOB_RETENTION_SECONDS: float = setting(
        7 * 24 * 3600.0,
        "How long a job is kept after its end; 0 keeps it for ever. Its history is kept by the history database.",
        "a number of seconds from 0",
        ge=0,
    )

    def storage_uri(self) -> str:
        """Returns where jobs are kept: ``STORAGE_URI``, or what ``REDIS_HOST`` means where only that is set."""
        if self.REDIS_HOST and "STORAGE_URI" not in self.model_fields_set:
            host = f"[{self.REDIS_HOST}]" if ":" in self.REDIS_HOST else self.REDIS_HOST
            return f"redis://{host}:{self.REDIS_PORT}/{self.REDIS_DB}"
        return self.STORAGE_URI
