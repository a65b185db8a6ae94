"""The three workers of the studio: a camera, and two laboratories, of which one is cheap and one is fast.

They are started as three processes: ``workers:camera``, ``workers:cheap_lab``, ``workers:fast_lab``. They share the
engine's store of files, so films do not travel through the engine.
"""

from __future__ import annotations

import os
import random
from typing import Any

from pictures import clean, find_scenes, grain, pack, png, shoot, unpack

from avtomatika.payloads.local import LocalPayloads
from avtomatika.payloads.task_files import TaskFiles
from avtomatika.worker import Context, InvalidInputError, Success, TransientError, Worker

store = LocalPayloads(os.environ.get("TASK_FILES_DIR", "films"))
GPU = {"type": "gpu", "model": "T4", "properties": {"memory_gb": 16}}
camera = Worker("camera", worker_type="camera", resources={"lens_mm": 50})
cheap_lab = Worker("cheap-lab", worker_type="lab", concurrency=1)
fast_lab = Worker("fast-lab", worker_type="lab", concurrency=2, resources={"devices": [GPU]})


def files_of(context: Context) -> TaskFiles:
    """Returns the files of the job that a task belongs to."""
    return TaskFiles(store, context.job_id)


@camera.task
async def film(lengths: list[int], seed: int, context: Context) -> dict[str, Any]:
    """Shoots all scenes into one film."""
    if not lengths or min(lengths) < 2:
        raise InvalidInputError("each scene needs at least two pictures")
    frames: list[bytes] = []
    for scene, length in enumerate(lengths):
        frames += shoot(scene, length, seed)
        context.progress((scene + 1) / len(lengths), f"scene {scene + 1} of {len(lengths)} is shot")
    facts = await files_of(context).write_bytes("source.y4m", pack(frames))
    return {"frames": len(frames), "source_bytes": facts.size}


@camera.task
async def cut(context: Context) -> dict[str, Any]:
    """Finds where scenes begin; it was not told."""
    frames = unpack(await files_of(context).read_bytes("source.y4m"))
    return {"scenes": find_scenes(frames)}


async def restore(number: int, begin: int, end: int, context: Context) -> Success:
    """Takes the grain out of one scene; the chemicals of a laboratory are too cold now and then."""
    if context.attempt == 1 and random.Random(f"{context.job_id}-{number}").random() < 0.3:
        raise TransientError("the bath is too cold", retry_after=0.1)
    files = files_of(context)
    frames = unpack(await files.read_bytes("source.y4m"))[begin:end]
    cleaned = clean(frames)
    context.progress(0.9, "dry")
    await files.write_bytes(f"scenes/{number:03}.y4m", pack(cleaned))
    return Success({"number": number, "grain": [round(grain(frames), 2), round(grain(cleaned), 2)]})


async def join(count: int, context: Context) -> dict[str, Any]:
    """Joins the scenes to one film, and makes a poster of its middle."""
    files = files_of(context)
    frames: list[bytes] = []
    for number in range(count):
        frames += unpack(await files.read_bytes(f"scenes/{number:03}.y4m"))
        context.progress((number + 1) / count)
    await files.write_bytes("film.y4m", pack(frames))
    await files.write_bytes("poster.png", png(frames[len(frames) // 2]))
    return {"frames": len(frames)}


cheap_lab.add_task(restore, cost=1.0)
fast_lab.add_task(restore, cost=4.0)
fast_lab.add_task(join, cost=2.0)
