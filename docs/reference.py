"""Reference pages made from the program itself: every option of a study, every metric, every method."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

__all__ = ["copy_pages", "relinked", "write_reference"]

ROOT = Path(__file__).resolve().parents[1]
BESIDE = (*sorted((ROOT / "benchmarks").glob("*.md")), ROOT / "src" / "peftscope" / "models" / "nano_lm" / "README.md")
"""Pages of the repository that those of the site link to."""


def copy_pages(folder: Path) -> dict[str, str]:
    """Copy the pages beside the site into it; gives the documents by the ends of their paths in the repository."""
    folder.mkdir(parents=True, exist_ok=True)
    copied = {}
    for page in BESIDE:
        name = page.stem if page.stem != "README" else page.parent.name
        (folder / f"{name}.md").write_text("---\norphan: true\n---\n\n" + page.read_text("utf-8"), encoding="utf-8")
        copied[page.relative_to(ROOT).as_posix()] = f"/_generated/beside/{name}.md"
    return copied


def relinked(text: str, copied: dict[str, str]) -> str:
    """A page's text with links to copied pages leading to the copies."""
    for path, document in copied.items():
        text = text.replace(f"](../{path})", f"]({document})").replace(f"]({path})", f"]({document})")
    return text


def write_reference(folder: Path) -> None:
    """Write ``options.md``, ``metrics.md`` and ``methods.md`` into a folder."""
    folder.mkdir(exist_ok=True)
    pages = {"options": _options(), "metrics": _metrics(), "methods": _methods()}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _options() -> str:
    from peftscope.schema.seeds import SeedPlan
    from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, StudySpec, TrainSpec, TuningSpec
    from peftscope.tasks.registry import options_model, task_names

    parts = [_section("A study", "", StudySpec)]
    nested = {"model": ModelSpec, "methods[]": MethodSpec, "tuning": TuningSpec, "train": TrainSpec}
    nested |= {"measure": MeasureSpec, "seeds": SeedPlan}
    parts += [_section(f"`{key}`", key, model) for key, model in nested.items()]
    parts += [_section(f"`task` of name `{name}`", "task", options_model(name)) for name in task_names()]
    return "\n\n".join(parts) + "\n"


def _section(title: str, key: str, model: type[BaseModel]) -> str:
    lines = [f"## {title}", "", _first_line(model.__doc__ or ""), "", "| option | type | default | what it is |"]
    lines.append("| --- | --- | --- | --- |")
    docs = _field_docs(model)
    for name, field in model.model_fields.items():
        place = f"{key}.{name}" if key else name
        required = field.default is PydanticUndefined and field.default_factory is None
        default = "required" if required else f"`{_plain(field.get_default(call_default_factory=True))}`"
        lines.append(f"| `{place}` | {_type(field.annotation)} | {default} | {_cell(docs.get(name, ''))} |")
    return "\n".join(lines)


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Docstrings below fields, those of base classes included."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not (isinstance(owner, type) and issubclass(owner, BaseModel)) or owner is BaseModel:
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:]):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[field.target.id] = str(text.value.value)
    return found


def _metrics() -> str:
    from peftscope.measures.registry import metric_specs

    lines = ["| metric | unit | better | taken over | limit |", "| --- | --- | --- | --- | --- |"]
    for spec in metric_specs().values():
        limit = f"`{spec.limit}`" if spec.limit else ""
        lines.append(f"| `{spec.name}` | {spec.unit} | {spec.direction} | {_cell(spec.window)} | {limit} |")
    return "\n".join(lines) + "\n"


def _methods() -> str:
    from peftscope.methods.catalog import cards

    lines = ["| method | family | learning rate | what it does |", "| --- | --- | ---: | --- |"]
    for card in cards().values():
        rate = f"{card.rate.default:g}" if card.trains and card.rate else "–"
        refused = f" **Refused:** {card.refused}" if card.refused else ""
        lines.append(f"| `{card.name}` | {card.family} | {rate} | {_cell(card.summary + refused)} |")
    return "\n".join(lines) + "\n"


def _first_line(text: str) -> str:
    return text.strip().split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "{…}"
    return str(value) if not isinstance(value, str) else value


def _type(annotation: Any) -> str:
    return _cell(", ".join(_names(annotation)))


def _names(annotation: Any) -> Iterator[str]:
    from types import NoneType, UnionType
    from typing import Annotated, Literal, Union, get_args, get_origin

    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _names(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            if part is not NoneType:
                yield from _names(part)
    elif origin is Literal:
        yield from (f"`{value}`" for value in get_args(annotation))
    elif origin is not None:
        name = {"tuple": "list", "dict": "mapping", "Mapping": "mapping"}.get(origin.__name__, origin.__name__)
        inner = [part for part in get_args(annotation) if part is not Ellipsis]
        yield f"{name} of {' to '.join(', '.join(_names(part)) for part in inner)}" if inner else name
    else:
        yield {"str": "text", "bool": "true or false", "int": "whole number", "float": "number"}.get(
            getattr(annotation, "__name__", str(annotation)), getattr(annotation, "__name__", str(annotation))
        )
