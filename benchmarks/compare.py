"""How fast it is beside other libraries that do the same jobs, in the same run on the same machine.

    python -m benchmarks.compare [--rounds 3] [--size 1.0] [--only avtomatika celery ...] [--output build/benchmarks]

Each peer has an environment of its own in .venvs/peers, made at the first run from the pins in benchmarks/peers, and a
program there that uses it as its documentation says. Peers take turns in each round, every time on a new and empty
storage. The figures to look at are the ratios to this library on Redis in the same round. What is compared and what is
not stands in docs/explanation/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.history import own_server
from benchmarks.setting import DURABILITY, describe, options_of, storage_uri
from release import tools

_ROOT = Path(__file__).parents[1]
_PEERS = Path(__file__).parent / "peers"
_LIMIT_SECONDS = 120.0
JOBS = {
    "chain": ("chains of ten steps", 60),
    "task": ("single tasks", 200),
    "fan_out": ("fan-outs of 100 tasks", 3),
    "create": ("jobs stored", 300),
}
"""What is done: in words, and how often in a round at size 1."""


@dataclass(frozen=True)
class Peer:
    """A contestant.

    Args:
        name: for the table; also that of its pins.
        program: below benchmarks/peers.
        storage: ``redis``, ``sqlite`` or ``postgresql``.
        durability: what survives what, in this set-up.
        pins: file with the versions for its environment; empty for this library.
        worker_pins: the same for an environment of its worker, if that is another one.
        share: how much of the work it gets, so that slow ones do not take all the time.
    """

    name: str
    program: str
    storage: str
    durability: str
    pins: str = ""
    worker_pins: str = ""
    share: float = 1.0


_OWN, _REDIS = "avtomatika", "Redis, AOF everysec"
PEERS = (
    Peer(_OWN, "avtomatika_program.py", "redis", f"{_REDIS}: each step and each task"),
    Peer("avtomatika, SQLite", "avtomatika_program.py", "sqlite", f"{DURABILITY['sqlite']}: each step and each task"),
    Peer(
        "avtomatika 1.0b30 (published)",
        "avtomatika_program.py",
        "redis",
        f"{_REDIS}: jobs",
        "published_engine",
        "published_worker",
        0.2,
    ),
    Peer("Celery", "celery_program.py", "redis", f"{_REDIS}: messages (acks late) and results", "celery"),
    Peer("SAQ", "saq_program.py", "redis", f"{_REDIS}: tasks and results", "saq"),
    Peer("taskiq", "taskiq_program.py", "redis", f"{_REDIS}: messages (acknowledged) and results", "taskiq"),
    Peer("DBOS", "dbos_program.py", "postgresql", "PostgreSQL, fsync on: each step; one process", "dbos", share=0.5),
)


@dataclass
class Found:
    """What was measured of a peer.

    Args:
        rates: for each job, so many a second, round by round.
        trouble: why there is no more.
    """

    rates: dict[str, list[float]] = field(default_factory=lambda: {job: [] for job in JOBS})
    trouble: str = ""


@contextmanager
def uri_for(storage: str, server: str) -> Iterator[str]:
    """Gives the address of a new and empty storage."""
    if storage == "postgresql":
        yield f"{server.rpartition('/')[0]}/b{uuid.uuid4().hex}"  # DBOS makes the database
        return
    with storage_uri(storage) as uri:
        yield uri.replace("sqlite:", "sqlite:///", 1) if storage == "sqlite" else f"{uri}/0"


def environment_of(peer: Peer) -> tuple[str, dict[str, str]]:
    """Returns the interpreter of a peer and its variables; its environment is made if it is not there.

    Raises:
        tools.MissingToolError: it cannot be installed.
    """
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if not peer.pins:
        return sys.executable, {**around, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'widgets'}"}
    if peer.worker_pins:
        around["BENCH_WORKER_PYTHON"] = str(_python(peer.worker_pins))
    return str(_python(peer.pins)), around


def _python(pins: str) -> Path:
    return tools.find("python", _ROOT / ".venvs" / "peers" / pins, _PEERS / f"{pins}.txt")


def run_round(peer: Peer, uri: str, numbers: Mapping[str, int], log: Path) -> dict[str, float]:
    """Lets a peer do its jobs; returns so many a second for each.

    Raises:
        RuntimeError: its program failed; its messages are in the log.
    """
    python, around = environment_of(peer)
    command = [python, str(_PEERS / peer.program), "--uri", uri]
    for job, number in numbers.items():
        command += [f"--{job.replace('_', '-')}", str(number)]
    # A session of its own: its workers end with it, also if it has to be killed.
    with log.open("w", encoding="utf-8") as messages, tempfile.TemporaryFile("w+") as output:
        program = subprocess.Popen(
            command,
            env={**around, "BENCH_URI": uri},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=messages,
            start_new_session=True,
        )
        try:
            code = program.wait(_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"took longer than {_LIMIT_SECONDS:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):  # most often all of it has ended by itself
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        output.seek(0)
        said = output.read()
    if code:
        raise RuntimeError(f"failed with code {code}; see {log}")
    took: dict[str, float] = json.loads(said.splitlines()[-1])
    return {job: numbers[job] / seconds for job, seconds in took.items()}


def measure(peers: list[Peer], options: argparse.Namespace) -> dict[str, Found]:
    """Lets the peers take turns; one that fails is left out from then on."""
    found = {peer.name: Found() for peer in peers}
    with ExitStack() as stack:
        with_postgres = any(peer.storage == "postgresql" for peer in peers)
        server = stack.enter_context(own_server()) if with_postgres else ""
        for number in range(options.rounds):
            for peer in peers[:: 1 if number % 2 == 0 else -1]:
                if found[peer.name].trouble:
                    continue
                numbers = {job: max(1, round(often * options.size * peer.share)) for job, (_, often) in JOBS.items()}
                log = options.output / f"{peer.name.split()[0].strip(',')}-{peer.storage}.log"
                try:
                    with uri_for(peer.storage, server) as uri:
                        rates = run_round(peer, uri, numbers, log)
                except (RuntimeError, tools.MissingToolError) as error:
                    found[peer.name].trouble = str(error)
                    continue
                for job, rate in rates.items():
                    found[peer.name].rates[job].append(rate)
    return found


def ratio(found: Mapping[str, Found], name: str, job: str) -> float:
    """Returns the median of a peer's rate as a multiple of this library's on Redis in the same round."""
    base = found[_OWN].rates[job]
    return statistics.median(one / own for one, own in zip(found[name].rates[job], base, strict=False))


def table(peers: list[Peer], found: Mapping[str, Found]) -> str:
    """Returns the figures as a table in Markdown: so many a second, and the ratio."""
    heads = [words for words, _ in JOBS.values()]
    lines = [f"| | {' | '.join(heads)} | Durability |", f"|---|{'---|' * len(heads)}---|"]
    for peer in peers:
        one = found[peer.name]
        if one.trouble:
            lines.append(f"| {peer.name} | {one.trouble} |{' |' * len(JOBS)}")
            continue
        cells = [f"{statistics.median(one.rates[job]):,.1f}/s, {ratio(found, peer.name, job):.2f}" for job in JOBS]
        lines.append(f"| {peer.name} | {' | '.join(cells)} | {peer.durability} |")
    return "\n".join(lines)


def draw(peers: list[Peer], found: Mapping[str, Found], path: Path) -> None:
    """Draws the ratios, a bar for each peer and job."""
    import matplotlib  # noqa: PLC0415 - slow, and needed at the very end

    matplotlib.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415 - as above

    shown = [peer.name for peer in peers if not found[peer.name].trouble]
    figure, axes = pyplot.subplots(
        1, len(JOBS), figsize=(13, 0.5 * len(shown) + 1.2), sharey=True, layout="constrained"
    )
    for axis, (job, (words, _)) in zip(axes, JOBS.items(), strict=True):
        ratios = [ratio(found, name, job) for name in shown]
        colours = ["#2f6f9f" if name.startswith(_OWN) and "published" not in name else "#b0b7bd" for name in shown]
        bars = axis.barh(shown, ratios, color=colours)
        axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axis.axvline(1, color="#444444", linewidth=0.8)
        axis.margins(x=0.25)
        axis.set_title(words, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle("so many a second, as a multiple of avtomatika on Redis in the same round", fontsize=9)
    figure.savefig(path)


def main() -> None:
    """Measures, prints, writes and draws."""
    parser = options_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=float, default=1.0, help="of the work in a round")
    parser.add_argument("--only", nargs="+", metavar="PEER", help="those whose names begin so; this library always")
    parser.add_argument("--output", type=Path, default=_ROOT / "build" / "benchmarks")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    chosen = [
        peer
        for peer in PEERS
        if peer.name == _OWN
        or options.only is None
        or peer.name.lower().startswith(tuple(map(str.lower, options.only)))
    ]
    setting = describe(f"{options.rounds} rounds of size {options.size:g}, peers in turn")
    print(setting)
    found = measure(chosen, options)
    if found[_OWN].trouble:
        raise SystemExit(f"avtomatika itself: {found[_OWN].trouble}")
    figures = table(chosen, found)
    print(figures)
    (options.output / "peers.md").write_text(f"{setting}:\n\n{figures}\n", encoding="utf-8")
    summary: dict[str, Any] = {"setting": setting, "rates": {name: one.rates for name, one in found.items()}}
    (options.output / "peers.json").write_text(json.dumps(summary, indent=1), encoding="utf-8")
    draw(chosen, found, options.output / "peers.svg")
    print(f"written: peers.md, peers.json and peers.svg in {options.output}")


if __name__ == "__main__":
    main()
