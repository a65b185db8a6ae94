"""Asks whether something that the wheel requires is known to be vulnerable.

    python -m release.audit dist/avtomatika-1.0.0-py3-none-any.whl [--accept GHSA-xxxx ...]

Exit code 1 says that a vulnerability is known. Where nobody can be asked (no network, or an index that does not tell of
vulnerabilities) it says so, and that nothing was audited, with exit code 0: a missing network is no fault of the code.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from release import tools
from release.environment import closure, requirements

_SERVICES = ("pypi", "osv")
"""Whom pip-audit can ask, in turn."""
_SECONDS = 300.0


@dataclass(frozen=True)
class Finding:
    """What a service said.

    Args:
        vulnerable: a line for each known vulnerability.
        unknown: packages that the service does not know, with their versions.
        reason: why it said nothing at all; empty if it answered.
    """

    vulnerable: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    reason: str = ""


def ask(program: Sequence[str], service: str, pins: Sequence[str], accepted: Iterable[str] = ()) -> Finding:
    """Asks a service about packages.

    Args:
        program: how pip-audit is started.
        service: one of those that pip-audit knows.
        pins: lines such as ``aiohttp==3.14.5``.
        accepted: ids of vulnerabilities that are known and accepted.
    """
    with tempfile.TemporaryDirectory(prefix="avtomatika-audit-") as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(pins), encoding="utf-8")
        # The list is complete: nothing has to be resolved, and nothing is downloaded.
        options = ["--requirement", str(file), "--no-deps", "--disable-pip", "--format", "json"]
        options += ["--vulnerability-service", service, "--progress-spinner", "off"]
        options += [word for one in accepted for word in ("--ignore-vuln", one)]
        try:
            done = subprocess.run([*program, *options], check=False, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return Finding(reason=f"no answer within {_SECONDS:.0f} s")
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return Finding(reason=(done.stderr.strip().splitlines() or ["no answer"])[-1][:300])
    found = Finding()
    for package in report["dependencies"]:
        if "skip_reason" in package:
            found.unknown.append(package["skip_reason"])
        for one in package.get("vulns", ()):
            remedy = ", ".join(one["fix_versions"]) or "none yet"
            found.vulnerable.append(f"{package['name']} {package['version']}: {one['id']}; mended in: {remedy}")
    return found


def audit(program: Sequence[str], pins: Sequence[str], accepted: Iterable[str] = ()) -> int:
    """Asks the services in turn until one knows something; prints what it says and returns the exit code.

    A service is asked about the first package alone before it is asked about all: one that cannot answer is not
    bothered with the rest.
    """
    accepted = list(accepted)
    for service in _SERVICES:
        first = ask(program, service, pins[:1], accepted)
        if first.reason or (first.unknown and not first.vulnerable):
            print(f"{service} does not answer: {first.reason or first.unknown[0]}")
            continue
        found = ask(program, service, pins, accepted)
        if found.reason:
            print(f"{service} broke off: {found.reason}")
            continue
        for line in (*found.unknown, *found.vulnerable):
            print(line)
        print(f"{service}: {len(pins) - len(found.unknown)} packages audited, {len(found.vulnerable)} vulnerabilities")
        return 1 if found.vulnerable else 0
    print("NOT AUDITED: nobody could be asked. Run it again where the network reaches one of these services.")
    return 0


def main() -> int:
    """Audits what a wheel requires with all extras, in the versions that are installed here."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--accept", action="append", default=[], metavar="ID", help="a vulnerability that is accepted")
    options = parser.parse_args()
    try:
        program = [str(tools.find("pip-audit"))]
    except tools.MissingToolError as error:
        print(f"NOT AUDITED: {error}")
        return 0
    packages = closure(requirements(options.wheel, ["all"]))
    return audit(program, [f"{one.name}=={one.version}" for one in packages], options.accept)


if __name__ == "__main__":
    sys.exit(main())
