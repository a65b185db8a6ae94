"""The blueprints that an engine has loaded, by name, version and endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from avtomatika.blueprints import CompiledBlueprint, Graph
from avtomatika.errors import BlueprintError, suggest


class Registry:
    """Loaded blueprints. A new version joins the older ones, so that running jobs keep theirs."""

    def __init__(self) -> None:
        self._latest: dict[str, CompiledBlueprint] = {}
        self._versions: dict[tuple[str, str], CompiledBlueprint] = {}

    def __iter__(self) -> Iterator[CompiledBlueprint]:
        return iter(self._latest.values())

    def __len__(self) -> int:
        return len(self._latest)

    def add(self, blueprint: CompiledBlueprint) -> None:
        """Makes this the version that new jobs of the name start with.

        Raises:
            BlueprintError: another blueprint has the same endpoint.
        """
        for other in self._latest.values():
            if other.name != blueprint.name and other.api_endpoint and _address(other) == _address(blueprint):
                raise BlueprintError(
                    f"blueprints '{other.name}' and '{blueprint.name}' both claim the endpoint "
                    f"'{blueprint.api_endpoint}'; give one of them another api_endpoint or api_version."
                )
        # New dicts instead of changed ones: a notebook registers from another thread than the one that reads.
        self._latest = {**self._latest, blueprint.name: blueprint}
        self._versions = {**self._versions, (blueprint.name, blueprint.graph.version): blueprint}

    def get(self, name: str) -> CompiledBlueprint:
        """Returns the latest version.

        Raises:
            BlueprintError: nothing of that name is registered; the message lists what is.
        """
        try:
            return self._latest[name]
        except KeyError:
            known = ", ".join(self._latest) or "none"
            raise BlueprintError(
                f"blueprint '{name}' is not registered; known: {known}.{suggest(name, self._latest)} "
                "Register it with engine.register_blueprint(bp)."
            ) from None

    def find(self, name: str) -> CompiledBlueprint | None:
        """Returns the latest version, or None."""
        return self._latest.get(name)

    def find_version(self, name: str, version: str) -> CompiledBlueprint | None:
        """Returns the version that a job started with, or None if it is not loaded."""
        return self._versions.get((name, version))

    def graph_of(self, name: str, version: str) -> Graph:
        """Returns the graph to decide by: of that version, else of the latest one, else an empty one."""
        blueprint = self._versions.get((name, version)) or self._latest.get(name)
        return blueprint.graph if blueprint is not None else Graph(name, ())

    def find_endpoint(self, version: str, endpoint: str) -> CompiledBlueprint | None:
        """Returns the blueprint whose jobs are created at ``/{version}{endpoint}``.

        A blueprint without ``api_version`` answers under ``v1`` and without a version.
        """
        for blueprint in self._latest.values():
            if blueprint.api_endpoint == endpoint and version in _versions(blueprint):
                return blueprint
        return None


def _versions(blueprint: CompiledBlueprint) -> tuple[str, ...]:
    return (blueprint.api_version,) if blueprint.api_version else ("v1", "")


def _address(blueprint: CompiledBlueprint) -> tuple[str | None, str]:
    return blueprint.api_endpoint, _versions(blueprint)[0]
