"""Puts Swagger UI into the package when that is built: the page of the API needs no other server.

The files come from a package that the build requires; they are not kept in the repository. An editable installation
gets them too, in the source folder, where git ignores them.
"""

from __future__ import annotations

import filecmp
import importlib.util
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
TARGET = Path("avtomatika", "server", "static")


class SwaggerHook(BuildHookInterface):
    """Copies the files before the package is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's own
        """Copies them.

        Raises:
            RuntimeError: the package that they come from is not there.
        """
        found = importlib.util.find_spec("flask_swagger_ui")
        if found is None or not found.submodule_search_locations:
            raise RuntimeError("the build needs the package flask-swagger-ui, which carries Swagger UI")
        source = Path(found.submodule_search_locations[0], "dist")
        for name in FILES:
            target = Path(self.root) / TARGET / name
            # A server that runs from this folder may be reading a file that is there already.
            if not target.exists() or not filecmp.cmp(source / name, target, shallow=False):
                shutil.copyfile(source / name, target)
            build_data["artifacts"].append(f"/{(TARGET / name).as_posix()}")
