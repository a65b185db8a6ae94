"""The programs of an example, run as its README says: only ports and folders are the test's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from avtomatika import Config

EXAMPLES = Path(__file__).parents[2] / "examples"
_LIMIT_SECONDS = 60.0
_SERVES = r"the engine serves at (https?://[\d.:]+)"
_PROGRAMS = {"python": [sys.executable], "avtomatika": [sys.executable, "-m", "avtomatika"]}
# What the tests themselves are set to must not reach an example.
_NOT_INHERITED = re.compile(f"({'|'.join(Config.model_fields)}|WORKER_.*|TASK_.*|ORCHESTRATOR_.*|AVTOMATIKA_.*)$")


class Program:
    """A process whose output is kept, line by line.

    Args:
        command: what to start.
        folder: where.
        environment: all of it.
    """

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = shlex.join(command[1:])
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "".join(self.lines)

    def says(self, pattern: str) -> re.Match[str]:
        """Returns the first match in what it says, once it has said it."""
        with self._more:
            self._more.wait_for(lambda: self._ended or re.search(pattern, self.output), _LIMIT_SECONDS)
        found = re.search(pattern, self.output)
        assert found, f"{self.name} did not say {pattern!r}, but:\n{self.output}"
        return found

    def stop(self) -> int:
        """Ends it as a service manager does and returns its exit code."""
        self.process.terminate()
        code = self.process.wait(_LIMIT_SECONDS)
        self._reader.join(_LIMIT_SECONDS)
        return code

    def kill(self) -> None:
        """Ends it as a power cut would. Idempotent."""
        self.process.kill()
        self.process.wait(_LIMIT_SECONDS)
        self._reader.join(_LIMIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Example:
    """A copy of an example's folder, and what runs in it.

    Commands are those of the README, found by a part of their line. Addresses of engines in them are replaced by those
    where the engines really serve.

    Args:
        name: of the folder below ``examples/``.
        place: a folder for the copy.
    """

    def __init__(self, name: str, place: Path) -> None:
        self.folder = place / name
        shutil.copytree(EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.readme = (self.folder / "README.md").read_text(encoding="utf-8")
        self.addresses: dict[str, str] = {}
        self.started: list[Program] = []

    def command(self, part: str, job: str = "") -> tuple[list[str], dict[str, str]]:
        """Returns the arguments and the environment of the one command of the README that contains ``part``."""
        blocks = re.findall(r"^```bash\n(.*?)^```", self.readme, re.MULTILINE | re.DOTALL)
        found = [line for block in blocks for line in block.splitlines() if part in line]
        assert len(found) == 1, f"{len(found)} lines of the README contain {part!r}"
        text = found[0].rpartition(" | ")[2].replace("JOB", job)
        for written, real in self.addresses.items():
            text = text.replace(written, real)
        environment = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.match(name)}
        default = self.addresses.get("http://127.0.0.1:8080")
        if default:
            environment |= {"AVTOMATIKA_URL": default, "ORCHESTRATOR_URL": default}
        words = shlex.split(re.sub(r"\$\(cat (\S+)\)", self._content, text), comments=True)
        if words[0] == "env":
            words = words[1:]
        while re.match(r"[A-Z_0-9]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        return [*_PROGRAMS.get(words[0], words[:1]), *words[1:]], environment

    def _content(self, found: re.Match[str]) -> str:
        return " ".join((self.folder / found[1]).read_text(encoding="utf-8").split())

    def start(self, part: str, *more: str, **environment: str) -> Program:
        """Starts a command of the README, with further arguments and variables."""
        command, around = self.command(part)
        self.started.append(Program([*command, *more], self.folder, {**around, **environment}))
        return self.started[-1]

    def serve(self, part: str, **environment: str) -> Program:
        """Starts a command that serves, on a free port; its address replaces that of the README from now on."""
        command, _ = self.command(part)
        port = command[command.index("--port") + 1] if "--port" in command else "8080"
        program = self.start(part, "--port", "0", **environment)
        url = program.says(_SERVES)[1]
        self.addresses[f"{url.partition(':')[0]}://127.0.0.1:{port}"] = url
        return program

    def run(self, part: str, stdin: str = "", job: str = "") -> str:
        """Runs a command of the README to its end and returns what it prints."""
        command, environment = self.command(part, job)
        if command[0] == sys.executable:
            command[1:1] = ["-W", "error"]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def request(self, part: str) -> Any:
        """Sends what a ``curl`` of the README would send and returns the JSON of the answer."""
        words, _ = self.command(part)
        options = dict(zip(words[4::2], words[5::2], strict=True))
        assert words[:2] == ["curl", "-X"], words
        headers = dict([options["-H"].split(": ", 1)]) | {"Content-Type": "application/json"}
        request = urllib.request.Request(words[3], options["-d"].encode(), headers, method=words[2])
        with urllib.request.urlopen(request, timeout=_LIMIT_SECONDS) as answer:
            return json.load(answer)

    def close(self) -> None:
        """Ends what still runs, and shows what it said: pytest prints that when the test failed."""
        for program in self.started:
            program.kill()
            print(f"--- {program.name}\n{program.output}")
