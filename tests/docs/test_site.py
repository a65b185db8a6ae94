"""The manual as a site: Sphinx makes it without a warning, and it needs no other server."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_FETCHED = re.compile(r"""<(?:script|img|iframe|link(?! rel="canonical"))[^>]*\s(?:src|href)=["']?(?:https?:)?//""")


def _public_classes() -> set[str]:
    modules = ("blueprints", "client", "worker", "notebook", "storage", "testing", "errors")
    imported = [importlib.import_module(f"avtomatika.{module}") for module in modules]
    found = (getattr(one, name) for one in imported for name in one.__all__)
    return {one.__name__ for one in found if inspect.isclass(one)}


@pytest.mark.timeout(600)  # nearly a hundred pages, perhaps on a busy machine
def test_site_is_made_without_warning_whole_and_self_contained(
    tmp_path: Path, pages: dict[str, Any], root: Path
) -> None:
    """``make docs`` has nothing to warn of; each page, notebook and public class is there; nothing is fetched."""
    written = {name.removesuffix(".md") for name in pages if re.match(r"docs/(?!changelog\.d/[\w-]+\.\w+\.md)", name)}
    written |= {str(path.relative_to(root).with_suffix("")) for path in (root / "notebooks").glob("*.ipynb")}

    # As `make docs`, but without running the notebooks, which other tests do, and in a plain theme: half the time.
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-n",
            "-q",
            "-c",
            "docs",
            "-D",
            "html_theme=basic",
            ".",
            tmp_path,
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=root,
        env={key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST"))},
    )

    assert made.returncode == 0, made.stderr
    assert {name for name in written if not (tmp_path / f"{name}.html").exists()} == set()
    assert "docs/README.html" in (tmp_path / "index.html").read_text(encoding="utf-8")
    index = (tmp_path / "genindex.html").read_text(encoding="utf-8")
    missing = {name for name in _public_classes() if not re.search(rf">{name}(</a>| \()", index)}
    assert not missing, "to be added to a page of docs/reference/api"
    fetched = {page.name: _FETCHED.findall(page.read_text(encoding="utf-8")) for page in tmp_path.rglob("*.html")}
    assert {name: found for name, found in fetched.items() if found} == {}


def test_theme_of_the_site_is_read_without_a_network(root: Path) -> None:
    """Nor does what the theme puts around each page fetch anything."""
    theme = re.search(r'^html_theme = "(\w+)"', (root / "docs" / "conf.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert theme is not None
    templates = list(Path(str(importlib.import_module(theme[1]).__file__)).parent.rglob("*.html"))

    assert templates
    assert not [one.name for one in templates if _FETCHED.search(one.read_text(encoding="utf-8"))]


def test_diagrams_of_the_manual_are_drawn(root: Path) -> None:
    """Each ``mermaid`` block has its picture, and no picture is left over from a block that has changed."""
    drawing = runpy.run_path(str(root / "docs" / "make_diagrams.py"))

    assert set(drawing["diagrams"]()) == set(drawing["PICTURES"].glob("*.svg")), "run: python docs/make_diagrams.py"
