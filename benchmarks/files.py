"""A large file through a job: how long it takes, and how much more memory the engine needs for it.

    python -m benchmarks.files [--bytes 1073741824] [--store directory bucket]

A client sends the file to a job, a handler downloads it and uploads it again under another name, and the client fetches
that one. The engine is a process of its own; its memory is read from ``/proc``, the peak against what it held after a
small file had gone the same way. ``bucket`` is moto's S3 server, which keeps files in memory and answers slowly: so its
times say little of a real store. Twice the file must fit on the disk, and for ``bucket`` into memory besides.

The figure to compare between machines is the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avtomatika import ActionFactory, Config, OrchestratorEngine, StateMachineBlueprint, loops
from avtomatika.client import Client
from benchmarks.setting import describe, options_of
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

_TOKEN = "client-of-the-benchmark"
_MEGABYTE = 1024**2
_SMALL = 64 * 1024
_DURABILITY = {"directory": "synced: survives a power cut", "bucket": "moto: gone with the process"}


def through_blueprint() -> StateMachineBlueprint:
    """Returns a blueprint that waits for a file, and passes it on under another name."""
    blueprint = StateMachineBlueprint("through", api_endpoint="/through")

    async def ask(actions: ActionFactory) -> None:
        actions.await_human_approval("Send in.bin", {"sent": "pass_on"})

    async def pass_on(task_files: Any) -> dict[str, str]:
        place = await task_files.download("in.bin")
        await task_files.upload(place, "out.bin")
        return {"file": "out.bin"}

    blueprint.handler_for("ask", is_start=True)(ask)
    blueprint.handler_for("pass_on", is_end=True)(pass_on)
    return blueprint


async def serve() -> None:
    """Runs the engine until the input ends."""
    engine = OrchestratorEngine(config=Config(API_PORT=0, API_HOST="127.0.0.1", CLIENT_TOKEN=_TOKEN))
    engine.register_blueprint(through_blueprint())
    async with engine:
        print(json.dumps(engine.url), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def engine_process(settings: dict[str, str]) -> Iterator[tuple[Client, int]]:
    """Gives a client of an engine in a process of its own, and the process's id."""
    command = [sys.executable, "-m", "benchmarks.files", "--serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Client(json.loads(process.stdout.readline()), _TOKEN, timeout=600), process.pid
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def send_through(client: Client, source: Path, copy: Path) -> list[float]:
    """Sends a file to a job, lets the job pass it on, and fetches what came out; returns the seconds of the three."""
    job_id = client.submit("/through")
    while (job := client.job(job_id))["status"] != "waiting_for_human":
        client.job(job_id, wait=10, version=job["version"])
    moments = [time.perf_counter()]
    client.upload_file(job_id, source, "in.bin")
    moments.append(time.perf_counter())
    client.approve(job_id, "sent")
    ended = client.wait(job_id, timeout=600)
    if ended["status"] != "finished":
        raise SystemExit(f"the job is {ended['status']}: {ended['error_message']}")
    moments.append(time.perf_counter())
    client.download_file(job_id, "out.bin", copy)
    moments.append(time.perf_counter())
    if copy.stat().st_size != source.stat().st_size:
        raise SystemExit("what came out is not what went in")
    copy.unlink()
    return [end - begin for begin, end in itertools.pairwise(moments)]


def held(process_id: int, which: str) -> int:
    """Returns how many bytes of memory a process holds (``VmRSS``), or has held at most (``VmHWM``)."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{which}:"))


def measure(store: str, size: int) -> None:
    """Measures one store and prints its line."""
    with tempfile.TemporaryDirectory(prefix="avtomatika-bench-") as name:
        folder = Path(name)
        large, small = _file(folder / "large", size), _file(folder / "small", _SMALL)
        settings = {"PATH": "", "PYTHONPATH": ":".join(sys.path), "TMPDIR": name}
        server = S3Server() if store == "bucket" else None
        if server is None:
            settings["TASK_FILES_DIR"] = str(folder / "files")
        else:
            server.start()
            settings |= {
                "S3_ENDPOINT_URL": server.endpoint,
                "S3_ACCESS_KEY": ACCESS_KEY,
                "S3_SECRET_KEY": SECRET_KEY,
                "S3_DEFAULT_BUCKET": server.new_bucket(),
            }
        try:
            with engine_process(settings) as (client, process_id):
                send_through(client, small, folder / "copy")
                before = held(process_id, "VmRSS")
                up, through, down = send_through(client, large, folder / "copy")
                more = held(process_id, "VmHWM") - before
        finally:
            if server is not None:
                server.kill()
    print(
        f"  {store:<9} ({_DURABILITY[store]}): up in {up:.1f} s, through the job in {through:.1f} s, "
        f"down in {down:.1f} s; the engine takes {more / _MEGABYTE:.0f} MiB more, {more / size:.3f} of the file"
    )


def _file(path: Path, size: int) -> Path:
    """Makes a file whose blocks differ."""
    with path.open("wb") as file:
        for number in range(-(-size // _MEGABYTE)):
            file.write(number.to_bytes(8, "big") * (min(_MEGABYTE, size - number * _MEGABYTE) // 8))
    return path


def main() -> None:
    """Measures and prints."""
    parser = options_of(__doc__)
    parser.add_argument("--bytes", type=int, default=1024**3)
    parser.add_argument("--store", nargs="+", default=["directory", "bucket"], choices=list(_DURABILITY))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        loops.run(serve())
        return
    print(describe(f"a file of {options.bytes / _MEGABYTE:,.0f} MiB through a job"))
    for store in options.store:
        measure(store, options.bytes)


if __name__ == "__main__":
    main()
