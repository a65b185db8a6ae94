"""Makes what the engine, its worker and its client prove themselves with: nothing secret stands in this repository.

    python prepare.py

Certificates of a CA of its own for the server and one worker, a token for the client, and the settings of all three.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

import trustme

FOLDER = Path("private")
WORKER = "press-1"
ENGINE_SETTINGS = """\
API_HOST=127.0.0.1
TLS_ENABLED=true
TLS_CERT_PATH=private/server.pem
TLS_KEY_PATH=private/server.key
TLS_CA_PATH=private/ca.pem
WORKER_AUTH_MODE=mtls-only
CLIENTS_CONFIG_PATH=private/clients.toml
"""
WORKER_SETTINGS = f"""\
WORKER_ID={WORKER}
TLS_CA_PATH=private/ca.pem
TLS_CERT_PATH=private/{WORKER}.pem
TLS_KEY_PATH=private/{WORKER}.key
"""


def write(name: str, text: str) -> None:
    """Writes a file that only its owner can read."""
    path = FOLDER / name
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def issue(name: str, certificate: trustme.LeafCert) -> None:
    """Writes a certificate and its key."""
    write(f"{name}.pem", certificate.cert_chain_pems[0].bytes().decode())
    write(f"{name}.key", certificate.private_key_pem.bytes().decode())


def main() -> None:
    """Writes all files."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    ca = trustme.CA()
    write("ca.pem", ca.cert_pem.bytes().decode())
    issue("server", ca.issue_cert("localhost", "127.0.0.1"))
    issue(WORKER, ca.issue_cert(f"{WORKER}.example", common_name=WORKER))  # its name is the worker's id
    token = secrets.token_urlsafe(32)  # as `avtomatika token` does
    digest = hashlib.sha256(token.encode()).hexdigest()
    write("clients.toml", f'[acme]\ntoken = "sha256:{digest}"\nplan = "gold"\n')
    write("engine.env", ENGINE_SETTINGS)
    write("worker.env", WORKER_SETTINGS)
    # The standard library's own variable names the CA that a client trusts.
    write("client.env", f"CLIENT_TOKEN={token}\nSSL_CERT_FILE=private/ca.pem\n")
    print(f"written: {', '.join(sorted(path.name for path in FOLDER.iterdir()))}")


if __name__ == "__main__":
    main()
