"""Settings from the command line, ``train.max_steps=10``, which override a spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from peftscope.errors import SpecError
from peftscope.schema.reader import load_yaml, problems_of
from peftscope.schema.run import RunSpec

__all__ = ["override"]


def override(run: RunSpec, settings: Sequence[str]) -> RunSpec:
    """The run with settings changed.

    Args:
        run: The run to start from; it is left as it is.
        settings: Texts ``path=value`` with a dotted path; ``task.NAME`` is an option of the task. The value is
            read as YAML, so ``[1, 2]``, ``true`` and ``null`` mean what they look like.

    Raises:
        SpecError: With every setting that is no ``path=value``, leads nowhere or has a wrong value.

    >>> from peftscope.schema.study import MethodSpec, ModelSpec, TaskSpec
    >>> run = RunSpec(model=ModelSpec(source="m"), task=TaskSpec(name="math"), method=MethodSpec(name="lora"))
    >>> override(run, ["train.max_steps=10"]).train.max_steps
    10
    """
    raw = run.model_dump(mode="json")
    problems: list[str] = []
    for setting in settings:
        path, sign, text = setting.partition("=")
        if not sign:
            problems.append(f"{setting!r}: a setting is path=value, such as train.max_steps=10")
            continue
        parts = path.strip().split(".")
        if parts[0] == "task" and len(parts) > 1 and parts[1] not in ("name", "options"):
            parts.insert(1, "options")
        try:
            _put(raw, parts, load_yaml(text), path, problems)
        except yaml.YAMLError as error:
            problems.append(f"{path}: {text!r} is not valid YAML: {' '.join(str(error).split())}")
    if problems:
        raise SpecError("--set", problems)
    try:
        return RunSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError("--set", problems_of(error, RunSpec)) from None


def _put(raw: dict[str, Any], parts: Sequence[str], value: Any, path: str, problems: list[str]) -> None:
    place = raw
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            problems.append(f"{path}: {part!r} is a single value and has no settings in it")
            return
        place = inner
    place[parts[-1]] = value
