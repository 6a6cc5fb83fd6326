"""Sphinx builds the site from these pages, the docstrings, the study's schema and the catalog of methods."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from reference import write_reference  # noqa: E402

import peftscope  # noqa: E402

project = "peftscope"
author = "the peftscope developers"
copyright = "the peftscope developers, Apache-2.0"
release = version = peftscope.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "peftscope"
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # a test runs the notebook; its outputs are committed
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
suppress_warnings = ["myst.xref_missing", "ref.python"]

write_reference(HERE / "_generated")
