"""The drawing of a graph: our own SVG, computed without any program or font."""

from avtomatika.blueprints.drawing.layout import Direction
from avtomatika.blueprints.drawing.picture import describe, edge_ids, html, state_ids, svg
from avtomatika.blueprints.drawing.theme import DARK, LIGHT, ROOT_CLASS, variables

__all__ = ["DARK", "LIGHT", "ROOT_CLASS", "Direction", "describe", "edge_ids", "html", "state_ids", "svg", "variables"]
