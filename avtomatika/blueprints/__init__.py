"""Blueprints: states, handlers, conditions and the graph they make."""

from __future__ import annotations

from magic_filter import F

from avtomatika.blueprints.actions import ActionFactory
from avtomatika.blueprints.blueprint import Blueprint, StateMachineBlueprint
from avtomatika.blueprints.compiled import CompiledBlueprint
from avtomatika.blueprints.context import JobContext
from avtomatika.blueprints.graph import Edge, EdgeKind, Graph, State
from avtomatika.blueprints.handlers import Handler
from avtomatika.blueprints.render import dot, graph_dict, mermaid
from avtomatika.blueprints.retries import RetryPolicy
from avtomatika.blueprints.stores import DataStore, SharedStore

__all__ = [
    "ActionFactory",
    "Blueprint",
    "CompiledBlueprint",
    "DataStore",
    "Edge",
    "EdgeKind",
    "F",
    "Graph",
    "Handler",
    "JobContext",
    "RetryPolicy",
    "SharedStore",
    "State",
    "StateMachineBlueprint",
    "dot",
    "graph_dict",
    "mermaid",
]
