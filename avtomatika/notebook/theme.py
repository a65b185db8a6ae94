"""The theme of live views: colours for light and dark front ends."""

from __future__ import annotations

from avtomatika.blueprints.drawing import DARK, LIGHT, variables

# What a front end calls its theme stands at an ancestor of the view: JupyterLab and Notebook 7 at the body, VS Code at
# the body of its output frame. The system's preference says nothing about either.
_DARK_PAGES = (
    'body[data-jp-theme-light="false"]',
    '[data-vscode-theme-kind="vscode-dark"]',
    '[data-vscode-theme-kind="vscode-high-contrast"]',
)
ROOT = ".avt"
"""Selector of a live view's outermost element."""


def live_stylesheet() -> str:
    """Returns the rules that give a live view the colours of the front end that it is in."""
    dark = ",".join(f"{page} {ROOT}" for page in _DARK_PAGES)
    return f"{ROOT}{{{variables(LIGHT)}color-scheme:light}}{dark}{{{variables(DARK)}color-scheme:dark}}"
