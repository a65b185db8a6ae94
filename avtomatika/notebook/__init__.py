"""The workbench: an engine in a notebook."""

from avtomatika.notebook.handles import JobHandle
from avtomatika.notebook.remote import RemoteWorkbench
from avtomatika.notebook.workbench import Workbench

__all__ = ["JobHandle", "RemoteWorkbench", "Workbench"]
