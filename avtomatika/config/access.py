"""Settings of access: the tokens, files and signatures by which clients and workers are known."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from avtomatika.config.setting import TOKEN, Group, in_small_letters, setting

DEFAULT_CLIENT_TOKEN = "secure-orchestrator-token"  # noqa: S105 - public on purpose; bind_host keeps it on loopback
DEFAULT_WORKER_TOKEN = "secure-worker-token"  # noqa: S105 - as above
PUBLIC_TOKENS = frozenset({DEFAULT_CLIENT_TOKEN, DEFAULT_WORKER_TOKEN})

SignatureMode = Literal["off", "verify", "require"]
AuthMode = Literal["mixed", "mtls-only", "token-only"]


class AccessSettings(Group):
    """How clients and workers prove who they are."""

    CLIENT_TOKEN: str = setting(
        DEFAULT_CLIENT_TOKEN,
        "Secret that clients send as `X-Client-Token`. The default is public: set your own.",
        TOKEN,
        pattern=r"^[\x21-\x7e]{1,1024}$",
        secret=True,
    )
    GLOBAL_WORKER_TOKEN: str = setting(
        DEFAULT_WORKER_TOKEN,
        "Secret that workers send as `X-Worker-Token`. The default is public: set your own.",
        TOKEN,
        pattern=r"^[\x21-\x7e]{1,1024}$",
        secret=True,
    )
    ALLOW_DEFAULT_TOKENS: bool = setting(
        False,
        "Whether the public default tokens may serve on other addresses than loopback. Then anyone who reaches the "
        "port can create jobs and take tasks.",
        "true or false",
    )
    CLIENTS_CONFIG_PATH: str = setting(
        "",
        "File of clients, `clients.toml`: each has a token and a plan of its own. With it, the public default "
        "of `CLIENT_TOKEN` is no longer taken. A change of the file takes effect without a restart.",
        "empty or the path of a file",
    )
    WORKERS_CONFIG_PATH: str = setting(
        "",
        "File of workers, `workers.toml`: each worker, or pattern of workers, has a token of its own. A change of the "
        "file takes effect without a restart.",
        "empty or the path of a file",
    )
    WORKER_AUTH_MODE: Annotated[AuthMode, BeforeValidator(in_small_letters)] = setting(
        "mixed",
        "What workers prove their identity with: a client certificate if they have one, else a token (`mixed`), or "
        "only one of the two.",
        "mixed, mtls-only or token-only",
    )
    STS_TOKEN_SECONDS: int = setting(
        3600,
        "How long a short-lived token of a worker lasts; workers that use TLS renew theirs by themselves.",
        "a whole number from 60",
        ge=60,
    )
    WORKER_SIGNATURES: Annotated[SignatureMode, BeforeValidator(in_small_letters)] = setting(
        "verify",
        "What becomes of the signatures that workers of 1.0b12 and later make of their messages: a wrong one is "
        "refused (`verify`), so is a missing one of a worker that has registered with one (`require`), or none is "
        "looked at (`off`).",
        "off, verify or require",
    )
    TASK_SIGNING_KEY: str = setting(
        "",
        "Secret that tasks are signed with; workers of 1.0b19 and later check it if they have the same in "
        "`ORCHESTRATOR_SECRET_KEY`. Empty signs nothing.",
        "empty or 1 to 1024 printable ASCII characters without spaces",
        pattern=r"^[\x21-\x7e]{0,1024}$",
        secret=True,
    )
