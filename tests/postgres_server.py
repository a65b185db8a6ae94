"""A PostgreSQL of the tests' own: no cluster of the machine is used or started."""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

PASSWORD = "hunter2"


def find_programs() -> Path | None:
    """Returns the folder with ``initdb`` and ``postgres`` of the newest version, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def find_account() -> str | None:
    """Returns the account to run the server as: root must not, and takes ``postgres``; None if that is missing."""
    if os.geteuid() != 0:
        return getpass.getuser()
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class PostgresServer:
    """A server in a temporary folder, on a free port of 127.0.0.1 and a socket in that folder.

    Args:
        programs: where its programs are.
        account: whose process it is.
        fsync: whether it waits for the disk; tests need not.
    """

    def __init__(self, programs: Path, account: str, *, fsync: bool = False) -> None:
        self._fsync = "on" if fsync else "off"
        self._programs = programs
        self._account = account
        # Not below pytest's folder: other accounts may not enter that one.
        self.folder = Path(tempfile.mkdtemp(prefix="avtomatika-pg-"))
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()
        self._schemas = itertools.count(1)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        shutil.chown(self.folder, account, pwd.getpwnam(account).pw_gid)
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        shutil.chown(secret, account)
        self._call(["initdb", "-D", str(self.folder / "data"), "-U", "postgres", *self._options(secret)])

    def _options(self, secret: Path) -> list[str]:
        """A password over TCP, none through the socket: nobody but this account can enter the folder."""
        access = [f"--pwfile={secret}", "--auth-local=trust", "--auth-host=scram-sha-256"]
        return ["--no-sync", "--encoding=UTF8", "--locale=C", *access]

    def uri(
        self, database: str = "postgres", *, user: str = "postgres", password: str = PASSWORD, more: str = ""
    ) -> str:
        """Returns the address of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}{more}"

    def new_schema(self) -> str:
        """Makes an empty schema, cheaper than a database for each test; returns the address with it."""
        name = f"t{next(self._schemas)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self.uri(more=f"?search_path={name}")

    def execute(self, statement: str, uri: str = "") -> str:
        """Runs SQL through ``psql`` and returns what it prints, columns separated by ``|``."""
        return self._call(["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, *self._target(uri)])

    def _target(self, uri: str) -> list[str]:
        schema = uri.partition("search_path=")[2]
        options = f" options=-csearch_path={schema}" if schema else ""
        return ["-d", f"host={self.folder} port={self.port} user=postgres dbname=postgres{options}"]

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None

    def start(self) -> None:
        """Starts the server and returns when it answers.

        Call it in the main thread: the server ends with the thread that started it.
        """
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-k", str(self.folder), "-h", "127.0.0.1", "-c", f"fsync={self._fsync}", "-c", "lc_messages=C"]
        if shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "INT", "--", *command]  # a test run that is killed leaves no server
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/", **self._as_account())
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if "ready to accept connections" in line:
                self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
                self._reader.start()  # a full pipe would stop the server
                return
        raise AssertionError("PostgreSQL did not start:\n" + "".join(lines))

    def stop(self, *, kill: bool = False) -> None:
        """Ends the server: it breaks off what it does and closes its files, or is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        # SIGINT ends it in order, whoever is connected; SIGQUIT leaves it as after a crash.
        process.send_signal(signal.SIGQUIT if kill else signal.SIGINT)
        process.wait(30)
        self._reader.join(30)
        assert process.stderr is not None
        process.stderr.close()

    def remove(self) -> None:
        """Ends the server and removes its files."""
        self.stop(kill=True)
        shutil.rmtree(self.folder)

    def _call(self, command: list[str]) -> str:
        program = str(self._programs / command[0])
        done = subprocess.run(
            [program, *command[1:]], check=False, capture_output=True, text=True, cwd="/", **self._as_account()
        )
        assert done.returncode == 0, f"{command[0]} failed:\n{done.stderr}"
        said: str = done.stdout
        return said.strip()

    def _as_account(self) -> dict[str, Any]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        if os.geteuid() != 0:
            return {"env": environment}
        return {
            "env": environment,
            "user": self._account,
            "group": pwd.getpwnam(self._account).pw_gid,
            "extra_groups": [],
        }
