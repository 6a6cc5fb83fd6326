"""Checkpoints: what a method leaves on disk, and a model from it that gives the same outputs.

Safetensors only; a pickle is never read. Loading starts from the *original* base: methods that change the
base's weights change them again, from the base alone where that suffices, and from the saved start of the
adapter (``initial_adapter.safetensors``) where the change came from data or chance.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor, nn

from peftscope.capture import capture
from peftscope.errors import StoreError, brief
from peftscope.methods.build import Built, starts_from_data
from peftscope.methods.card import Card
from peftscope.methods.context import ADAPTER, device_of
from peftscope.methods.hooks import without_own_loss_terms
from peftscope.methods.portable import ADAPTER_FILE, CONFIG_FILE, START_FILE
from peftscope.methods.shapes import shapes_only
from peftscope.methods.sizes import Entry, Range, adapter_range, entry, file_bytes
from peftscope.store.files import ordinary_mode

__all__ = ["load", "save", "save_adapter", "saved_bytes", "saved_entries"]

MODEL_FILE = "model.safetensors"
METADATA = {"format": "pt"}


def save(built: Built, folder: Path, *, base: str | None = None, revision: str | None = None) -> int:
    """Write the weights of a built model (and its config) to a folder, readable as other files are.

    Args:
        built: The method, trained.
        folder: Is made.
        base: What the adapter's config is to call its base, so that it loads elsewhere: a hub id, or the name of a
            folder without the place it lies at; None leaves what ``peft`` calls it.
        revision: Commit of a hub id.

    Returns:
        Bytes of the weight files on disk; 0 for the untouched base, which has nothing to save.

    Raises:
        StoreError: The folder cannot be written to, or the disk is full.
    """
    if built.card.peft_type is not None:
        return save_adapter(built.model, folder, base=base, revision=revision, start=built.initial_adapter)
    return _written(Path(folder), partial(_save_whole, built))


def save_adapter(
    model: Any, folder: Path, *, base: str | None, revision: str | None, start: Mapping[str, Tensor] | None = None
) -> int:
    """Write the adapter of a ``peft`` model, as :func:`save` does.

    Args:
        model: With the adapter.
        folder: Is made.
        base: As :func:`save` takes it.
        revision: Commit of a hub id.
        start: Adapter weights as they began, where they are written too.

    Returns:
        Bytes of the weight files on disk.

    Raises:
        StoreError: The folder cannot be written to, or the disk is full.
    """
    return _written(Path(folder), partial(_save_adapter, model, start or {}, base, revision))


def _written(folder: Path, write: Callable[[Path], list[Path]]) -> int:
    """Have weight files written into a folder, readable as others are; gives their bytes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = write(folder)
        for path in files:  # safetensors writes for its user alone
            path.chmod(ordinary_mode())
        return sum(path.stat().st_size for path in files)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{folder}: the checkpoint cannot be written: {error}") from error


def saved_entries(built: Built) -> dict[str, Entry]:
    """Type and shape of every tensor in the weight file that :func:`save` writes, by name; shapes suffice."""
    if built.card.peft_type is None:
        return _whole_entries(built.model)[0] if built.card.trains else {}
    with shapes_only() if _on_meta(built) else nullcontext():  # peft moves prompts to the CPU
        return {name: entry(tensor) for name, tensor in _state(built.model).items()}


def saved_bytes(built: Built, entries: dict[str, Entry] | None = None) -> Range:
    """Bytes of the weight files that :func:`save` writes, least and most; shapes suffice, so that meta will do.

    They differ where training or data decide on shapes that are not decided yet: AdaLoRA prunes from ``init_r`` to
    ``target_r``; on meta EVA has not shared ranks out and AdaMSS has not clustered. The least of AdaLoRA is that of a
    finished training, where no two directions are equally important.

    Args:
        built: The method.
        entries: What its file would hold on a model of other depth; None takes ``saved_entries``.
    """
    entries = saved_entries(built) if entries is None else entries
    if built.card.peft_type is None:
        size = file_bytes(entries, {**METADATA, **_whole_entries(built.model)[1]}) if built.card.trains else 0
        return size, size
    model: Any = built.model
    config, on_meta = model.peft_config[ADAPTER], _on_meta(built)
    least, most = adapter_range(entries, config, METADATA, known=not on_meta)
    start = {name: entry(tensor) for name, tensor in built.initial_adapter.items()}
    if on_meta and starts_from_data(config):
        start = entries
    begun = file_bytes(start, METADATA) if start else 0
    return least + begun, most + begun


def _on_meta(built: Built) -> bool:
    return device_of(built.model) == "meta"


def _whole_entries(model: nn.Module) -> tuple[dict[str, Entry], dict[str, str]]:
    """Tensors of a whole model, one of several names under the first, and which name each of the others points to."""
    names: dict[int, list[str]] = {}
    state = model.state_dict(keep_vars=True)
    for name in sorted(state):
        names.setdefault(id(state[name]), []).append(name)
    kept = {first: entry(state[first]) for first, *_ in names.values()}
    return kept, {other: first for first, *rest in names.values() for other in rest}


def load(base: nn.Module, folder: Path, card: Card) -> nn.Module:
    """A model from the original base (changed in place) and a checkpoint, ready for inference.

    Raises:
        StoreError: The checkpoint is missing or damaged, or its weights are not exactly those the model has.
    """
    folder = Path(folder)
    if card.peft_type is None:
        if card.trains:
            _load_whole(base, folder / MODEL_FILE)
        return base.requires_grad_(False).eval()
    # peft would look an absent folder up on the hub.
    _require(folder / CONFIG_FILE)
    state = _read(folder / ADAPTER_FILE)
    loaded: list[nn.Module] = []
    failure = capture(lambda: loaded.append(_with_adapter(base, folder, card, state)))
    if failure is not None:
        raise StoreError(f"{folder}: the adapter cannot be put on this base: {brief(failure.reason)}")
    return loaded[0].eval()


def _with_adapter(base: nn.Module, folder: Path, card: Card, state: dict[str, Tensor]) -> nn.Module:
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(str(folder))
    saved_start = folder / START_FILE
    start = _read(saved_start) if saved_start.exists() else None
    if start is not None or getattr(config, "init_lora_weights", None) == "eva":
        config.init_lora_weights = True  # the data are not here; what they led to is in the files
    config.inference_mode = True
    with warnings.catch_warnings():
        # What peft has to say about the method on this base it said when it was built.
        warnings.simplefilter("ignore")
        model = get_peft_model(base, config, autocast_adapter_dtype=_was_cast(state))
    without_own_loss_terms(model, card)
    if start is not None:
        _fill(model, start, saved_start)
        _subtract_start(model)
    _fill(model, _without_copies(model, state, folder / ADAPTER_FILE), folder / ADAPTER_FILE)
    return model  # type: ignore[no-any-return]


def _save_whole(built: Built, folder: Path) -> list[Path]:
    if not built.card.trains:
        return []
    save_model(built.model, str(folder / MODEL_FILE), metadata=dict(METADATA))
    return [folder / MODEL_FILE]


def _save_adapter(
    model: Any, start: Mapping[str, Tensor], base: str | None, revision: str | None, folder: Path
) -> list[Path]:
    state = _state(model)
    # Copies: safetensors refuses tensors that share storage, as tied adapters do.
    save_file(_separate(state), folder / ADAPTER_FILE, metadata=dict(METADATA))
    written = [folder / ADAPTER_FILE]
    if start:
        save_file(_separate(start), folder / START_FILE, metadata=dict(METADATA))
        written.append(folder / START_FILE)
    config = copy.deepcopy(model.peft_config[ADAPTER])
    config.inference_mode = True
    if base is not None:
        config.base_model_name_or_path, config.revision = base, revision
    config.save_pretrained(str(folder))
    return written


def _state(model: Any) -> dict[str, Tensor]:
    """The adapter's weights by the names they have on disk."""
    from peft import get_peft_model_state_dict

    with warnings.catch_warnings():
        # AdaLoRA may leave a layer with rank 0, which peft takes for weights lost by sharding.
        warnings.filterwarnings("ignore", message=".* have invalid shape")
        # Asked to decide by itself, peft looks the base's configuration up on the hub.
        state: dict[str, Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}


def _was_cast(state: dict[str, Tensor]) -> bool:
    """Whether the adapter was kept in float32 on a half-precision base."""
    return all(tensor.dtype == torch.float32 for tensor in state.values() if tensor.is_floating_point())


def _require(path: Path) -> Path:
    if not path.is_file():
        raise StoreError(f"{path}: not there; a checkpoint has {ADAPTER_FILE} and {CONFIG_FILE}")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(_require(path))
    except SafetensorError as error:
        raise StoreError(f"{path}: not a readable safetensors file: {error}") from error


def _load_whole(base: nn.Module, path: Path) -> None:
    try:
        load_model(base, str(_require(path)), strict=True)
    except (RuntimeError, SafetensorError) as error:
        raise StoreError(f"{path}: does not fit the model: {error}") from error


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same in the narrower of their types."""
    return torch.equal(one, other.to(one.dtype)) or torch.equal(one.to(other.dtype), other)


def _without_copies(model: nn.Module, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """A state without the base's own embeddings, which ``peft`` writes beside an adapter that is on them.

    Raises:
        StoreError: They are not the base's.
    """
    copies = [name for name in state if name.endswith(".base_layer.weight")]
    own = dict(model.named_parameters(remove_duplicate=False))
    for name in copies:
        here = own.get(name)
        if here is None or here.shape != state[name].shape or not _alike(here.detach().cpu(), state[name]):
            raise StoreError(
                f"{path}: {name} is not the base's: the adapter was trained on another, or on a larger one"
            )
    return {name: tensor for name, tensor in state.items() if name not in copies}


def _fill(model: Any, state: dict[str, Tensor], path: Path) -> None:
    """Set the adapter's weights and check that every one arrived, none was dropped and none was left over."""
    from peft import set_peft_model_state_dict

    try:
        result = set_peft_model_state_dict(model, dict(state))
    except (RuntimeError, KeyError, ValueError) as error:
        raise StoreError(f"{path}: does not fit the model: {error}") from error
    held = _state(model)
    missing = sorted(held.keys() - state.keys())
    # Prompt encoders are filled apart from the module tree, so their names always come back as unexpected.
    unexpected = [] if model.peft_config[ADAPTER].is_prompt_learning else result.unexpected_keys
    dropped = sorted({*unexpected, *(state.keys() - held.keys())})
    if missing or dropped:
        raise StoreError(f"{path}: not the model's weights; missing: {_some(missing)}; unknown: {_some(dropped)}")
    changed = [
        name
        for name, tensor in state.items()
        if held[name].shape != tensor.shape or not torch.equal(held[name].cpu(), tensor.to(held[name].dtype))
    ]
    if changed:
        raise StoreError(f"{path}: weights did not arrive as they were saved: {_some(changed)}")


def _some(names: list[str]) -> str:
    return json.dumps(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@torch.no_grad()
def _subtract_start(model: nn.Module) -> None:
    """Take the adapter's start out of the base, as its initialisation did."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            weight = module.get_base_layer().weight
            delta = module.get_delta_weight(ADAPTER).to(torch.float32)
            weight.data = (weight.data.to(torch.float32) - delta).to(weight.dtype)
