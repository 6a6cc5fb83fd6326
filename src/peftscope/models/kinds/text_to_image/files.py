"""The files of an image model: a pipeline in the layout of ``diffusers``, with a folder for each of its parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peftscope.errors import ModelError
from peftscope.models.source import UNUSED_PARTS, fetch_pipeline, find_or_fetch
from peftscope.models.weights import file_sha256, hash_weights, require_whole
from peftscope.schema.base import content_hash
from peftscope.schema.study import ModelSpec

__all__ = ["PipelineFiles", "locate_pipeline"]

INDEX = "model_index.json"
SETTINGS = ("config.json", "scheduler_config.json", "tokenizer_config.json")
SMALL = (".json", ".txt", ".model", ".jinja")
OF_NO_EFFECT = ("_diffusers_version", "_name_or_path", "transformers_version", "torch_dtype", "dtype")
"""Settings that decide no picture, or are decided elsewhere."""


@dataclass(frozen=True, kw_only=True)
class PipelineFiles:
    """A pipeline on this machine."""

    source: str
    """As the user wrote it."""
    folder: Path
    class_name: str
    """Of the pipeline, in diffusers."""
    classes: Mapping[str, Sequence[str]]
    """Library and class of each part, those that are never used left out."""
    arguments: Mapping[str, Any]
    """What the pipeline is made with beside its parts, such as whether it was distilled."""
    revision: str | None
    """Commit of the hub repository; None for other sources."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders of the pipeline."""
        return tuple(self.classes)

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Safetensors of all parts; of several precisions the one without a name of its own."""
        return tuple(path for part in self.parts for path in _weights_of(self.folder / part))

    @property
    def weights_sha256(self) -> str:
        """Hash over names and contents of the weight files."""
        return hash_weights(self.weight_files)

    @property
    def settings_sha256(self) -> str:
        """Hash of what decides what the parts do beside the weights: classes, configs, tokenizers."""
        read = {part: self._decisive(part) for part in self.parts}
        return content_hash({"parts": read, "classes": self.classes, "pipeline": self.arguments})

    def _decisive(self, part: str) -> dict[str, Any]:
        small = [path for path in sorted((self.folder / part).iterdir()) if path.suffix in SMALL]
        found: dict[str, Any] = {}
        for path in small:
            if path.name in SETTINGS:
                settings = _read(path, self.source)
                found[path.name] = {key: value for key, value in settings.items() if key not in OF_NO_EFFECT}
            else:
                found[path.name] = file_sha256(path)
        return found

    def settings(self, part: str) -> Mapping[str, Any]:
        """The config of a part; empty where it has none."""
        for name in SETTINGS:
            if (path := self.folder / part / name).is_file():
                found = _read(path, self.source)
                return {key: value for key, value in found.items() if not key.startswith("_")}
        return {}


def locate_pipeline(spec: ModelSpec) -> PipelineFiles:
    """Find a pipeline, download it where needed; later calls find it in the cache.

    Raises:
        ModelError: It does not exist, cannot be reached, is no pipeline, or has no safetensors.
        StoreError: The cache cannot be written.
    """
    source = spec.source
    folder, revision = find_or_fetch(spec, fetch_pipeline)
    if not (folder / INDEX).is_file():
        raise ModelError(f"model {source!r}: no {INDEX} in {folder}; that is no folder of a diffusers pipeline")
    index = _read(folder / INDEX, source)
    named = {name: value for name, value in index.items() if isinstance(value, list) and None not in value}
    classes = {name: [str(word) for word in value] for name, value in named.items() if name not in UNUSED_PARTS}
    found = PipelineFiles(
        source=source,
        folder=folder,
        class_name=str(index.get("_class_name")),
        classes=classes,
        arguments={key: value for key, value in index.items() if key[0] != "_" and not isinstance(value, list)},
        revision=revision,
    )
    for part in found.parts:
        _require_part(found, part)
    require_whole(found.weight_files, source)
    return found


def _weights_of(part: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in part.glob("*.safetensors") if "." not in path.stem))


def _require_part(found: PipelineFiles, part: str) -> None:
    """Refuse a part that is not there, or has a config and not all of its weights.

    Raises:
        ModelError: It is.
    """
    folder = found.folder / part
    if not folder.is_dir():
        raise ModelError(f"model {found.source!r}: no folder {part} in {found.folder}, which {INDEX} names")
    if not (folder / "config.json").is_file():  # a scheduler, a tokenizer
        return
    weights = {path.name for path in _weights_of(folder)}
    for index in folder.glob("*.safetensors.index.json"):
        if "." not in index.name.removesuffix(".safetensors.index.json"):
            missing = set(_read(index, found.source).get("weight_map", {}).values()) - weights
            if missing:
                raise ModelError(f"model {found.source!r}: {part} lacks {', '.join(sorted(missing)[:3])}")
    if not weights:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pt"))
        raise ModelError(
            f"model {found.source!r}: {part} has no plain safetensors "
            f"({', '.join(others[:3]) or 'no weights at all'}). Variants such as fp16 are not taken: save the pipeline "
            "without one. Pickled weights are refused, since loading a pickle can run any code hidden in it."
        )


def _read(path: Path, source: str) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model {source!r}: {path} is not readable: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"model {source!r}: {path} holds no mapping")
    return found
