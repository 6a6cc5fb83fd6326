"""The files of an image model: a pipeline in the layout of ``diffusers``, with a folder for each of its parts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peftscope.errors import ModelError
from peftscope.models.builtin import PREFIX, fetch_builtin
from peftscope.models.source import fetch_pipeline, find_local, refuse_revision
from peftscope.models.weights import hash_weights, require_whole
from peftscope.schema.base import content_hash
from peftscope.schema.study import ModelSpec

__all__ = ["PipelineFiles", "is_pipeline", "locate_pipeline"]

INDEX = "model_index.json"
SETTINGS = ("config.json", "scheduler_config.json", "tokenizer_config.json")


@dataclass(frozen=True, kw_only=True)
class PipelineFiles:
    """A pipeline on this machine."""

    source: str
    """As the user wrote it."""
    folder: Path
    class_name: str
    """Of the pipeline, in diffusers."""
    parts: tuple[str, ...]
    """Folders of the pipeline."""
    arguments: Mapping[str, Any]
    """What the pipeline is made with beside its parts, such as whether it was distilled."""
    revision: str | None
    """Commit of the hub repository; None for other sources."""

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Safetensors of all parts; of several precisions the one without a name of its own."""
        found = (path for part in self.parts for path in (self.folder / part).glob("*.safetensors"))
        return tuple(sorted(path for path in found if path.name.count(".") == 1))

    @property
    def weights_sha256(self) -> str:
        """Hash over names and contents of the weight files."""
        return hash_weights(self.weight_files)

    @property
    def settings_sha256(self) -> str:
        """Hash of what the configs of the parts decide beside the weights."""
        settings: dict[str, Any] = {part: self.settings(part) for part in self.parts}
        return content_hash({**settings, "pipeline": self.arguments})

    def settings(self, part: str) -> Mapping[str, Any]:
        """The config of a part; empty where it has none."""
        for name in SETTINGS:
            if (path := self.folder / part / name).is_file():
                found = _read(path, self.source)
                return {key: value for key, value in found.items() if not key.startswith("_")}
        return {}


def is_pipeline(source: str) -> bool:
    """Whether a source that lies on this machine is a pipeline's folder, or one in the package."""
    folder = fetch_builtin(source) if source.startswith(PREFIX) else Path(source).expanduser()
    return (folder / INDEX).is_file()


def locate_pipeline(spec: ModelSpec) -> PipelineFiles:
    """Find a pipeline, download it where needed; later calls find it in the cache.

    Raises:
        ModelError: It does not exist, cannot be reached, is no pipeline, or has no safetensors.
        StoreError: The cache cannot be written.
    """
    source, revision = spec.source, None
    if source.startswith(PREFIX):
        folder = fetch_builtin(source)
    elif (local := find_local(source)) is not None:
        folder = local
    else:
        folder = fetch_pipeline(source, spec.revision)
        revision = folder.name
    if revision is None:
        refuse_revision(source, spec.revision)
    if not (folder / INDEX).is_file():
        raise ModelError(f"model {source!r}: no {INDEX} in {folder}; that is no folder of a diffusers pipeline")
    index = _read(folder / INDEX, source)
    parts = tuple(name for name, value in index.items() if isinstance(value, list) and (folder / name).is_dir())
    found = PipelineFiles(
        source=source,
        folder=folder,
        class_name=str(index.get("_class_name")),
        parts=parts,
        arguments={key: value for key, value in index.items() if key[0] != "_" and not isinstance(value, list)},
        revision=revision,
    )
    if not found.weight_files:
        raise ModelError(
            f"model {source!r}: no safetensors in {folder}. Pickled weights are refused: loading a pickle can run any "
            "code hidden in it."
        )
    require_whole(found.weight_files, source)
    return found


def _read(path: Path, source: str) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model {source!r}: {path} is not readable: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"model {source!r}: {path} holds no mapping")
    return found
