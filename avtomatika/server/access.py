"""Who may call: the tokens of clients and workers, from settings and files, and the certificates of workers."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from aiohttp import web
from msgspec import Struct

from avtomatika.core.job import Client
from avtomatika.errors import AuthError
from avtomatika.security.clients import ClientEntry, read_clients
from avtomatika.security.tls import names_of
from avtomatika.security.tokens import TokenTable
from avtomatika.security.workers import WorkerEntry, read_workers
from avtomatika.server.sts import TokenService

ANYBODY = "*"
AuthMode = Literal["mixed", "mtls-only", "token-only"]
_CLIENTS, _WORKERS = "clients.toml", "workers.toml"


class TokenExpiredError(AuthError):
    """A short-lived token has ended; its worker gets the next one by itself.

    Args:
        at: the moment at which it was shown, Unix seconds.
    """

    def __init__(self, at: float) -> None:
        self.at = at
        super().__init__("the access token has ended; ask for the next one at /_worker/auth/token.")


class Proof(Struct, frozen=True):
    """What a worker has proven of its identity.

    Args:
        names: the ids that it may have, or patterns of them; the first one is its own if it says no other.
        reserved: sections of ``workers.toml``, if it has proven no more than that it knows the global token.
        origin: hash of the token that proves it in the end, or empty for a certificate.
    """

    names: tuple[str, ...]
    reserved: tuple[WorkerEntry, ...] = ()
    origin: str = ""

    @property
    def name(self) -> str:
        """Its id, or a pattern of the ids that it may have."""
        return self.names[0]

    def refusal(self, worker_id: str) -> str:
        """Returns why it may not call itself so, or an empty text."""
        if self.names[0] != ANYBODY and not any(fnmatchcase(worker_id, name) for name in self.names):
            names = "', '".join(self.names)
            return f"the token or certificate is for workers named '{names}', not for '{worker_id}'."
        if any(entry.covers(worker_id) for entry in self.reserved):
            return f"worker '{worker_id}' has a token of its own in {_WORKERS}; the global token is not taken for it."
        return ""


class Access:
    """The tables of tokens, and what the files say besides.

    Args:
        clients: tokens of clients.
        workers: tokens of workers; the identity is an id, or a pattern of ids.
        sts: short-lived tokens of workers.
        public: tokens that everybody knows, which no file may hold.
    """

    def __init__(
        self, clients: TokenTable[Client], workers: TokenTable[str], sts: TokenService, public: frozenset[str]
    ) -> None:
        self._sts = sts
        self.clients = clients
        self.workers = workers
        self.mode: AuthMode = "mixed"
        self._public = public
        self._client_entries: Mapping[str, ClientEntry] = {}
        self._worker_entries: tuple[WorkerEntry, ...] = ()
        self._workers_path = ""

    def read_clients(self, path: str) -> int:
        """Reads ``clients.toml`` anew; returns how many clients it has.

        Raises:
            ConfigError: something is wrong with it; nothing is changed.
        """
        entries = read_clients(path, self._public)
        known = {entry.token_hash: Client(entry.name, entry.plan, dict(entry.params or {})) for entry in entries}
        self.clients.replace(_CLIENTS, known)
        self._client_entries = {entry.name: entry for entry in entries}
        return len(entries)

    def read_workers(self, path: str) -> int:
        """Reads ``workers.toml`` anew; returns how many sections it has.

        Raises:
            ConfigError: something is wrong with it; nothing is changed.
        """
        entries = read_workers(path, self._public)
        self.workers.replace(_WORKERS, {entry.token_hash: entry.name for entry in entries})
        self._worker_entries, self._workers_path = entries, path
        return len(entries)

    def read_workers_again(self) -> int:
        """Reads the file that was read last; returns how many sections it has, 0 if there is no file.

        Raises:
            ConfigError: something is wrong with it; nothing is changed.
        """
        return self.read_workers(self._workers_path) if self._workers_path else 0

    def monthly_attempts(self, client: str) -> int | None:
        """Returns how many jobs a client may create in a month; None for any number."""
        entry = self._client_entries.get(client)
        return entry.monthly_attempts if entry is not None else None

    async def prove_worker(
        self, token: str | None, certificate: Mapping[str, Any] | None, *, renews: bool = False
    ) -> Proof:
        """Returns what a worker proves with its certificate, else with its token.

        Args:
            token: of the header, or None.
            certificate: as the TLS layer has checked it, or None.
            renews: it asks for its next token; then one that has just ended is good enough.

        Raises:
            AuthError: it proves nothing.
            TokenExpiredError: its short-lived token has ended.
        """
        names = names_of(certificate) if self.mode != "token-only" else ()
        if names:
            return Proof(names)
        if self.mode == "mtls-only":
            raise AuthError(
                "this engine takes workers with a client certificate only (WORKER_AUTH_MODE=mtls-only), and the "
                "connection has none. Set TLS_CERT_PATH and TLS_KEY_PATH of the worker."
            )
        known = self.workers.find_with_hash(token) if token else None
        if known is not None:
            hashed, name = known
            return Proof((name,), self._worker_entries if name == ANYBODY else (), hashed)
        found = await self._sts.find(token) if token else None
        if found is None:
            self.workers.require(token)  # which says what is wrong
            raise AuthError(f"the token in the header {self.workers.header} is not valid here.")
        self.require_origin(found.origin)
        now = await self._sts.now()
        if found.expires_at <= now and not renews:
            raise TokenExpiredError(now)
        by_global = found.origin and self.workers.find_hash(found.origin) == ANYBODY
        return Proof(found.names, self._worker_entries if by_global else (), found.origin)

    def require_origin(self, origin: str) -> None:
        """Checks that the token for which a short-lived one was issued is still known.

        Raises:
            AuthError: it was taken away since.
        """
        if origin and self.workers.find_hash(origin) is None:
            raise AuthError("the token that this one was issued for is not known any more; configure a new one.")


def certificate_of(request: web.Request) -> Mapping[str, Any] | None:
    """Returns the certificate of whoever calls, as the TLS layer has checked it, or None."""
    return request.get_extra_info("peercert") or None
