"""A base to put methods on, and the circumstances of a build."""

from small_methods import batch, context, knobs_for, make_base

__all__ = ["batch", "context", "knobs_for", "make_base"]
