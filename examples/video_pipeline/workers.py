"""The three workers of the studio: a camera, and two laboratories, of which one is cheap and one is fast.

They are started as three processes: ``workers:camera``, ``workers:cheap_lab``, ``workers:fast_lab``. Films go from
worker to worker through the store of files, never through the engine: it is told where they are, and how large.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from pictures import clean, find_scenes, grain, pack, png, shoot, unpack

from avtomatika.payloads.local import LocalPayloads
from avtomatika.worker import Context, InvalidInputError, TransientError, Worker

# The engine's directory; with S3_ENDPOINT_URL and its settings, the bucket would be taken by itself.
films = LocalPayloads(os.environ.get("TASK_FILES_DIR", "films"))
GPU = {"type": "gpu", "model": "T4", "properties": {"memory_gb": 16}}
camera = Worker("camera", worker_type="camera", resources={"lens_mm": 50}, files=films)
cheap_lab = Worker("cheap-lab", worker_type="lab", concurrency=1, files=films)
fast_lab = Worker("fast-lab", worker_type="lab", concurrency=2, resources={"devices": [GPU]}, files=films)


@camera.task
def film(lengths: list[int], seed: int, context: Context) -> dict[str, Any]:
    """Shoots all scenes into one film; a file of the task's folder that the result names is stored."""
    if not lengths or min(lengths) < 2:
        raise InvalidInputError("each scene needs at least two pictures")
    frames: list[bytes] = []
    for scene, length in enumerate(lengths):
        frames += shoot(scene, length, seed)
        context.progress((scene + 1) / len(lengths), f"scene {scene + 1} of {len(lengths)} is shot")
    source = context.folder / "source.y4m"
    source.write_bytes(pack(frames))
    return {"frames": len(frames), "source": source}


@camera.task
def cut(source: Path) -> dict[str, Any]:
    """Finds where scenes begin; it was not told. The address in the params is the path of a copy here."""
    return {"scenes": find_scenes(unpack(source.read_bytes()))}


def restore(source: Path, number: int, begin: int, end: int, context: Context) -> dict[str, Any]:
    """Takes the grain out of one scene; the bath of a laboratory is too cold now and then."""
    if context.attempt == 1 and random.Random(f"{context.job_id}-{number}").random() < 0.3:
        raise TransientError("the bath is too cold", retry_after=0.1)
    frames = unpack(source.read_bytes())[begin:end]
    cleaned = clean(frames)
    context.progress(0.9, "dry")
    scene = context.folder / f"{number:03}.y4m"
    scene.write_bytes(pack(cleaned))
    return {"scene": scene, "grain": [round(grain(frames), 2), round(grain(cleaned), 2)]}


def join(parts: list[Path], task_files: Any, context: Context) -> dict[str, Any]:
    """Joins the scenes to one film, and makes a poster of its middle, under names that the client will ask for."""
    frames: list[bytes] = []
    for number, part in enumerate(parts, 1):
        frames += unpack(part.read_bytes())
        context.progress(number / len(parts))
    task_files.write_bytes("film.y4m", pack(frames))
    task_files.write_bytes("poster.png", png(frames[len(frames) // 2]))
    return {"frames": len(frames)}


cheap_lab.add_task(restore, cost=1.0)
fast_lab.add_task(restore, cost=4.0)
fast_lab.add_task(join, cost=2.0)
