"""A study file -> a ``StudySpec``, or every error in it at once."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from peftscope.errors import SpecError, StoreError, brief, unknown_name
from peftscope.schema.study import StudySpec

__all__ = [
    "Vocabulary",
    "load_yaml",
    "problems_of",
    "read_json",
    "read_study",
    "study_from",
    "unusable_values",
    "why_unreadable",
]


MOST_CHARACTERS, MOST_VALUES, MOST_DEPTH = 2_000_000, 200_000, 50
LARGEST = 10**15
LONGEST_LABEL = 200
EMPTY = "the file is empty"
PLAIN_MESSAGES = {
    **dict.fromkeys(
        ("model_type", "model_attributes_type", "dataclass_type", "dict_type"), "input should be a mapping"
    ),
    **dict.fromkeys(("tuple_type", "list_type"), "input should be a list, such as [a, b]"),
}
"""Errors of pydantic whose messages name classes of Python -> what to say in their place."""
TOO_DEEP = f"nested more than {MOST_DEPTH} deep"


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The names a study may use; handed in, because the rooms that know them lie below this one."""

    methods: Collection[str]
    """Names of all cards."""
    tasks: Mapping[str, Callable[[], type[BaseModel]]]
    """Task name -> its options model, imported on call."""
    knobs: Callable[[str], Collection[str]]
    """Method name -> the settings it takes."""


class _Loader(yaml.SafeLoader):
    """YAML in which ``1e-4`` is a number: YAML 1.1 wants ``1.0e-4`` and reads the former as a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _unique_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    merge = "tag:yaml.org,2002:merge"
    keys = [loader.construct_object(k, deep=deep) for k, _ in node.value if k.tag != merge]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_yaml(text: str) -> Any:
    """Read YAML in which ``1e-4`` is a number and no key is given twice.

    Raises:
        yaml.YAMLError: It is not YAML, or is larger or deeper, with its aliases written out, than any study.

    >>> load_yaml("rate: 1e-4")
    {'rate': 0.0001}
    """
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"{len(text):,} characters; no study has more than {MOST_CHARACTERS:,}")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _written_out(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise yaml.YAMLError(TOO_DEEP) from None
    except ValueError as error:  # such as an integer of more digits than Python reads
        raise yaml.YAMLError(str(error)) from None


def _written_out(node: yaml.Node, sizes: dict[int, int], depth: int = 0) -> int:
    """Values that a node stands for, with those of its aliases each time they stand there."""
    known = sizes.get(id(node))
    if known is not None:
        if known == 0:
            raise yaml.YAMLError("an alias stands inside of what it stands for")
        return known
    if depth > MOST_DEPTH:
        raise yaml.YAMLError(TOO_DEEP)
    sizes[id(node)] = 0
    inner = node.value if isinstance(node, yaml.CollectionNode) else ()
    parts = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
    total = 1
    for part in parts:
        total += _written_out(part, sizes, depth + 1)
        if total > MOST_VALUES:
            raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values")
    sizes[id(node)] = total
    return total


def read_study(path: Path, vocabulary: Vocabulary) -> StudySpec:
    """Read and check a study file.

    Args:
        path: A YAML file.
        vocabulary: The methods, tasks and settings there are.

    Raises:
        SpecError: The file is missing or not YAML, or with every problem found in it.
    """
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=1)
        hint = f"did you mean {path.with_name(near[0])}? " if near else ""
        raise SpecError(str(path), [f"no such file; {hint}'peftscope init' writes one to start from"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise SpecError(str(path), [f"not valid YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(raw, dict):
        raise SpecError(str(path), [f"a study is a mapping with 'name', 'model', 'task', 'methods'; got {_shown(raw)}"])
    return study_from(raw, vocabulary, source=str(path))


def study_from(raw: Mapping[str, Any], vocabulary: Vocabulary, *, source: str) -> StudySpec:
    """Check a study given as a mapping.

    Raises:
        SpecError: With every problem found, of form and of names alike.
    """
    problems = unusable_values(raw)
    if problems:
        raise SpecError(source, problems)
    study: StudySpec | None = None
    try:
        study = StudySpec.model_validate(raw)
    except ValidationError as error:
        problems += problems_of(error, StudySpec, elsewhere=_options_by_name(raw.get("task"), vocabulary))
    problems += _name_problems(raw, vocabulary)
    if problems or study is None:
        raise SpecError(source, problems)
    return study


def unusable_values(value: Any, where: str = "", depth: int = 0) -> list[str]:
    """What no setting can be, wherever it stands, since working with it fails far from here: numbers that nothing here
    counts up to, texts that cannot be written."""
    if depth > MOST_DEPTH:
        return [f"{where}: {TOO_DEEP}"]
    if isinstance(value, Mapping):
        names = [line for key in value for line in unusable_values(key, f"{where}.a name".lstrip("."), depth + 1)]
        prefix = f"{where}." if where else ""
        inner = [line for key, v in value.items() for line in unusable_values(v, f"{prefix}{key}", depth + 1)]
        return names + inner
    if isinstance(value, list | tuple):
        return [line for n, inner in enumerate(value) for line in unusable_values(inner, f"{where}[{n}]", depth + 1)]
    if isinstance(value, int) and abs(value) > LARGEST:
        digits = int(value.bit_length() * 0.30103) + 1  # to write it out may be refused
        return [f"{where}: a number of about {digits} digits; none here is larger than {LARGEST:,}"]
    if isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        return [f"{where}: half of a character (a lone surrogate); such a text cannot be written"]
    return []


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    prefix: str = "",
    elsewhere: Mapping[str, str] | None = None,
    whole: str = "study",
) -> list[str]:
    """Pydantic's errors as lines that say where, what was given, what is allowed and the nearest match.

    Args:
        error: What pydantic found.
        model: What was validated.
        prefix: Stands before each place.
        elsewhere: Where a setting that is unknown here has its place, by its name.
        whole: What stands before a problem of no single field; nothing where empty.
    """
    lines = []
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    for item in items:
        if item["type"] == "too_short" and any(
            p != item["loc"] and p[: len(item["loc"])] == item["loc"] for p in places
        ):
            continue  # it is short of what is wrong in it
        where = prefix + _dotted(item["loc"])
        if item["type"] == "extra_forbidden":
            fields = _fields_at(model, item["loc"][:-1])
            name = str(item["loc"][-1])
            right = (elsewhere or {}).get(name)
            said = f"unknown setting {name!r} here; it stands under {right}" if right else ""
            lines.append(f"{where}: {said or unknown_name('setting', name, fields)}")
        elif item["type"] == "missing":
            lines.append(f"{where}: missing; it has no default")
        else:
            message = PLAIN_MESSAGES.get(item["type"], item["msg"])
            text = brief(message[0].lower() + message[1:])
            hint = _literal_hint(item)
            given = "" if item["type"] == "value_error" else f"; given {_shown(item['input'])}"
            place = where or whole
            lines.append(f"{place}{': ' if place else ''}{text.removeprefix('value error, ')}{given}{hint}")
    return lines


def why_unreadable(error: OSError | ValueError, model: type[BaseModel] = BaseModel) -> str:
    """One line on why a file of ours cannot be read: which field is wrong and why, or what else is the matter.

    Args:
        error: Of reading the file, of its JSON, or of its validation.
        model: What was validated, where it was one model.

    >>> from peftscope.schema.study import ModelSpec
    >>> try:
    ...     ModelSpec.model_validate_json('{"source": 3}')
    ... except ValidationError as error:
    ...     why_unreadable(error, ModelSpec)
    'source: input should be a valid string; given 3'
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, UnicodeDecodeError):
        return "not a text in UTF-8"
    if not isinstance(error, ValidationError):
        return f"not valid JSON: {error}" if getattr(error, "doc", "{").strip() else EMPTY
    found = error.errors(include_url=False)[0]
    if found["type"] == "json_invalid":
        return f"not valid JSON: {found['ctx']['error']}" if found["input"].strip() else EMPTY
    first, *others = problems_of(error, model, whole="")
    return " ".join(first.split()) + (f" (and {len(others)} more)" if others else "")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        StoreError: It cannot be read, with the reason.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {why_unreadable(error)}") from error


def _name_problems(raw: Mapping[str, Any], vocabulary: Vocabulary) -> list[str]:
    """Problems with the names of methods, their settings, the task and its options."""
    problems = []
    methods = raw.get("methods")
    for index, entry in enumerate(methods if isinstance(methods, list) else []):
        name = entry.get("name") if isinstance(entry, dict) else entry
        label = entry.get("label") if isinstance(entry, dict) else None
        if isinstance(label, str) and len(label) > LONGEST_LABEL:
            problems.append(f"methods[{index}].label: of {len(label):,} characters; {LONGEST_LABEL} are allowed")
        if not isinstance(name, str):
            continue
        if name not in vocabulary.methods:
            problems.append(f"methods[{index}]: {unknown_name('method', name, vocabulary.methods)}")
            continue
        for place in ("knobs", "search"):
            given = entry.get(place) if isinstance(entry, dict) else None
            for knob in given if isinstance(given, dict) else ():
                allowed = vocabulary.knobs(name)
                if knob not in allowed:
                    problem = unknown_name(f"setting of {name}", str(knob), allowed)
                    problems.append(f"methods[{index}].{place}: {problem}")
    return problems + _task_problems(raw.get("task"), vocabulary)


def _options_by_name(task: Any, vocabulary: Vocabulary) -> dict[str, str]:
    """Where each of the task's settings stands; nothing where there is no such task."""
    name = task.get("name") if isinstance(task, dict) else task
    if not isinstance(name, str) or name not in vocabulary.tasks:
        return {}
    return {option: f"task.{option}" for option in vocabulary.tasks[name]().model_fields}


def _task_problems(task: Any, vocabulary: Vocabulary) -> list[str]:
    entry = {"name": task} if isinstance(task, str) else dict(task) if isinstance(task, dict) else {}
    name = entry.pop("name", None)
    if not isinstance(name, str):
        return []
    if name not in vocabulary.tasks:
        return [f"task: {unknown_name('task', name, vocabulary.tasks)}"]
    nested = entry.pop("options", None)
    options = {**(nested if isinstance(nested, dict) else {}), **entry}
    model = vocabulary.tasks[name]()
    try:
        model.model_validate(options)
    except ValidationError as error:
        return problems_of(error, model, prefix="task.")
    return []


def _dotted(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        if " " in str(part):  # says which of several forms was taken for given
            continue
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that ``loc`` leads to."""
    current: type[BaseModel] = model
    for part in loc:
        field = current.model_fields.get(str(part))
        if field is None:
            continue
        found = _models_in(field.annotation)
        if found:
            current = found[0]
    return list(current.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in get_args(annotation) for m in _models_in(arg)]


def _literal_hint(item: Any) -> str:
    if item["type"] != "literal_error" or not isinstance(item["input"], str):
        return ""
    allowed = re.findall(r"'([^']*)'", item["ctx"]["expected"])
    near = get_close_matches(item["input"], allowed, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    text = _SHORT.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_SHORT = reprlib.Repr()
"""What is given can be of any size, and only its beginning is shown."""
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
