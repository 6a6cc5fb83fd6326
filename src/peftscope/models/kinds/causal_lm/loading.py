"""Loading a base model: any source, any device, quantized or not, with the hash of what was really loaded."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from peftscope.capture import is_out_of_memory
from peftscope.errors import ModelError
from peftscope.models.device import choose_device, choose_dtype
from peftscope.models.kinds.base import LoadedModel
from peftscope.models.kinds.causal_lm.empty import read_config
from peftscope.models.quantization import hush_casts, keep_trainable, quantization_config, quantization_kind
from peftscope.models.quiet import no_progress_bars
from peftscope.models.source import Located, locate
from peftscope.schema.study import ModelSpec

__all__ = ["load", "load_tokenizer", "original_tokenizer"]

LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, SafetensorError)
"""What ``from_pretrained`` raises for a folder, a setting or a device that does not fit."""


def load(spec: ModelSpec, *, for_training: bool = True) -> LoadedModel:
    """Load a base model and its tokenizer. The model is in ``eval`` mode, as ``transformers`` leaves it.

    For training the key-value cache is switched off in the model's config (decoding switches it on for
    itself), and a quantized base is frozen. Nothing else is done to a quantized base: the casts of
    ``peft.prepare_model_for_kbit_training`` would give it a float32 embedding and head that the
    same model in bfloat16 has not, and checkpointing is the training loop's business.

    Args:
        spec: What to load.
        for_training: False freezes all of the model and leaves the cache on.

    Raises:
        ModelError: It cannot be found, reached, read, quantized, or put on the device asked for.
        MissingExtra: A package its quantization needs is not installed.
        StoreError: The cache cannot be written.
    """
    device = choose_device(spec.device)
    dtype = choose_dtype(spec.dtype, device)
    config = quantization_config(spec.quantization, dtype)
    located = locate(spec)
    model = _load_model(spec, located, device=device, dtype=dtype, config=config)
    kind = quantization_kind(model)
    if kind == "int8":
        hush_casts()
    keep_trainable(model)
    if not for_training or kind is not None:
        model.requires_grad_(False)
    model.config.use_cache = not for_training
    _forget_sampling(model)
    tokenizer = _read_tokenizer(located)
    return LoadedModel(
        model=model,
        processor=tokenizer,
        num_positions=tokenizer.num_positions,
        revision=located.revision,
        weight_files=tuple(path.name for path in located.files),
        weights_sha256=located.weights_sha256,
        settings_sha256=located.settings_sha256,
        dtype=dtype,
        device=device,
        quantization=kind,
        num_params=int(model.num_parameters()),
        width=getattr(model.config.get_text_config(), "hidden_size", None),
    )


def load_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The tokenizer of a base model alone; a model that is not on this machine yet is fetched whole.

    Its ``listed_ends`` are the ids with which the model's author ends an answer, ``model_max_length`` and
    ``num_positions`` (None where there is no hard limit) the model's, and ``num_embeddings`` the rows of its embedding.

    Raises:
        ModelError: The model cannot be found or reached, or has no tokenizer.
        StoreError: The cache cannot be written.
    """
    return _read_tokenizer(locate(spec))


def original_tokenizer(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The tokenizer as its files have it, to be written elsewhere.

    Raises:
        ModelError: The model cannot be found or reached, or has no tokenizer.
    """
    return _as_published(locate(spec))


def _load_model(
    spec: ModelSpec, located: Located, *, device: torch.device, dtype: torch.dtype, config: Any | None
) -> PreTrainedModel:
    options: dict[str, Any] = {"dtype": dtype, "device_map": {"": str(device)}}
    if config is not None:
        options["quantization_config"] = config
    if spec.attn_implementation is not None:
        options["attn_implementation"] = spec.attn_implementation
    try:
        with no_progress_bars():
            model, report = AutoModelForCausalLM.from_pretrained(
                located.folder,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"model {spec.source!r} cannot be loaded from {located.folder}: {error}") from error
    absent = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    if absent:
        # transformers would go on with random numbers in their place.
        raise ModelError(
            f"model {spec.source!r}: {len(absent)} weights of {type(model).__name__} are not in the "
            f"checkpoint or have another shape there: {', '.join(absent[:3])}{', …' if absent[3:] else ''}. "
            "Is it a causal language model?"
        )
    assert isinstance(model, PreTrainedModel)
    return model


def _as_published(located: Located) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(located.folder, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise ModelError(f"model {located.source!r} has no tokenizer that can be loaded: {error}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def _read_tokenizer(located: Located) -> PreTrainedTokenizerBase:
    tokenizer = _as_published(located)
    tokenizer.listed_ends = _listed_ends(located)
    _tell_limits(tokenizer, read_config(str(located.folder)).get_text_config())
    return tokenizer


def _tell_limits(tokenizer: PreTrainedTokenizerBase, config: Any) -> None:
    """Put the model's limits on its tokenizer: rows of the embedding, and positions.

    Beyond its positions a model with rotary ones still runs, if badly; one that learned them (``num_positions``) fails.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int):
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    is_rotary = any(getattr(config, name, None) is not None for name in ("rope_parameters", "rope_theta"))
    tokenizer.num_positions = None if is_rotary or not isinstance(positions, int) else positions
    tokenizer.num_embeddings = getattr(config, "vocab_size", None)


def _listed_ends(located: Located) -> tuple[int, ...]:
    """Ids that the model's author lists as ends of an answer; none where there is no list, or an unreadable one."""
    try:
        listed = json.loads((located.folder / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError, AttributeError):
        return ()
    return tuple(int(token) for token in (listed if isinstance(listed, list) else [listed]) if token is not None)


def _forget_sampling(model: PreTrainedModel) -> None:
    """Drop the author's decoding defaults (temperature, penalties, …); they would leak into greedy search."""
    kept = model.generation_config
    if kept is None:
        return
    model.generation_config = GenerationConfig(
        bos_token_id=kept.bos_token_id, eos_token_id=kept.eos_token_id, pad_token_id=kept.pad_token_id
    )
