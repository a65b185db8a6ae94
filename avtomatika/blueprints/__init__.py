"""Blueprints: states, handlers, conditions and the graph they make."""
