"""Where a base model is: a source as the user wrote it becomes a folder of safetensors on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's or httpx2's
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from peftscope.errors import ModelError, StoreError
from peftscope.models.builtin import BUILTINS, PREFIX, fetch_builtin
from peftscope.models.gguf import convert_gguf
from peftscope.models.weights import INDEX, SINGLE, hash_weights, require_whole, shard_names, weight_files
from peftscope.schema.base import content_hash
from peftscope.schema.study import ModelSpec

__all__ = [
    "UNUSED_PARTS",
    "Located",
    "anchored",
    "fetch_adapter",
    "fetch_configs",
    "fetch_pipeline",
    "find_configs",
    "find_local",
    "find_or_fetch",
    "gguf_file",
    "locate",
    "read_settings",
    "refuse_other_folders",
    "refuse_revision",
]

SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken"]
"""Everything but weights and code: config, tokenizer, index."""

CONFIG_FILES = [
    "config.json",
    "adapter_config.json",
    "model_index.json",
    "transformer/config.json",
    "unet/config.json",
    "vae/config.json",
]
"""The config of a language model or of what a pipeline draws with, and what shows that a repository is neither."""

ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"]

PART_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
"""What a part of an image pipeline is loaded from."""
UNUSED_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
VARIANTS = ["*.fp16.*", "*.fp16-*", "*.non_ema.*", "*.ema.*", "*flax*", "*openvino*", "*onnx*"]
"""The same weights once more, in another precision or for another library."""

CONFIG_TIMEOUT = 4.0
"""Seconds to wait for the hub before the cache is taken; ``huggingface_hub`` would wait for ten."""

_OF_NO_EFFECT = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
"""Settings that decide no figure, or are decided elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """A base model's files on this machine."""

    source: str
    """As the user wrote it."""
    folder: Path
    files: tuple[Path, ...]
    """The weight files, sorted by name."""
    revision: str | None
    """Commit of the hub repository; None for other sources."""

    @property
    def weights_sha256(self) -> str:
        """Hash over names and contents of the weight files."""
        return hash_weights(self.files)

    @property
    def settings_sha256(self) -> str:
        """Hash of what the config decides beside the weights: positions, norms, end-of-sequence tokens, …"""
        settings = {
            name: {k: v for k, v in read_settings(self.folder / name).items() if k not in _OF_NO_EFFECT}
            for name in ("config.json", "generation_config.json")
        }
        return content_hash(settings)


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or refused with its reason when the model is loaded
        return {}
    return found if isinstance(found, dict) else {}


def locate(spec: ModelSpec) -> Located:
    """Find a base model, download or convert it where needed; later calls find it in the cache.

    Raises:
        ModelError: It does not exist, cannot be reached, or has no safetensors.
        StoreError: The cache cannot be written.
    """
    source = spec.source
    folder, revision = find_or_fetch(spec, _download)
    if folder.is_file():
        if folder.suffix.lower() != ".gguf":
            raise ModelError(f"model.source: {source!r} is neither a folder nor a .gguf file")
        folder = convert_gguf(folder)
    refuse_other_folders(source, folder)
    files = weight_files(folder, source)
    require_whole(files, source)
    return Located(source=source, folder=folder, files=files, revision=revision)


def find_or_fetch(spec: ModelSpec, download: Callable[[ModelSpec], Path]) -> tuple[Path, str | None]:
    """The file or folder a source stands for, and the commit of one from the hub.

    Args:
        spec: Source and revision.
        download: Gives the folder of the hub's cache, whose name is the commit.

    Raises:
        ModelError: It does not exist, or cannot be reached.
        StoreError: The cache cannot be written.
    """
    if spec.source.startswith(PREFIX):
        found = fetch_builtin(spec.source)
    elif (local := find_local(spec.source)) is not None:
        found = local
    else:
        folder = download(spec)
        return folder, folder.name
    refuse_revision(spec.source, spec.revision)
    return found, None


def gguf_file(spec: ModelSpec) -> Path | None:
    """The GGUF file that a source is; None where it is something else.

    Raises:
        ModelError: It does not exist, or cannot be reached.
        StoreError: The cache cannot be written.
    """
    found = fetch_builtin(spec.source) if spec.source.startswith(PREFIX) else find_local(spec.source)
    return found if found is not None and found.suffix.lower() == ".gguf" else None


def fetch_adapter(source: str) -> Path:
    """Folder of the hub's cache with an adapter, as ``peft`` has written it.

    Raises:
        ModelError: There is none of that name, or the hub cannot be reached.
        StoreError: The cache cannot be written.
    """
    with _hub_errors(source, None, setting="adapter"):
        return Path(snapshot_download(source, allow_patterns=ADAPTER_FILES))


def fetch_configs(source: str, revision: str | None, *, others: bool = True) -> Path:
    """Folder of the hub's cache with the configs of a repository and nothing else.

    Args:
        source: A hub id.
        revision: Branch, tag or commit.
        others: Whether files of this machine could be given instead; then the error speaks of them, too.

    Raises:
        ModelError: There is none of that name, or the hub cannot be reached.
        StoreError: The cache cannot be written.
    """
    also = "the path of the config.json saved from the model's page" if others else None
    with _hub_errors(source, revision, also=also):
        folder = snapshot_download(source, revision=revision, allow_patterns=CONFIG_FILES, etag_timeout=CONFIG_TIMEOUT)
    return Path(folder)


def find_configs(source: str, revision: str | None) -> Path:
    """Where the configs of a model lie that is not built in: the file or folder that is named, or the hub's cache.

    Raises:
        ModelError: There is nothing, the hub cannot be reached, or a revision is given of what is not on the hub.
        StoreError: The cache cannot be written.
    """
    local = find_local(source)
    if local is None:
        return fetch_configs(source, revision)
    refuse_revision(source, revision)
    return local


def fetch_pipeline(spec: ModelSpec) -> Path:
    """Folder of the hub's cache with the parts of an image pipeline that are loaded, and nothing else.

    Raises:
        ModelError: There is none of that name, or the hub cannot be reached.
        StoreError: The cache cannot be written.
    """
    source, revision = spec.source, spec.revision
    with _hub_errors(source, revision):
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=["model_index.json"]))
        # The commit found first, not the branch once more: it may have moved in between.
        index = read_settings(folder / "model_index.json")
        parts = [name for name, value in index.items() if isinstance(value, list) and name not in UNUSED_PARTS]
        wanted = [f"{part}/{pattern}" for part in parts for pattern in PART_FILES]
        return Path(snapshot_download(source, revision=folder.name, allow_patterns=wanted, ignore_patterns=VARIANTS))


def anchored(spec: ModelSpec, base: Path) -> ModelSpec:
    """A model whose path is relative to a folder, as this process finds it; any other as it is."""
    path = Path(spec.source).expanduser()
    is_there = not path.is_absolute() and (base / path).exists()
    return spec.model_copy(update={"source": str(base.absolute() / path)}) if is_there else spec


def find_local(source: str) -> Path | None:
    """The file or folder a source names, resolved; None for what can only be a hub id.

    Raises:
        ModelError: It is written like a path, and nothing is there.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path.resolve()
    if not _looks_like_path(source):
        return None
    near = _nearest(path)
    hint = f"did you mean {near!r}?" if near else f"looked in {path.parent.absolute()}"
    raise ModelError(f"model.source: {source!r} does not exist; {hint}")


def refuse_revision(source: str, revision: str | None) -> None:
    """Refuse the revision of something that is not on the hub."""
    if revision is not None:
        raise ModelError(f"model.revision: {revision!r} is for hub ids; {source!r} is not one. Leave it out.")


def refuse_other_folders(source: str, folder: Path) -> None:
    """Refuse a folder that holds an adapter, or no model of ``transformers``."""
    if (folder / "adapter_config.json").exists():
        # transformers would load the adapter's base from elsewhere and put the adapter on it.
        raise ModelError(f"model {source!r} is a PEFT adapter, not a base model; name the base it was trained on")
    if (folder / "model_index.json").exists():
        raise ModelError(f"model {source!r} is a diffusers pipeline, not a language model")
    if not (folder / "config.json").exists():
        raise ModelError(f"model {source!r}: no config.json in {folder}; that is not a transformers model folder")


def _looks_like_path(source: str) -> bool:
    return (
        source.startswith((".", "/", "~"))
        or "\\" in source
        or source.count("/") > 1
        or source.endswith((".gguf", ".json", ".safetensors", ".bin", "/"))
    )


def _nearest(path: Path) -> str | None:
    """What stands beside a path that does not exist and has a similar name."""
    if not path.parent.is_dir():
        return None
    near = get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1, cutoff=0.6)
    return str(path.parent / near[0]) if near else None


def _download(spec: ModelSpec) -> Path:
    """Snapshot folder of a hub repository with the files that are needed and no others."""
    source, revision = spec.source, spec.revision
    with _hub_errors(source, revision):
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=SMALL_FILES))
        wanted = list(shard_names(folder, source)) if (folder / INDEX).is_file() else [SINGLE]
        # The commit found first, not the branch once more: it may have moved in between.
        return Path(snapshot_download(source, revision=folder.name, allow_patterns=wanted))


@contextmanager
def _hub_errors(
    source: str, revision: str | None, also: str | None = "", *, setting: str = "model.source"
) -> Iterator[None]:
    """Say in our words what went wrong when the hub was asked for a model or an adapter.

    Args:
        source: As the user wrote it.
        revision: What was asked for.
        also: What can be given instead of a hub id, beside what ``locate`` takes; None where no file can.
        setting: What the source was given as.

    Raises:
        ModelError: It does not exist there, is not open to everybody, or the hub cannot be reached.
        StoreError: The hub's cache cannot be written.
    """
    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ModelError(_not_there(source, _reason(error, revision), also, setting)) from error
    except (LocalEntryNotFoundError, HTTPError) as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        reason = f"the Hugging Face hub cannot be reached ({cause})"
        raise ModelError(_not_there(source, reason, also, setting)) from error
    except OSError as error:
        raise StoreError(f"{setting}: {source!r} cannot be written to the hub's cache ({error})") from error


def _reason(error: Exception, revision: str | None) -> str:
    if isinstance(error, GatedRepoError):
        return "the hub wants you to accept its terms first: do so on its page, then run 'hf auth login'"
    if isinstance(error, RevisionNotFoundError):
        return f"the hub has no revision {revision!r} of it"
    if isinstance(error, HFValidationError):
        return "that is not a valid hub id"
    return "the hub has no such model, or it is private: then run 'hf auth login'"


def _not_there(source: str, reason: str, also: str | None, setting: str) -> str:
    if also is None:
        names = " or ".join(PREFIX + name for name in BUILTINS)
        return f"{setting}: {source!r}: {reason}. Upload its config.json, or take {names}."
    if setting != "model.source":
        return f"{setting}: {source!r}: {reason}. No folder of that name is in {Path.cwd()} either."
    instead = [*([also] if also else []), "a local folder", "a .gguf file", *(PREFIX + name for name in BUILTINS)]
    near = get_close_matches(source.rpartition("/")[2].lower().removeprefix(PREFIX), BUILTINS, n=1, cutoff=0.6)
    hint = PREFIX + near[0] if near else _nearest(Path(source))
    return (
        f"model.source: {source!r}: {reason}. No file or folder of that name is in {Path.cwd()} either."
        + (f" Did you mean {hint!r}?" if hint else "")
        + f" Without the hub there are: {', '.join(instead)}."
    )
