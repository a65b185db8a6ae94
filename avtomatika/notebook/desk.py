"""The desk: what the job handles and live views of one workbench share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avtomatika.client import AsyncClient
from avtomatika.notebook.answers import Sources
from avtomatika.notebook.background import BackgroundLoop
from avtomatika.notebook.gate import Gate
from avtomatika.notebook.live import Outputs

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Desk:
    """What the job handles and live views of one workbench share.

    Args:
        client: for what is asked of the engine; lives in ``background``.
        background: the loop of the workbench.
        outputs: where live views are shown.
        gate: answers live views over HTTP.
        gate_url: where the gate is reached on this machine.
        changes: yields a job now and after each change until it has ended.
        read_history: returns a job's history as a DataFrame.
        sources: returns the handlers of a version of a blueprint, by its name and version, as far as they are known.
        modules: returns the text of a module that defines a blueprint, by its name; BlueprintError says why it cannot.
        logs: returns the newest log lines about a job.
    """

    client: AsyncClient
    background: BackgroundLoop
    outputs: Outputs
    gate: Gate
    gate_url: str
    changes: Callable[[str], AsyncIterator[dict[str, Any]]]
    read_history: Callable[[str], pd.DataFrame]
    sources: Callable[[str, str], Sources]
    modules: Callable[[str], str]
    logs: Callable[[str], list[str]]
