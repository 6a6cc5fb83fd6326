"""Imports all that a run needs, for the process runs are forked from."""

from __future__ import annotations

import gc

from peftscope.plan import preflight
from peftscope.run import execute
from peftscope.tasks import registry

__all__ = ["execute", "preflight"]

registry.import_built_in()
# What is imported stays: the garbage collectors of the processes forked from here need not walk through it again
# and again, nor copy its pages.
gc.collect()
gc.freeze()
