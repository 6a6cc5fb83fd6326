"""Sphinx builds the site from these pages, the docstrings, the study's schema and the catalog of methods."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from reference import copy_pages, relinked, write_reference  # noqa: E402

import peftscope  # noqa: E402

project = "peftscope"
author = "the peftscope developers"
copyright = "the peftscope developers, Apache-2.0"
release = version = peftscope.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "peftscope"
exclude_patterns = ["_build", "_generated/*.md"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # a test runs the notebook; its outputs are committed
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
suppress_warnings = ["myst.header", "ref.python"]

write_reference(HERE / "_generated")
copied = copy_pages(HERE / "_generated" / "beside")


def setup(app: Sphinx) -> None:
    """Let links to pages beside the site, which are right in the repository, lead to their copies."""
    app.connect("source-read", lambda app, name, source: source.__setitem__(0, relinked(source[0], copied)))
    app.connect("include-read", lambda app, path, name, source: source.__setitem__(0, relinked(source[0], copied)))
