"""The function that scores an output against a target, by the name of the metric."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import regex

from peftscope.capture import capture
from peftscope.errors import DataError, SpecError
from peftscope.tasks.text import text_metrics
from peftscope.tasks.text.code_runs import passes
from peftscope.tasks.text.options import OwnDataOptions

__all__ = ["Grader", "grader", "source_files", "source_hash"]

Grader = Callable[[str, str], float]


def grader(options: OwnDataOptions, metric: str | None = None) -> Grader:
    """The function that scores an output against a target.

    Args:
        options: The task's.
        metric: Another than the task's own.

    Raises:
        MissingExtra: The metric's library is not installed.
        SpecError: The user's own function cannot be found.
    """
    metric = metric or options.metric
    match metric:
        case "exact_match" | "macro_f1":
            return partial(text_metrics.exact_match, ignore_case=options.ignore_case)
        case "contains":
            return partial(text_metrics.contains, ignore_case=options.ignore_case)
        case "numeric":
            return partial(text_metrics.numeric, which=options.answer)
        case "normalized_match":
            return text_metrics.normalized_match
        case "token_f1":
            return text_metrics.token_f1
        case "json":
            return text_metrics.json_fields
        case "rouge_l":
            return text_metrics.rouge_l_scorer()
        case "chrf" | "bleu":
            return text_metrics.sacrebleu_scorer(metric)
        case "code":
            return passes
        case "regex":
            assert options.pattern is not None, "the options see to it"
            return partial(
                text_metrics.regex_match,
                pattern=regex.compile(options.pattern),
                which=options.answer,
                ignore_case=options.ignore_case,
            )
        case "loss":
            return _no_grade
        case own:
            return partial(_graded, _function(own), own)


def source_hash(metric: str) -> str | None:
    """Hash of the module that a function of the user's own stands in; None for a metric of ours."""
    files = source_files(metric)
    return hashlib.sha256(files[0].read_bytes()).hexdigest()[:16] if files else None


def source_files(metric: str) -> list[Path]:
    """The file of the module that a function of the user's own stands in; none for a metric of ours."""
    file = inspect.getsourcefile(_function(metric)) if ":" in metric else None
    return [] if file is None else [Path(file).absolute()]


def _no_grade(output: str, target: str) -> float:
    raise AssertionError("the held-out loss grades no text")


def _function(name: str) -> Callable[[str, str], Any]:
    """The function ``module:function`` names; modules beside the study are found, too."""
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    loaded: list[Any] = []
    failure = capture(lambda: loaded.append(getattr(importlib.import_module(module), function)))
    if failure is not None:
        raise SpecError("task own-data", [f"metric: {name!r} cannot be loaded: {failure.reason}"])
    (found,) = loaded
    if not callable(found):
        raise SpecError("task own-data", [f"metric: {name!r} is no function of an output and a target"])
    return found  # type: ignore[no-any-return]


def _graded(function: Callable[[str, str], Any], name: str, output: str, target: str) -> float:
    scores: list[float] = []
    failure = capture(lambda: scores.append(float(function(output, target))))
    if failure is not None or not math.isfinite(scores[0]):
        what = failure.reason if failure is not None else f"gave {scores[0]}"
        raise DataError(f"metric {name}: {what}; for the output {output[:60]!r} and the target {target[:60]!r}")
    return scores[0]
