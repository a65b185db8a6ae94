"""How many jobs an engine creates over HTTP in a second, with the client in a process of its own.

    python -m benchmarks.creation [--jobs 4000] [--lines 32] [--rounds 3] [--storage redis memory sqlite]
    python -m benchmarks.creation --storage redis --processes 2

Measured twice in each round: while the engine's handlers are busy, so that new jobs only queue up ("created"), and
while the engine begins each new job at once and sends its first task ("created and begun": three commits instead of
one). The figure to compare between machines is the ratio to a bare aiohttp server that answers the same requests and
does nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from avtomatika import loops
from benchmarks import http_lines
from benchmarks.engine_program import CLIENT_TOKEN
from benchmarks.setting import DURABILITY, describe, kind_of, options_of, storage_uri

_BODY = {"initial_data": {"customer": "c-1042", "note": "x" * 100}}
_ACCEPTED = 202


async def measure(ports: Sequence[int], path: str, options: argparse.Namespace) -> float:
    """Returns accepted requests per second."""
    created = http_lines.request("POST", path, {"X-Client-Token": CLIENT_TOKEN}, _BODY)

    async def create(line: http_lines.Line) -> None:
        status, body = await line.ask(created)
        if status != _ACCEPTED:
            raise SystemExit(f"a creation was answered {status}: {body.decode()}")

    return await http_lines.rate(ports, options.lines, options.jobs, create)


async def compare(engines: Sequence[dict[str, int]], uri: str, options: argparse.Namespace) -> http_lines.Rate:
    """Measures one bare server, then the engine."""
    bare = await measure([engines[0]["bare"]], "/", options)
    ports = [one["engine"] for one in engines]
    return await http_lines.measure(engines, uri, bare, lambda: measure(ports, "/api/v1/orders", options), options.jobs)


def run_round(storage: str, options: argparse.Namespace) -> dict[str, http_lines.Rate]:
    """Returns both rates."""
    found = {}
    for name, arguments in {"created": ["--busy"], "created and begun": []}.items():
        with storage_uri(storage) as uri, http_lines.engines(uri, options.processes, *arguments) as engines:
            found[name] = loops.run(compare(engines, uri, options))
    return found


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__, ["redis", "memory"])
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--lines", type=int, default=32, help="connections, each with one request at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="of the engine, on one Redis")
    options = parser.parse_args()
    print(describe(f"{options.jobs} jobs over {options.lines} connections, history off, {options.rounds} rounds"))
    rounds = [{name: run_round(name, options) for name in options.storage} for _ in range(options.rounds)]
    for storage in options.storage:
        where = f"{kind_of(storage):<7} ({DURABILITY[kind_of(storage)]})"
        for what in rounds[0][storage]:
            rates = [one[storage][what] for one in rounds]
            spread = f"from {min(rates).a_second:,.0f} to {max(rates).a_second:,.0f}"
            engine = http_lines.processes(options.processes)
            print(f"  {where}, {engine}, {what}: median {http_lines.median(rates)} ({spread})")


if __name__ == "__main__":
    main()
