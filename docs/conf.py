"""How Sphinx makes the site: `make docs`, or `python -m sphinx -c docs . build/docs`.

The root of the repository is the source folder, so that the pages' links to notebooks, examples, tests and code lead to
the same places on the site as in the repository.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # jupyter_core asks every program to say so
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "widgets"), str(HERE), str(HERE / "_extensions")]

from avtomatika import __version__  # noqa: E402 - found by the path above

project = "avtomatika"
author = "The avtomatika developers"
project_copyright = author
version = release = __version__

extensions = [
    "contents",
    "diagrams",
    "generated",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
root_doc = "docs/README"
include_patterns = [
    "docs/**",
    "notebooks/*.ipynb",
    "examples/README.md",
    "examples/*/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
]
exclude_patterns = [
    # Read in CHANGELOG.md.
    "docs/changelog.d/*.*.md",
    ".*",
    "avtomatika",
    "benchmarks",
    "build",
    "dist",
    "tests",
    "widgets",
    "**/__pycache__",
    "**/.ipynb_checkpoints",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
language = "en"

# Anchors are those of GitHub, down to the headings of one error code.
myst_heading_anchors = 5
myst_fence_as_directive = ["mermaid"]
suppress_warnings = [
    "myst.header",  # a page that shows one method begins at the level of that method
]

# Of the code, pages refer to nothing by role: what would be missing are annotations of other packages, which are not
# fetched from anywhere.
nitpick_ignore_regex = [("py:.*", ".*")]

# Notebooks are kept without what they show; `make docs` runs them, the test of the site does not.
nb_execution_mode = "off"
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]

html_theme = "furo"
html_title = f"avtomatika {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
html_additional_pages = {"index": "to_the_manual.html"}
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_use_index = True
copybutton_exclude = ".linenos, .gp, .go"
