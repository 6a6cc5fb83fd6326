"""Imports all that a run needs, for the process runs are forked from."""

from __future__ import annotations

import gc
import logging

# it asks at every import for a package that only 4-bit models on a CPU would gain by
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

from peftscope.plan import preflight  # noqa: E402
from peftscope.run import execute  # noqa: E402
from peftscope.tasks import registry  # noqa: E402

__all__ = ["execute", "preflight"]

registry.import_built_in()
# What is imported stays: the garbage collectors of the processes forked from here need not walk through it again
# and again, nor copy its pages.
gc.collect()
gc.freeze()
