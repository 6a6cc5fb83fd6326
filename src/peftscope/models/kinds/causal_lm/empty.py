"""Base models without weights: a config alone, and the model it describes on the ``meta`` device."""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from peftscope.errors import ModelError, unknown_name
from peftscope.models.builtin import PREFIX, fetch_builtin, find_builtin
from peftscope.models.config_sizes import refuse_absurd
from peftscope.models.published import format_of
from peftscope.models.source import fetch_configs, find_local, refuse_other_folders, refuse_revision

__all__ = ["empty_model", "read_config"]

CONFIG_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ImportError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    StrictDataclassError,
)
"""What ``transformers`` raises for settings that do not fit its config or model classes."""

BUILTIN_SETTINGS: dict[str, dict[str, Any]] = {
    "smollm2-135m": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 9.999999747378752e-06,
        "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    },
}
"""Configs of the built-in models that are downloaded, so that planning for one downloads nothing."""


def read_config(source: str, revision: str | None = None) -> PreTrainedConfig:
    """The config of a causal language model. No weights are read or downloaded.

    Args:
        source: A hub id (``config.json`` is fetched, or taken from the hub's cache), a model folder, the path
            of a ``config.json``, a ``.gguf`` file, or ``builtin:NAME``.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: There is nothing, the hub cannot be reached, or it is no config of a causal language model.
        StoreError: The hub's cache cannot be written.

    >>> read_config("builtin:smollm2-135m").num_hidden_layers
    30
    """
    if source.startswith(PREFIX):
        refuse_revision(source, revision)
        find_builtin(source)
        known = BUILTIN_SETTINGS.get(source.removeprefix(PREFIX))
        return _make_config(source, known) if known else _read_folder(source, fetch_builtin(source))
    local = find_local(source)
    if local is None:
        return _read_folder(source, fetch_configs(source, revision))
    refuse_revision(source, revision)
    if local.is_dir():
        return _read_folder(source, local)
    if local.suffix.lower() == ".gguf":
        return _read_gguf(source, local)
    return _read_json(source, local)


def empty_model(
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype,
    attn_implementation: str | None = None,
    quantization: Literal["nf4", "int8"] | None = None,
) -> PreTrainedModel:
    """The model a config describes, on the ``meta`` device: profile and types of everything, values of nothing.

    It is prepared as ``load`` prepares one for training: ``eval`` mode, no key-value cache, tied weights tied.
    Draws no random numbers and leaves the config as it is.

    Args:
        config: From ``read_config``.
        dtype: Of the weights.
        attn_implementation: Attention kernel; None takes the model's own choice.
        quantization: What its linear layers are packed as; ``dtype`` is then that of all else.

    Raises:
        ModelError: ``transformers`` cannot build it.
        MissingExtra: Quantization needs a package that is not installed.
    """
    config = copy.deepcopy(config)
    config.__dict__.pop("quantization_config", None)  # what was packed when published is counted unpacked
    options = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False, **options)
    except CONFIG_ERRORS as error:
        raise ModelError(f"no {config.model_type} model can be built from this config: {error}") from error
    assert isinstance(model, PreTrainedModel)
    _keep_float32(model, dtype)
    if quantization is not None:
        from peftscope.models.empty_quantized import quantize_empty

        quantize_empty(model, quantization, dtype)
    model.config.use_cache = False
    return model.eval()


def _read_folder(source: str, folder: Path) -> PreTrainedConfig:
    refuse_other_folders(source, folder)
    return _read_json(source, folder / "config.json")


def _read_gguf(source: str, path: Path) -> PreTrainedConfig:
    try:
        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    except (*CONFIG_ERRORS, NotImplementedError, struct.error) as error:
        raise ModelError(f"model {source!r} is not a GGUF file transformers can read: {error}") from error
    # The weights are dequantized when such a model is loaded.
    config.__dict__.pop("quantization_config", None)
    return config


def _read_json(source: str, path: Path) -> PreTrainedConfig:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ModelError(f"model.source: {source!r} holds a JSON {type(settings).__name__}, not a model's config")
        settings, _ = PreTrainedConfig.get_config_dict(str(path))  # decodes what JSON has no word for, such as infinity
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model.source: {source!r} is not a JSON file that can be read: {error}") from error
    return _make_config(source, settings)


def _make_config(source: str, settings: dict[str, Any]) -> PreTrainedConfig:
    """The config of settings as ``config.json`` has them."""
    if "peft_type" in settings:
        base = settings.get("base_model_name_or_path")
        raise ModelError(
            f"model.source: {source!r} is the config of a PEFT adapter, not of a base model; "
            f"name the base it was trained on{f', {base!r}' if base else ''}"
        )
    if "_class_name" in settings or "_diffusers_version" in settings:
        raise ModelError(
            f"model.source: {source!r} is a diffusers config ({settings.get('_class_name')}), not a language model's"
        )
    name = settings.get("model_type")
    if not isinstance(name, str):
        raise ModelError(f"model.source: {source!r} has no model_type; that is not the config.json of a model")
    if name not in CONFIG_MAPPING:
        own = " (its own code, which the config asks for, is not run)" if "auto_map" in settings else ""
        raise ModelError(f"model.source: {source!r}: {_unknown_type(name)}{own}")
    if name == "mistral" and "layer_types" in settings:  # as AutoConfig reads it
        name, settings = "ministral", {**settings, "model_type": "ministral"}
    refuse_absurd(source, settings)
    made_for = settings.get("architectures")
    if made_for is not None and not (isinstance(made_for, list) and all(isinstance(each, str) for each in made_for)):
        raise ModelError(f"model.source: {source!r}: architectures is no list of names")
    format_of(settings.get("quantization_config"))  # raises
    try:
        config = CONFIG_MAPPING[name].from_dict(settings)
    except CONFIG_ERRORS as error:
        raise ModelError(f"model.source: {source!r} has a setting {name} does not take: {error}") from error
    assert isinstance(config, PreTrainedConfig)
    if not _is_causal(config):
        made_for = ", ".join(config.architectures or ()) or name
        what = ", an encoder–decoder," if config.is_encoder_decoder else ""
        raise ModelError(f"model.source: {source!r} ({made_for}){what} is not a causal language model")
    return config


def _unknown_type(name: str) -> str:
    from transformers import __version__

    names = [known for known in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if known in CONFIG_MAPPING]
    said, _, _ = unknown_name("model_type", name, names).partition(" Allowed:")
    return f"{said.rstrip('; ')}; transformers {__version__} does not know it; a newer version may"


def _is_causal(config: PreTrainedConfig) -> bool:
    """Whether a config is that of a decoder with a language model's head, as far as a config can say."""
    head = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    if head is None:
        return False
    made_for = config.architectures or []
    if any(name == head or name.endswith(("ForCausalLM", "LMHeadModel")) for name in made_for):
        return True
    if config.is_encoder_decoder:
        return False
    if any(name.endswith("ForConditionalGeneration") for name in made_for):
        return True  # of which transformers loads what continues a text
    if not all(name.endswith("Model") for name in made_for):
        return False  # a classifier, an encoder, …
    return config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or bool(getattr(config, "is_decoder", False))


def _keep_float32(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Hold in float32 what ``from_pretrained`` does not take to half precision."""
    names = set(model._keep_in_fp32_modules_strict or ()) if dtype in (torch.float16, torch.bfloat16) else set()
    if dtype == torch.float16:
        names |= set(model._keep_in_fp32_modules or ())
    for path, parameter in model.named_parameters():
        if names & set(path.split(".")):
            parameter.data = parameter.data.to(torch.float32)
