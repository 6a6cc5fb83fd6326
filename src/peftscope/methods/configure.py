"""From a method, its card and a base to the ``peft`` config it is built with."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from peftscope.errors import MethodRefused, SpecError, unknown_name
from peftscope.methods import targets as find
from peftscope.methods.card import Card
from peftscope.methods.catalog import knob_names
from peftscope.methods.config_class import config_class, config_fields
from peftscope.methods.context import BuildContext
from peftscope.methods.coverage import Coverage
from peftscope.methods.hooks import adalora_schedule
from peftscope.schema.study import MethodSpec

__all__ = ["INIT_KNOBS", "configure", "plain_config", "target_problems"]

INIT_KNOBS = frozenset({"init_kv_cache_prefix"})
"""Knobs of an initialisation, which no ``peft`` config has a field for."""

# Configs with a random state of their own. Left at a constant, two seeds of a study would share their random
# projections or masks, and the spread between seeds would be too small.
_SEED_FIELDS = frozenset({"projection_prng_key", "random_loc_seed", "random_seed", "projection_seed", "proj_seed"})


def configure(
    base: nn.Module, method: MethodSpec, card: Card, context: BuildContext, covered: Coverage | None = None
) -> Any:
    """Make the ``peft`` config of a method on a base.

    Args:
        base: The model.
        method: The method, and what is to differ from its card.
        card: The method's.
        context: Circumstances of the build.
        covered: What the policy for targets adapts of the base, where that is known already.

    Raises:
        SpecError: A knob does not exist or is what makes the method itself.
        MethodRefused: The base has nothing to adapt, or lacks what the method needs.
        ValueError: ``peft`` refuses the values (and other errors of ``peft``'s).
    """
    if problems := target_problems(base, method):
        raise MethodRefused("; ".join(problems))
    if method.peft_config is not None:
        from peftscope.methods.adapter_config import config_from_published

        # copied: peft extends lists such as modules_to_save in place, and the study's own must stay what they are
        config = config_from_published(deepcopy(method.peft_config), getattr(base, "config", None), context.warn)
        if config.task_type not in (None, context.task_type):
            context.warn(
                f"its task type {config.task_type} is of another kind of model; trained as {context.task_type}"
            )
        config.task_type = context.task_type
        if card.peft_type == "ADALORA" and config.total_step != context.max_steps:
            _stretch_schedule(config, context)
        return config

    if card.virtual_tokens and context.task_type is None:
        raise MethodRefused(f"{card.name}: virtual tokens need a language model, and this model is none")
    assert card.peft_type is not None
    known = config_fields(card.peft_type)
    _check_knobs(method, card)
    values = {k: v for k, v in _merged(card.knobs, method.knobs).items() if k not in INIT_KNOBS}
    values = _merged(card.config, values)
    values["task_type"] = context.task_type
    values.update(_seeds(known, method, context))
    values.update(_target_fields(base, method, card, known, covered))
    values.update(_layout_fields(base, method, card, values, context))
    return config_class(card.peft_type)(**deepcopy(values))


def target_problems(base: nn.Module, method: MethodSpec) -> list[str]:
    """What is wrong with the targets that a study or a published config names: those that nothing in the base bears."""
    if method.peft_config is None:
        return [] if method.targets is None else find.unmatched(base, method.targets)
    modules, parameters = (method.peft_config.get(name) or () for name in ("target_modules", "target_parameters"))
    return [*find.unmatched(base, modules), *find.unmatched(base, parameters)]


def _stretch_schedule(config: Any, context: BuildContext) -> None:
    """Lay a published AdaLoRA schedule over another number of steps; as written it would never end, or too early."""
    written = {name: getattr(config, name) for name in ("tinit", "tfinal", "total_step")}
    factor = context.max_steps / config.total_step
    config.tinit, config.tfinal = int(config.tinit * factor), int(config.tfinal * factor)
    config.total_step = context.max_steps
    context.warn(f"adalora: its schedule {written} is stretched to the {context.max_steps} steps of this training")


def plain_config(config: Any) -> dict[str, Any]:
    """A config as JSON holds it: sets as sorted lists, members of enums as their values."""
    plain = _plain(config.to_dict())
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _check_knobs(method: MethodSpec, card: Card) -> None:
    fixed = {key for key in card.config if key not in card.knobs}
    allowed = {*knob_names(card.name), *(INIT_KNOBS & card.knobs.keys())}
    problems = []
    for knob in method.knobs:
        if knob in fixed:
            problems.append(f"knob {knob!r} is {card.config[knob]!r} in {card.name!r}: that is what it is")
        elif knob not in allowed:
            problems.append(unknown_name(f"knob of {card.name!r}", knob, allowed))
        elif knob in card.config and method.knobs[knob] is None:
            problems.append(f"knob {knob!r} cannot be switched off: that is what makes it {card.name!r}")
    if problems:
        raise SpecError(f"method {method.title}", problems)


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``under``; mappings are merged, so that a nested setting keeps its siblings."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **value} if both else value
    return merged


def _seeds(known: frozenset[str], method: MethodSpec, context: BuildContext) -> dict[str, int]:
    return {name: context.seed for name in sorted(known & _SEED_FIELDS) if name not in method.knobs}


def _target_fields(
    base: nn.Module, method: MethodSpec, card: Card, known: frozenset[str], covered: Coverage | None
) -> dict[str, Any]:
    """Fields that say which weights are adapted."""
    if method.targets is not None:
        if "target_modules" not in known:
            raise SpecError(f"method {method.title}", [f"{card.name!r} has no target modules to set"])
        chosen = find.resolved(base, method.targets)
    elif card.targets in ("own", "none", "attention") or "target_modules" not in known:
        return {}
    else:
        chosen = find.Resolved(modules=_by_policy(base, card, covered))
    values: dict[str, Any] = {"target_modules": chosen.modules}
    if chosen.parameters and "target_parameters" not in known:
        raise MethodRefused(
            f"{card.name} cannot adapt experts whose weights are fused into one tensor; lora and most of its variants "
            "can. Take 'experts' and their names out of its targets"
        )
    if chosen.parameters:
        values["target_parameters"] = chosen.parameters
    listed = _listed(base, chosen.modules)
    if "feedforward_modules" in known:
        everything, feedforward = find.feedforward_targets(base, listed)
        values["feedforward_modules"] = feedforward
        if not isinstance(chosen.modules, str):
            values["target_modules"] = everything
    transposed = [m for name in listed for m in _modules(base, name) if isinstance(m, Conv1D)]
    if "fan_in_fan_out" in known and transposed and "fan_in_fan_out" not in method.knobs:
        values["fan_in_fan_out"] = True
    return values


def _by_policy(base: nn.Module, card: Card, covered: Coverage | None) -> list[str]:
    if card.targets == "norms":
        return find.norm_targets(base)
    if card.targets == "embeddings":
        return find.embedding_targets(base)
    return find.linear_targets(base, covered)


def _listed(base: nn.Module, chosen: str | list[str]) -> list[str]:
    """Names behind a choice of modules; a string is a pattern over full names."""
    return chosen if isinstance(chosen, list) else find.matching_modules(base, chosen)


def _modules(base: nn.Module, target: str) -> Iterable[nn.Module]:
    return (base.get_submodule(name) for name in find.matched_modules(base, [target]))


def _layout_fields(
    base: nn.Module, method: MethodSpec, card: Card, values: dict[str, Any], context: BuildContext
) -> dict[str, Any]:
    """Fields that follow from the base or the length of the training unless a user sets them."""
    if card.peft_type == "ADALORA":
        own = adalora_schedule(context.max_steps)
        return {key: method.knobs.get(key, value) for key, value in own.items()}
    if card.peft_type == "ADAPTION_PROMPT" and "adapter_layers" not in values:
        layers = getattr(base.config, "num_hidden_layers", None)
        if layers is None:
            raise MethodRefused(f"{card.name}: is put on the layers of a language model, and this base has none")
        return {"adapter_layers": layers}
    if card.peft_type == "TRAINABLE_TOKENS" and "token_indices" not in values:
        return {"token_indices": _marker_tokens(base, context)}
    if card.config.get("use_bdlora") is not None:
        return {"use_bdlora": _block_sides(values)}
    return {}


def _marker_tokens(base: nn.Module, context: BuildContext) -> list[int]:
    """Ids of the tokens that open and close a text."""
    found: list[int] = []
    for source in (
        context.processor,
        getattr(base, "generation_config", None),
        getattr(base, "config", None),
    ):
        for name in ("bos_token_id", "eos_token_id"):
            value = getattr(source, name, None)
            found += value if isinstance(value, list) else [] if value is None else [value]
        if found:
            return sorted(set(found))
    raise MethodRefused("trainable-tokens: the model names no begin or end token; set the knob token_indices")


def _block_sides(values: dict[str, Any]) -> dict[str, Any]:
    """Which matrix of BD-LoRA is block-diagonal: A where a layer is split by rows when served, else B."""
    settings = dict(values["use_bdlora"])
    targets = values["target_modules"]
    if isinstance(targets, str):
        return settings
    writers, others = find.residual_writers(targets)
    settings.setdefault("target_modules_bd_a", writers)
    settings.setdefault("target_modules_bd_b", others)
    return settings
