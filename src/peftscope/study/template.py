"""A commented study to start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.errors import SpecError
from peftscope.store.files import ensure_folder, write_text
from peftscope.views.shown import Shown

__all__ = ["Template", "write_new", "write_template"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Template(Shown):
    """The file that was written."""

    path: Path

    schema: ClassVar[str] = "init"

    def _content(self) -> Mapping[str, Any]:
        return {"path": str(self.path)}

    def _parts(self) -> Iterator[RenderableType]:
        yield Text(f"wrote {self.path}; edit it, then: peftscope compare {self.path}")
        yield Text(
            "as it stands that takes about three hours on two CPU cores, with a model of 135 M parameters; with "
            "builtin:nano-lm for its model, minutes"
        )


def write_template(path: Path, *, force: bool = False) -> Template:
    """Write a commented study.yaml.

    Raises:
        SpecError: It is there already, and not to be written over.
        StoreError: It cannot be written.
    """
    write_new(path, (files("peftscope.study") / "study.yaml").read_text(encoding="utf-8"), force=force)
    return Template(path=path)


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a study file, and its folder.

    Raises:
        SpecError: It is there already, and not to be written over.
        StoreError: It cannot be written.
    """
    if path.exists() and not force:
        raise SpecError(str(path), ["is there already; give another name or --force"])
    ensure_folder(path.parent)
    write_text(path, text)
