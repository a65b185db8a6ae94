"""The GPUs of this machine, as NVIDIA's library tells of them; none where it is not installed.

``CUDA_VISIBLE_DEVICES`` hides from this what it hides from the functions of tasks.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class _Gpu:
    id: str
    model: str
    memory_gb: float
    handle: Any


def devices() -> list[dict[str, Any]]:
    """Returns each GPU as a registration tells it: ``type``, ``model``, ``id`` and ``properties.memory_gb``."""
    return [
        {"type": "gpu", "model": gpu.model, "id": gpu.id, "properties": {"memory_gb": gpu.memory_gb}}
        for gpu in _found()
    ]


def usage() -> list[dict[str, Any]]:
    """Returns how busy each GPU is, as a heartbeat tells it; one that does not answer is left out."""
    told = []
    for gpu in _found():
        library = _library()
        try:
            load = float(library.nvmlDeviceGetUtilizationRates(gpu.handle).gpu)
            memory = round(library.nvmlDeviceGetMemoryInfo(gpu.handle).used / _GIB, 2)
            warmth = float(library.nvmlDeviceGetTemperature(gpu.handle, library.NVML_TEMPERATURE_GPU))
        except library.NVMLError:  # it was taken away, or does not count
            continue
        metrics = {"memory_used_gb": memory, "temperature": warmth}
        told.append({"unit_id": gpu.id, "load_percent": load, "metrics": metrics})
    return told


@functools.cache
def _library() -> Any:
    """Returns NVIDIA's library (``nvidia-ml-py``), ready to be asked; None if there is none, or no driver."""
    try:
        import pynvml  # noqa: PLC0415 - optional
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


@functools.cache
def _found() -> tuple[_Gpu, ...]:
    library = _library()
    if library is None:
        return ()
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = None if hidden is None else [word.strip() for word in hidden.split(",") if word.strip()]
    gpus = []
    try:
        for number in range(library.nvmlDeviceGetCount()):
            handle = library.nvmlDeviceGetHandleByIndex(number)
            name, uuid = _text(library.nvmlDeviceGetName(handle)), _text(library.nvmlDeviceGetUUID(handle))
            if visible is None or str(number) in visible or any(uuid.startswith(word) for word in visible):
                total = library.nvmlDeviceGetMemoryInfo(handle).total
                gpus.append(_Gpu(str(number), name, round(total / _GIB, 1), handle))
    except library.NVMLError:
        return ()
    return tuple(gpus)


def _text(told: str | bytes) -> str:
    return told.decode() if isinstance(told, bytes) else told  # the older ones of the library tell bytes
