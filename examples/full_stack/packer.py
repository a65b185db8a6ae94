"""The worker: packs parcels and weighs them."""

import asyncio
import random

from avtomatika.worker import Success, Worker

worker = Worker()


@worker.task
async def pack(kg: float, context):
    """Packs a parcel, and says when it is heavy."""
    for step in range(4):
        await asyncio.sleep(random.uniform(0, 0.2))
        context.progress((step + 1) / 4, "packing")
    return Success({"box": "large" if kg > 10 else "small"}, status="heavy" if kg > 30 else "success")


@worker.task
async def weigh(scale: str):
    """Weighs a parcel on one of the scales."""
    await asyncio.sleep(random.uniform(0, 0.3))
    return {"kg": 31 if scale == "a" else 32}
