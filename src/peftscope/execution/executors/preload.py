"""Imports all that a run needs, for the process runs are forked from.

But for bitsandbytes where PyTorch is built for an accelerator: importing it begins to use the accelerator, and what has
used CUDA cannot be forked. There runs import it for themselves, which ``peft`` does with nearly every method.
"""

from __future__ import annotations

import gc
import logging
from importlib import import_module

import torch

from peftscope.capture import capture
from peftscope.execution.executors.later import imported_later

# it asks at every import for a package that only 4-bit models on a CPU would gain by
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

with imported_later("bitsandbytes"):
    from peftscope.execution import execute
    from peftscope.measures import registry as measures
    from peftscope.models.kinds import registry as kinds
    from peftscope.tasks import registry as tasks
    from peftscope.tuning import preflight

    tasks.import_built_in()
    kinds.import_built_in()
    measures.import_built_in()


def _import_bitsandbytes() -> None:
    import_module("bitsandbytes")


if torch.accelerator.current_accelerator() is None:
    capture(_import_bitsandbytes)  # where it fails, runs that need it say why

__all__ = ["execute", "preflight"]

# What is imported stays: the garbage collectors of the processes forked from here need not walk through it again
# and again, nor copy its pages.
gc.collect()
gc.freeze()
