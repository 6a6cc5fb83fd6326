"""Initialisations that need more than a config: training data or a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.errors import MethodRefused
from peftscope.methods.card import Card
from peftscope.methods.context import ADAPTER, BuildContext, Inputs, device_of
from peftscope.methods.shapes import shapes_only
from peftscope.schema.study import MethodSpec

__all__ = ["INITIALISATIONS", "attach"]

Batch = dict[str, Tensor]

MOST_BATCHES = 3_000
"""Batches after which EVA is given up: some take hundreds, and directions that are equally strong never settle."""


def attach(base: nn.Module, config: Any, card: Card, method: MethodSpec, context: BuildContext) -> Any:
    """Put the method of a config on a base, with the initialisation its card asks for.

    Raises:
        MethodRefused: The initialisation needs data or a text that are not there or do not suffice.
        ValueError: ``peft`` refuses (and other errors of ``peft``'s).
    """
    if device_of(base) == "meta":
        return _attached_on_meta(base, config, card, context)
    if card.init is None:
        return _attached(base, config, context)
    knobs = {**card.knobs, **method.knobs}
    return INITIALISATIONS[card.init](base, config, knobs, context)


def _attached(base: nn.Module, config: Any, context: BuildContext, *, empty: bool = False) -> Any:
    from peft import get_peft_model

    return get_peft_model(base, config, autocast_adapter_dtype=context.autocast_adapter_dtype, low_cpu_mem_usage=empty)


def _attached_on_meta(base: nn.Module, config: Any, card: Card, context: BuildContext) -> Any:
    """Shapes without values, for counting: an initialisation that sets values alone is left out."""
    field, plain = _plain_start(config)
    if field is None:
        with shapes_only():
            return _attached(base, config, context)
    start = getattr(config, field)
    if start == "eva":
        context.warn(f"{card.name}: counted as if every layer kept its rank; the data will share ranks out")
    setattr(config, field, plain)
    with shapes_only():
        # MiCA is a LoRA variant, to be named to be had: what it computes from a weight is left out this way.
        model = _attached(base, config, context, empty=start == "mica")
    setattr(model.peft_config[ADAPTER], field, start)
    return model


def _plain_start(config: Any) -> tuple[str | None, Any]:
    """The field of a config that asks for values from weights, data or a text, and what it says without."""
    if getattr(config, "prompt_tuning_init", None) == "TEXT":
        return "prompt_tuning_init", "RANDOM"
    start = getattr(config, "init_lora_weights", None)
    return ("init_lora_weights", start if start == "mica" else True) if isinstance(start, str) else (None, None)


def _inputs(name: str, context: BuildContext) -> Inputs:
    if context.inputs is None:
        raise MethodRefused(f"{name}: its initialisation is not defined for this kind of model")
    return context.inputs


def _batches(name: str, base: nn.Module, context: BuildContext) -> list[Batch]:
    if context.calibration is None:
        raise MethodRefused(f"{name}: the initialisation needs batches of training data")
    device = next(base.parameters()).device
    _inputs(name, context)  # whatever starts from batches needs to know how the base takes them
    batches = [{key: value.to(device) for key, value in batch.items()} for batch in context.calibration()]
    if not batches:
        raise MethodRefused(f"{name}: the initialisation got no batch of training data")
    return batches


@contextmanager
def _evaluating(base: nn.Module) -> Iterator[None]:
    was_training = base.training
    base.eval()
    try:
        yield
    finally:
        base.train(was_training)


def _eva(base: nn.Module, config: Any, knobs: dict[str, Any], context: BuildContext) -> Any:
    """Incremental SVD of the inputs of each layer (EVA, section 3)."""
    from peft import initialize_lora_eva_weights
    from peft.tuners.lora.eva import forward_fn_dict
    from peft.tuners.tuners_utils import cast_adapter_dtype

    inputs, batches = _inputs("eva", context), _batches("eva", base, context)
    needed = round(config.r * config.eva_config.rho)
    # peft repeats the batches until every SVD has converged: with too few tokens in each that is for ever.
    enough = [batch for batch in batches if _usable_positions(batch, inputs, config) >= needed]
    if not enough:
        most = max(_usable_positions(batch, inputs, config) for batch in batches)
        raise MethodRefused(
            f"eva: a batch needs {needed} labelled tokens (r × rho) and the longest has {most}; "
            "lower r or rho, or take larger batches"
        )
    numbers = count(1)

    def forward(model: nn.Module, batch: Batch) -> Any:
        if next(numbers) > MOST_BATCHES:
            raise MethodRefused(
                f"eva: its directions have not settled after {MOST_BATCHES} batches; "
                "take larger batches, or lower r, rho or tau"
            )
        return forward_fn_dict(model, batch)

    model = _attached(base, config, context, empty=True)
    with _evaluating(base):
        initialize_lora_eva_weights(model, enough, forward_fn=forward, show_progress_bar=False)
    # peft makes the layers anew, in the base's type.
    cast_adapter_dtype(model, ADAPTER, context.autocast_adapter_dtype)
    return model


def _usable_positions(batch: Batch, inputs: Inputs, config: Any) -> int:
    eva = config.eva_config
    return inputs.num_positions(batch, ignored_label=eva.label_mask_value if eva.use_label_mask else None)


def _corda(base: nn.Module, config: Any, knobs: dict[str, Any], context: BuildContext) -> Any:
    """SVD of each weight times the covariance of its inputs (CorDA, section 3.2)."""
    inputs, batches = _inputs("corda", context), _batches("corda", base, context)
    from peft.tuners.lora.corda import preprocess_corda

    def run() -> None:
        with torch.no_grad():
            # peft's hook takes one sequence at a time, and padding would enter the covariance.
            for batch in batches:
                for sample in inputs.samples(batch):
                    base(**sample)

    with _evaluating(base):
        preprocess_corda(base, config, run_model=run)
    return _attached(base, config, context)


def _lora_ga(base: nn.Module, config: Any, knobs: dict[str, Any], context: BuildContext) -> Any:
    """SVD of the gradient of each weight (LoRA-GA, section 3)."""
    from peft.tuners.lora.loraga import preprocess_loraga

    batches = _batches("lora-ga", base, context)
    if any("labels" not in batch for batch in batches):
        raise MethodRefused("lora-ga: the batches for its initialisation have no labels to take a gradient from")

    def step() -> None:
        for batch in batches:
            base(**batch).loss.backward()

    # peft counts gradients in backward hooks; torch warns of those where no input has a gradient.
    base.enable_input_require_grads()  # type: ignore[operator]
    try:
        preprocess_loraga(base, config, step)
    finally:
        base.disable_input_require_grads()  # type: ignore[operator]
    return _attached(base, config, context)


def _kv_prefix(base: nn.Module, config: Any, knobs: dict[str, Any], context: BuildContext) -> Any:
    """Keys and values the base computes for a text, as the start of a trained prefix."""
    from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values

    if context.inputs is None or context.processor is None:
        raise MethodRefused("the prefix starts from a text, which this base cannot read")
    cache = context.inputs.cache_of(base, str(knobs.get("init_kv_cache_prefix")), config.num_virtual_tokens)
    model = _attached(base, config, context)
    initialize_kv_prefix_from_past_key_values(model, adapter_name=ADAPTER, past_key_values=cache)
    return model


INITIALISATIONS: dict[str, Callable[[nn.Module, Any, dict[str, Any], BuildContext], Any]] = {
    "eva": _eva,
    "corda": _corda,
    "lora-ga": _lora_ga,
    "kv-prefix": _kv_prefix,
}
"""Attaches a method with its own initialisation: base, config, knobs, context."""
