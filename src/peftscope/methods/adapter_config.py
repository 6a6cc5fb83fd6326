"""From an ``adapter_config.json`` as others publish it to our card's name and to a config for our model.

Published configs repeat facts of the model they were made for (width, depth, token ids). On another model
those are set anew, each with a warning; all else is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from peftscope.errors import MethodRefused, unknown_name
from peftscope.methods.card import Card
from peftscope.methods.catalog import cards
from peftscope.methods.config_class import config_class, config_fields

__all__ = ["benchmark_optimizer", "config_from_published", "method_name"]

Warn = Callable[[str], None]

OWN_OPTIMIZERS = {"lora-fa": "lora-fa", "lora+": "lora-plus", "riemannian": "lora-riemannian"}
"""Optimizers of the public benchmark that make a method of LoRA -> ours."""

# LoRA variants whose cards fix no field of the config, since they cannot run here.
_TELLTALES = {"alora_invocation_tokens": "alora", "arrow_config": "arrow"}

# What peft writes into a config about where it came from.
_PROVENANCE = ("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision")

_SHARE_KEPT = 0.9
"""Share of the directions OSF freezes where the published number leaves nothing to train; as on its card."""


def benchmark_optimizer(card: Card) -> str | None:
    """What the public benchmark calls a card's own optimizer; None for the usual one.

    >>> from peftscope.methods.catalog import card
    >>> benchmark_optimizer(card("lora-plus")), benchmark_optimizer(card("oft"))
    ('lora+', None)
    """
    return next((theirs for theirs, ours in OWN_OPTIMIZERS.items() if ours == card.optimizer), None)


def method_name(raw: Mapping[str, Any] | None, training_params: Mapping[str, Any]) -> str:
    """Name of the card a published experiment belongs to.

    The most specific card wins whose fixed fields, optimizer and initialisation all agree with the config; a
    config that fits none gets its type's plain card.

    Args:
        raw: ``adapter_config.json``; None is full fine-tuning.
        training_params: The experiment's training parameters, in the benchmark's names.

    Raises:
        MethodRefused: There is no such ``peft`` type.

    >>> method_name({"peft_type": "LORA", "use_dora": True}, {})
    'dora'
    >>> method_name(None, {})
    'full'
    """
    if raw is None:
        return "full"
    peft_type = _known_type(raw)
    for key, name in _TELLTALES.items():
        if raw.get(key):
            return name
    optimizer = OWN_OPTIMIZERS.get(str(training_params.get("optimizer_type")))
    with_text = training_params.get("init_kv_cache_prefix") is not None
    candidates = [card for card in cards().values() if card.peft_type == peft_type]
    if peft_type == "LORA":
        candidates = [card for card in candidates if card.optimizer == optimizer]
    if peft_type == "PREFIX_TUNING":
        candidates = [card for card in candidates if (card.init == "kv-prefix") == with_text]
    fitting = [card for card in candidates if _fits(card, raw) and card.name not in _TELLTALES.values()]
    if fitting:
        return max(fitting, key=_specificity).name
    return next(card.name for card in cards().values() if card.peft_type == peft_type and card.variant_of is None)


def config_from_published(raw: Mapping[str, Any], base_config: Any, warn: Warn) -> Any:
    """Make the ``peft`` config of a published ``adapter_config.json`` for a model.

    Args:
        raw: The file's content.
        base_config: Config of the base model, as transformers holds it; None where there is none.
        warn: Takes one line for every field that is dropped or set anew.

    Raises:
        MethodRefused: There is no such ``peft`` type, or a field cannot be made to fit the model.
        ValueError: ``peft`` refuses the values (and other errors of ``peft``'s).
    """
    peft_type = _known_type(raw)
    known = config_fields(peft_type)
    values = {key: value for key, value in raw.items() if key in known and key not in _PROVENANCE}
    values.pop("peft_type", None)
    for key in sorted(set(raw) - known):
        if raw[key]:  # empty or false means that the old version did not use it either
            warn(f"{peft_type}: the installed peft knows no field {key!r}; {raw[key]!r} is not used")
    if base_config is not None:
        text_config = base_config.get_text_config() if hasattr(base_config, "get_text_config") else base_config
        _fit_to_model(peft_type, values, text_config, warn)
    return config_class(peft_type)(**values)


def _known_type(raw: Mapping[str, Any]) -> str:
    from peft import PeftType

    peft_type = str(raw.get("peft_type"))
    if peft_type not in PeftType.__members__:
        raise MethodRefused(unknown_name("peft_type", peft_type, PeftType.__members__))
    return peft_type


@lru_cache
def _field_defaults(peft_type: str) -> dict[str, Any]:
    return {field.name: field.default for field in fields(config_class(peft_type))}


def _fits(card: Card, raw: Mapping[str, Any]) -> bool:
    assert card.peft_type is not None
    defaults = _field_defaults(card.peft_type)
    for key, wanted in card.config.items():
        given = raw.get(key, defaults.get(key))
        if isinstance(wanted, dict):  # a sub-config: that it is there makes the variant, not what it says
            same = bool(given)
        elif wanted == "pissa":  # also "pissa_niter_16", its fast form
            same = isinstance(given, str) and given.startswith("pissa")
        else:
            same = given == wanted or getattr(given, "value", given) == wanted
        if not same:
            return False
    return True


def _specificity(card: Card) -> tuple[bool, int, bool]:
    """Variants before plain cards; of two combined variants the one that needs more than its config."""
    return card.variant_of is not None, len(card.config), card.init is not None or card.changes_base


def _fit_to_model(peft_type: str, values: dict[str, Any], base_config: Any, warn: Warn) -> None:
    from peft import PromptLearningConfig

    if issubclass(config_class(peft_type), PromptLearningConfig):
        _fit_prompt(peft_type, values, base_config, warn)
    elif peft_type == "ADAPTION_PROMPT":
        _fit_depth(values, base_config, warn)
    elif peft_type == "TRAINABLE_TOKENS":
        _fit_tokens(values, base_config, warn)
    elif peft_type == "OSF" and hasattr(base_config, "hidden_size"):  # diffusers' configs name no such width
        _fit_ranks(values, base_config, warn)


def _fit_prompt(peft_type: str, values: dict[str, Any], base_config: Any, warn: Warn) -> None:
    """Leave the fields that repeat model dimensions to ``peft``, which reads them off the model.

    With grouped-query attention a saved prefix holds the width and number of the key-value heads, a config
    from before its training those of the whole model. Either is right.
    """
    width, heads = int(base_config.hidden_size), int(base_config.num_attention_heads)
    kv_heads = _num_kv_heads(base_config)
    repeated = {
        "token_dim": (width, _head_dim(base_config) * kv_heads),
        "num_layers": (base_config.num_hidden_layers,),
        "num_attention_heads": (heads, kv_heads),
        "num_transformer_submodules": (2 if getattr(base_config, "is_encoder_decoder", False) else 1,),
    }
    # The last one is what peft makes of a prefix, the first what it makes of a prompt.
    shown = -1 if peft_type in ("PREFIX_TUNING", "CARTRIDGE") else 0
    old_width = values.get("token_dim")
    for key, right in repeated.items():
        given = values.pop(key, None)
        if given is not None and given not in right:
            warn(f"{peft_type}: {key} is {right[shown]} on this model, not {given}")
    encoder = values.get("encoder_hidden_size")
    if encoder is not None and encoder == old_width and old_width not in repeated["token_dim"]:
        values["encoder_hidden_size"] = None
        warn(f"{peft_type}: encoder_hidden_size {encoder} repeated the other model's width; now this one's")


def _fit_depth(values: dict[str, Any], base_config: Any, warn: Warn) -> None:
    depth, given = base_config.num_hidden_layers, values.get("adapter_layers")
    if given is None or given > depth:
        values["adapter_layers"] = depth
        if given is not None:
            warn(f"ADAPTION_PROMPT: adapter_layers is {depth} on this model, which has no {given} layers")


def _fit_tokens(values: dict[str, Any], base_config: Any, warn: Warn) -> None:
    given = list(values.get("token_indices") or ())
    if given and max(given) < base_config.vocab_size:
        return
    own: list[int] = []
    for name in ("bos_token_id", "eos_token_id"):
        found = getattr(base_config, name, None)
        own += found if isinstance(found, list) else [] if found is None else [found]
    if not own:
        raise MethodRefused(
            f"TRAINABLE_TOKENS: token_indices {given} are not in this model's vocabulary of "
            f"{base_config.vocab_size}, and its config names no begin or end token to take instead"
        )
    values["token_indices"] = sorted(set(own))
    warn(f"TRAINABLE_TOKENS: token_indices {given} became this model's begin and end, {sorted(set(own))}")


def _fit_ranks(values: dict[str, Any], base_config: Any, warn: Warn) -> None:
    """OSF trains what is above the kept rank; a rank from a wider model would leave nothing."""

    def fitted(rank: Any, where: str, width: int) -> Any:
        if not _is_absolute(rank) or rank < width:
            return rank
        warn(f"OSF: {where} {rank} leaves nothing to train at width {width}; {_SHARE_KEPT} of it is taken")
        return _SHARE_KEPT

    pattern = values.get("rank_pattern")
    if pattern:
        values["rank_pattern"] = {
            name: fitted(rank, f"rank_pattern of {name}", _narrow_side(name, base_config))
            for name, rank in pattern.items()
        }
    narrowest = min(_narrow_side(name, base_config) for name in ("k_proj", "q_proj", "up_proj"))
    values["effective_rank"] = fitted(values.get("effective_rank"), "effective_rank", narrowest)


def _is_absolute(rank: Any) -> bool:
    """Whether a rank of OSF's is a number of directions, not a share of them."""
    return rank is not None and not (isinstance(rank, float) and 0 < rank <= 1)


def _head_dim(base_config: Any) -> int:
    own = getattr(base_config, "head_dim", None)
    return int(own or base_config.hidden_size // base_config.num_attention_heads)


def _num_kv_heads(base_config: Any) -> int:
    return int(getattr(base_config, "num_key_value_heads", None) or base_config.num_attention_heads)


def _narrow_side(name: str, base_config: Any) -> int:
    """Shorter side of the linear layers a name stands for."""
    hidden = int(base_config.hidden_size)
    if "k_proj" in name or "v_proj" in name:
        return min(hidden, _head_dim(base_config) * _num_kv_heads(base_config))
    if "q_proj" in name or "o_proj" in name:
        return min(hidden, _head_dim(base_config) * int(base_config.num_attention_heads))
    return min(hidden, int(getattr(base_config, "intermediate_size", None) or hidden))
