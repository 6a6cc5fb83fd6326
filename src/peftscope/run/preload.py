"""Imports all that a run needs, for the process runs are forked from."""

from __future__ import annotations

from peftscope.plan import preflight
from peftscope.run import execute
from peftscope.tasks import registry

__all__ = ["execute", "preflight"]

registry.import_built_in()
