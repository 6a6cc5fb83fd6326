"""A drafted study as a commented file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["study_text"]

COMMENTS = {
    "epochs": "passes over the training rows",
    "max_steps": "within what a first comparison should take; or epochs: 1",
    "model": "a hub id, a folder, a GGUF file or a built-in model",
    "methods": "'peftscope methods' lists them all",
    "effort": "searches each method's learning rate until it is bracketed; standard and thorough search longer",
    "memory": "plain takes more of it; lean and minimal less, and longer",
    "seeds": "one final training per seed; verdicts need two at least",
    "empty_targets": "rows without a target are left out and counted",
    "long_prompts": "prompts that leave no room for an answer are left out and counted",
    "overlap": "test rows that stand in training stay, and their score is too high: better take them out",
    "metric": "exact_match, macro_f1, contains, numeric, regex, rouge_l, loss, …",
}
BARE = re.compile(r"[A-Za-z][\w.-]*(:[\w.-]+)?")
NOT_BARE = ("no", "yes", "on", "off", "null", "true", "false", "y", "n")
"""Words that YAML takes for something else."""
WIDTH = 34
"""Column in which comments begin."""


def study_text(spec: Mapping[str, Any], comments: Mapping[str, str], found: Sequence[str], file: str) -> str:
    """A study as YAML.

    Args:
        spec: The study.
        comments: By key, what to say of it; ours where there is none.
        found: What was found in the data, for the head of the file.
        file: What the file is called.
    """
    said = {**COMMENTS, **comments}
    file = shlex.quote(file)
    how = f"# Run it with: peftscope compare {file}; what it takes, peftscope plan {file} says first."
    lines = [*(f"# {line}" for line in found), "#", how, ""]
    for key, value in spec.items():
        if isinstance(value, Mapping):
            lines += ["", f"{key}:", *(_line(f"  {name}", name, inner, said) for name, inner in value.items())]
        else:
            lines.append(_line(key, key, value, said))
    return "\n".join(lines) + "\n"


def _line(shown: str, name: str, value: Any, comments: Mapping[str, str]) -> str:
    line = f"{shown}: {_value(value)}"
    comment = " ".join(comments.get(name, "").split())
    return f"{line:<{WIDTH}}  # {comment}" if comment else line


def _value(value: Any) -> str:
    """A value in YAML's flow style, which JSON is a part of; plain words stay bare."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_value(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, str) and BARE.fullmatch(value) and value.lower() not in NOT_BARE:
        return value
    return json.dumps(value, ensure_ascii=False)
