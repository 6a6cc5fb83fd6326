"""The untouched base's values: measured once, before any method touches it, and kept for all runs."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from peftscope.errors import StoreError
from peftscope.execution.packages import installed_version
from peftscope.models.kinds.base import LoadedModel
from peftscope.schema.base import content_hash
from peftscope.schema.study import ModelSpec
from peftscope.store.files import ensure_folder, replacing
from peftscope.store.run_states import file_lock
from peftscope.tasks.base import Retention

__all__ = ["retention_baseline"]


def retention_baseline(retention: Retention, loaded: LoadedModel, spec: ModelSpec, cache: Path) -> dict[str, Tensor]:
    """The base's values for forgetting and drift, from the cache or measured now.

    Must be called before a method touches the model; the key holds everything that decides the values.

    Raises:
        StoreError: The cache cannot be written to.
    """
    key = content_hash(
        {
            "weights": loaded.weights_sha256,
            "model_config": loaded.settings_sha256,
            "dtype": str(loaded.dtype),
            "model": spec.model_dump(mode="json", include={"quantization", "attn_implementation"}),
            "device": loaded.device.type,
            "versions": {name: installed_version(name) for name in ("torch", "transformers", "diffusers")},
            "retention": retention.fingerprint(),
        }
    )
    path = cache / f"baseline-{key}.safetensors"
    if not path.exists():
        with file_lock(path.with_suffix(".lock")):  # of two runs that come first one measures, the other waits
            if not path.exists():
                _save(retention.baseline(loaded.model), path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it to have it measured again") from error


def _save(values: dict[str, Tensor], path: Path) -> None:
    ensure_folder(path.parent)
    try:
        with replacing(path) as temporary:
            save_file({k: v.contiguous() for k, v in values.items()}, temporary)
    except SafetensorError as error:  # how safetensors tells of a full disk
        raise StoreError(f"{path}: cannot be written ({error})") from error
