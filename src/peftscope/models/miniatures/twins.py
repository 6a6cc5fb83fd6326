"""A user's model made small: the same classes, layers and names, fewer blocks, fewer words, random weights.

What a method can do hangs on types and names of layers, hardly on their number or on the weights. A model that is small
as it is stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from peftscope.capture import capture
from peftscope.errors import ModelError, unknown_name
from peftscope.models.builtin import PREFIX, fetch_builtin
from peftscope.models.kinds.causal_lm.empty import CONFIG_ERRORS, read_config
from peftscope.models.miniatures.base import Miniature
from peftscope.models.miniatures.images import diffusers_class, of_image_model
from peftscope.models.miniatures.text import WORDS, of_text
from peftscope.models.source import find_configs, read_settings

__all__ = ["twin_of"]

LARGE = 20_000_000
"""Parameters from which on a model is made smaller."""
BLOCKS, FEW_EXPERTS, NARROW = 2, 4, 256
DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers",
          "num_decoder_layers", "num_single_layers")  # fmt: skip
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
WIDTHS = ("hidden_size", "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "d_model",
          "d_ff", "n_embd", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "word_embed_proj_dim")  # fmt: skip
HEADS = ("num_attention_heads", "num_key_value_heads", "num_heads", "n_head", "encoder_attention_heads",
         "decoder_attention_heads")  # fmt: skip
INSIDE = ("transformer/config.json", "unet/config.json", "config.json", "model_index.json")
"""Where the config of a folder lies."""

Settings = dict[str, Any]


def twin_of(source: str, revision: str | None = None) -> Miniature:
    """A small model like a user's. Reads its config; no weights are read or downloaded.

    Args:
        source: A hub id, a folder, the path of a ``config.json``, a GGUF file, or ``builtin:NAME``.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: There is nothing, the hub cannot be reached, or it is no model that can be probed.
        MissingExtra: It draws, and diffusers is not installed.
        StoreError: The hub's cache cannot be written.
    """
    place = _place(source, revision)
    if place.suffix.lower() == ".gguf":
        return _text_twin(source, read_config(source))
    settings = read_settings(place)
    if "_class_name" in settings:
        return _image_twin(source, settings)
    if "model_type" not in settings:
        raise ModelError(f"model.source: {source!r} has no config.json of transformers or diffusers that can be read")
    return _text_twin(source, _text_config(source, settings))


def _place(source: str, revision: str | None) -> Path:
    """The config's file, or a GGUF file."""
    found = fetch_builtin(source) if source.startswith(PREFIX) else find_configs(source, revision)
    if found.is_dir():
        return next((file for name in INSIDE if (file := found / name).is_file()), found)
    return found


def _text_config(source: str, settings: Settings) -> Any:
    name = settings["model_type"]
    if name not in CONFIG_MAPPING:
        raise ModelError(f"model.source: {source!r}: {unknown_name('model_type', str(name), CONFIG_MAPPING)}")
    try:
        return CONFIG_MAPPING[name].from_dict(copy.deepcopy(settings))
    except CONFIG_ERRORS as error:
        raise ModelError(f"model.source: {source!r} has a setting {name} does not take: {error}") from error


def _text_twin(source: str, config: Any) -> Miniature:
    build = _class_for(config)
    name = Path(source).stem if source.endswith(".json") else source.rstrip("/").rpartition("/")[2]
    made = ((partial(_text_miniature, name, small, build), shape) for small, shape in _smaller(config, build))
    return _first_that_runs(source, made)


def _text_miniature(name: str, config: Any, build: Callable[[Any], nn.Module]) -> Miniature:
    return of_text(name, _sort(config), lambda: build(copy.deepcopy(config)))


def _first_that_runs(source: str, made: Iterable[tuple[Callable[[], Miniature], tuple[str, ...]]]) -> Miniature:
    """The first of some small models that reads its inputs.

    Args:
        source: What they stand for.
        made: What makes each, and how it was made smaller.

    Raises:
        ModelError: None of them does; says why the last one did not.
    """
    reason = "none of the sizes tried can be built"
    for make, shape in made:
        found: list[Miniature] = []
        failure = capture(partial(_try, make, found))
        if failure is None:
            return replace(found[0], shape=shape)
        reason = failure.reason
    raise ModelError(f"model.source: {source!r}: no small model of its sort runs: {reason}")


def _try(make: Callable[[], Miniature], found: list[Miniature]) -> None:
    miniature = make()
    _run(miniature)
    found.append(miniature)


def _run(miniature: Miniature) -> None:
    """See that a small model reads its inputs."""
    outputs = miniature.outputs(miniature.make(), miniature.batch(0, 2))
    assert torch.isfinite(outputs).all(), "its outputs are not finite"


def _class_for(config: Any) -> Callable[[Any], nn.Module]:
    """What builds a model of a config: a decoder, an encoder with a decoder, or a classifier of an encoder."""
    sort = _sort(config)
    auto: Any = {
        "language-model": AutoModelForCausalLM,
        "encoder-decoder": AutoModelForSeq2SeqLM,
        "classifier": AutoModelForSequenceClassification,
    }[sort]

    def build(settings: Any) -> nn.Module:
        settings.__dict__.pop("quantization_config", None)
        if sort == "classifier":
            settings.num_labels = 3
            settings.pad_token_id = settings.pad_token_id if settings.pad_token_id is not None else 2
        model = auto.from_config(settings, dtype=torch.float32, trust_remote_code=False)
        assert isinstance(model, nn.Module)
        return model

    return build


def _sort(config: Any) -> str:
    """Which of the sorts of models a config is of; an encoder is taken as a classifier, which it is trained as."""
    made_for = " ".join(config.architectures or ())
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    if made_for.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return "language-model"
    masked = transformers.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    causal = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    is_decoder = config.model_type in causal and config.model_type not in masked
    return "language-model" if is_decoder and "Classification" not in made_for else "classifier"


def _size(build: Callable[[], nn.Module]) -> int | None:
    """Parameters of a model, counted on shapes alone; None where it cannot be built."""
    sizes: list[int] = []

    def count() -> None:
        with torch.device("meta"):
            sizes.append(sum(parameter.numel() for parameter in build().parameters()))

    capture(count)
    return sizes[0] if sizes else None


def _smaller(config: Any, build: Callable[[Any], nn.Module]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Configs to be tried, the smallest first, each with what was changed."""
    size = _size(lambda: build(copy.deepcopy(config)))
    if size is not None and size <= LARGE:
        yield config, ()
        return
    shallow = _shallow(config)
    narrow = _narrow(shallow)
    for small in (narrow, shallow):
        size = _size(partial(build, copy.deepcopy(small)))
        if size is not None and size <= 40 * LARGE:
            yield small, _told(config, small)


def _told(config: Any, small: Any) -> tuple[str, ...]:
    """What was changed, in words."""
    before, after = config.get_text_config(), small.get_text_config()
    names = ("vocab_size", *DEPTHS, *EXPERTS, *WIDTHS, *HEADS)
    pairs = ((name, getattr(before, name, None), getattr(after, name, None)) for name in names)
    return tuple(f"{name} {new} instead of {old}" for name, old, new in pairs if old != new)


def _shallow(config: Any) -> Any:
    """A few blocks of each sort, few words and experts; widths as they are."""
    small = copy.deepcopy(config)
    text = small.get_text_config()
    held = vars(text)
    kinds = held.get("layer_types")
    depth = getattr(text, "num_hidden_layers", None)
    blocks = BLOCKS
    if isinstance(kinds, list) and kinds:
        blocks = max(BLOCKS, *(kinds.index(kind) + 1 for kind in set(kinds)))
    for name, value in list(held.items()):
        if isinstance(value, list) and depth and len(value) == depth and value:
            held[name] = value[:blocks]
    _at_most(text, DEPTHS, blocks)
    for other in vars(small).values():  # towers of other modalities
        if isinstance(other, PreTrainedConfig) and other is not text:
            _at_most(other, DEPTHS, BLOCKS)
    _at_most(text, EXPERTS, FEW_EXPERTS)
    _at_most(text, ("num_experts_per_tok", "n_group", "topk_group", "first_k_dense_replace"), 1)
    _at_most(text, ("vocab_size",), WORDS)
    for name in [key for key in held if key.endswith("token_id")]:
        if isinstance(held[name], int) and held[name] >= WORDS:
            held[name] = 2 if name.startswith("pad") else 1
    return small


def _at_most(config: Any, names: tuple[str, ...], most: int) -> None:
    for name in names:
        value = vars(config).get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > most:
            setattr(config, name, most)


def _narrow(config: Any) -> Any:
    """The same with widths and heads divided."""
    small = copy.deepcopy(config)
    text = small.get_text_config()
    width = getattr(text, "hidden_size", None) or NARROW
    by = 1
    while width // (2 * by) >= NARROW and all(
        vars(text).get(name) is None or vars(text)[name] % (2 * by) == 0 for name in WIDTHS
    ):
        by *= 2
    for name in WIDTHS:
        if isinstance(vars(text).get(name), int):
            setattr(text, name, vars(text)[name] // by)
    for name in HEADS:
        if isinstance(vars(text).get(name), int):
            setattr(text, name, max(1, vars(text)[name] // by))
    return small


def _image_twin(source: str, settings: Settings) -> Miniature:
    name = str(settings["_class_name"])
    if name.endswith("Pipeline"):
        raise ModelError(f"model.source: {source!r}: neither transformer nor UNet lies beside its model_index.json")
    build = diffusers_class(name)
    own = {key: value for key, value in settings.items() if not key.startswith("_")}
    small = {
        **own,
        **{key: min(int(own[key]), 1) for key in ("num_layers", "num_single_layers") if isinstance(own.get(key), int)},
    }
    if isinstance(own.get("num_attention_heads"), int):
        small["num_attention_heads"] = min(own["num_attention_heads"], 4)
    size = _size(lambda: build.from_config(own))
    order = (own, small) if size is not None and size <= LARGE else (small, own)
    made = (
        (
            partial(of_image_model, name, partial(build.from_config, sizes)),
            tuple(f"{key} {sizes[key]} instead of {own[key]}" for key in own if sizes[key] != own[key]),
        )
        for sizes in order
    )
    return _first_that_runs(source, made)
