"""Building a model with a method, and proving that it is the method asked for."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.capture import is_out_of_memory
from peftscope.errors import MethodRefused, PeftscopeError
from peftscope.methods import capabilities, catalog
from peftscope.methods.card import Card
from peftscope.methods.configure import configure, plain_config
from peftscope.methods.context import ADAPTER, BuildContext, device_of, quantization_of
from peftscope.methods.coverage import Coverage, LeftOut, coverage, module_sizes, share_of
from peftscope.methods.hooks import PENALTIES, STEP_HOOKS, without_own_loss_terms
from peftscope.methods.initialisation import attach
from peftscope.methods.optimizers import OptimizerSettings, freeze_for, make_optimizer
from peftscope.methods.targets import adapted_modules
from peftscope.schema.study import MethodSpec

__all__ = ["REFUSALS", "BuildContext", "Built", "build", "merging", "refusing", "starts_from_data"]

REFUSALS = (
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    AssertionError,
    AttributeError,
    IndexError,
)
"""What ``peft`` raises when a method does not fit a base; anything else is a defect and must show as one."""


@dataclass(kw_only=True)
class Built:
    """A base with a method on it, ready to train."""

    model: nn.Module
    card: Card
    tuner_class: str
    """Class of the tuner or prompt encoder; ``full`` and ``base`` where there is none."""
    adapted_modules: tuple[str, ...]
    """Full names of the base's modules that are adapted; empty for prompt learning and for the base."""
    peft_config: dict[str, Any] | None
    """The config as ``peft`` holds it, JSON-able."""
    adapted_share: float
    """Share of the base's weights that lie in these; of fused experts all that their module holds."""
    follows_policy: bool = False
    """Whether the targets are those of the one policy, and nobody named others."""
    left_out: tuple[LeftOut, ...] = ()
    """What the policy leaves out of this base, where it is followed."""
    num_trainable_params: int
    num_total_params: int
    quantization: str | None = None
    after_step: Callable[[int], None] | None = None
    """Call with the step, counted from 1, after ``optimizer.step()`` and before the gradients are cleared."""
    penalty: Callable[[], Tensor] | None = None
    """Term beside the mean training loss: once a step, between the forward and the backward pass of one of
    its micro-batches (MonteCLoRA's hangs on that pass). Never part of a measured loss."""
    initial_adapter: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """Adapter weights as they began, where the base was changed by them and they cannot be computed again."""

    def make_optimizer(self, settings: OptimizerSettings) -> torch.optim.Optimizer:
        """The card's own optimizer, or AdamW over what requires a gradient."""
        return make_optimizer(self.card.optimizer, self.model, settings)

    def hook_tensors(self) -> list[Tensor]:
        """Tensors the call after a step keeps beside the model's parameters and buffers (importance scores)."""
        if self.after_step is None:
            return []
        holders = [*self.model.modules(), getattr(_tuner(self.model), "rankallocator", None)]
        values = [value for holder in holders if holder is not None for value in vars(holder).values()]
        kept = [item for value in values if isinstance(value, dict) for item in value.values()]
        return [item for item in kept if isinstance(item, Tensor) and not isinstance(item, nn.Parameter)]

    def merge(self, *, unchecked: bool = False) -> nn.Module:
        """A plain model without adapter that gives the same outputs.

        The merged model is a copy, so that the adapter stays usable: while both exist, the base is in memory
        twice. Full fine-tuning and the base have nothing to merge and return the model itself.

        Args:
            unchecked: Try also what the table of capabilities says gives other outputs.

        Raises:
            MethodRefused: The method cannot merge, or cannot into a quantized base.
        """
        if self.card.peft_type is None:
            return self.model
        if not unchecked:
            capabilities.require_mergeable(self.card.name, "merged into the base's weights")
        if self.quantization is not None:
            raise MethodRefused(
                f"{self.card.name}: merging into {self.quantization} weights rounds the result, so the "
                "outputs would change"
            )
        with merging(self.card.name):
            _forget_graph(self.model)
            merged = copy.deepcopy(self.model).merge_and_unload()  # type: ignore[operator]
        assert isinstance(merged, nn.Module)
        return merged


def build(base: nn.Module, method: MethodSpec, context: BuildContext) -> Built:
    """Put a method on a base, in place, on the device the base is on.

    The base must not be used by itself afterwards. Random numbers come from the global generator: the caller
    seeds it just before.

    Raises:
        SpecError: The method does not exist or a knob of it is wrong.
        MethodRefused: The method does not fit this base or these settings; the message is the reason.
    """
    card = catalog.card(method.name)
    if card.refused is not None:
        raise MethodRefused(f"{card.name}: {card.refused}")
    quantization = quantization_of(base)
    if not context.unchecked:
        _require_trainable(card, quantization, is_checkpointing=_is_checkpointing(base))
    if card.peft_type is None:
        return _without_peft(base, card, quantization)
    follows_policy = method.peft_config is None and method.targets is None and card.follows_policy
    covered = coverage(base) if follows_policy else None
    sizes, names = module_sizes(base), frozenset(name for name, _ in base.named_modules())
    model = _attach(base, method, card, context, covered)
    adapted = adapted_modules(model)
    _assert_own(model, card, exact=method.peft_config is None)
    freeze_for(card.optimizer, model)
    _freeze_bookkeeping(model)
    if quantization is not None:
        _keep_types(model)
    trainable, total = model.get_nb_trainable_parameters()
    step_hook = STEP_HOOKS[card.step_hook] if card.step_hook else None
    penalty = PENALTIES[card.penalty](model) if card.penalty else None
    without_own_loss_terms(model, card)
    return Built(
        model=model,
        card=card,
        tuner_class=_class_name(_tuner(model)),
        adapted_modules=adapted,
        peft_config=plain_config(model.peft_config[ADAPTER]),
        adapted_share=share_of([name if name in names else name.rpartition(".")[0] for name in adapted], sizes),
        follows_policy=follows_policy,
        left_out=() if covered is None else covered.left_out,
        num_trainable_params=int(trainable),
        num_total_params=int(total),
        quantization=quantization,
        after_step=step_hook(model) if step_hook else None,
        penalty=penalty,
        initial_adapter=_unrepeatable_start(model),
    )


def _is_checkpointing(base: nn.Module) -> bool:
    """Whether a base recomputes activations; ``transformers`` called it gradient checkpointing before."""
    names = ("is_activation_checkpointing", "is_gradient_checkpointing")
    return next((bool(getattr(base, name)) for name in names if hasattr(base, name)), False)


def _attach(base: nn.Module, method: MethodSpec, card: Card, context: BuildContext, covered: Coverage | None) -> Any:
    """Configure and attach; what peft raises becomes a refusal, what it warns of goes to ``context.warn``."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            config = configure(base, method, card, context, covered)
            if hasattr(config, "progressbar"):
                config.progressbar = False  # the run has its own
            model = attach(base, config, card, method, context)
    except PeftscopeError:
        raise
    except REFUSALS as error:
        if is_out_of_memory(error) or _is_ours(error):
            raise
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise MethodRefused(f"{card.name} does not fit this model: {reason}{_what_to_do(card)}") from error
    for warning in caught:
        if not issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
            context.warn(f"{card.name}: {warning.message}")
    return model


@contextmanager
def refusing(card: Card, applies: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """What libraries raise inside becomes a refusal of a method: it does not fit this model.

    Args:
        card: The method's; what the base itself raises, without one, stays as it is.
        applies: Whether it still can be the method's; asked when something was raised.

    Raises:
        MethodRefused: In place of what was raised.
    """
    try:
        yield
    except PeftscopeError:
        raise
    except REFUSALS as error:
        if card.peft_type is None or not applies() or is_out_of_memory(error) or _is_ours(error):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise MethodRefused(f"{card.name} does not run on this model: {reason}{_what_to_do(card)}") from error


@contextmanager
def merging(what: str) -> Iterator[None]:
    """What ``peft`` raises inside becomes a refusal: something cannot be merged.

    Args:
        what: A method or a layer, by its name.

    Raises:
        MethodRefused: In place of what was raised.
    """
    try:
        yield
    except REFUSALS as error:
        if is_out_of_memory(error):
            raise
        raise MethodRefused(f"{what} cannot be merged: {error}") from error


def _what_to_do(card: Card) -> str:
    other = "name other targets, or leave" if card.follows_policy else "leave"
    return f"; {other} it out of the methods"


def _forget_graph(model: nn.Module) -> None:
    """Detach tensors that modules keep from their last forward pass: a part of a graph cannot be copied."""
    for module in model.modules():
        for name, value in {**vars(module), **dict(module.named_buffers(recurse=False))}.items():
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by a line of ours: then it is a defect and no refusal of peft's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("peftscope")


def _freeze_bookkeeping(model: nn.Module) -> None:
    """AdaLoRA keeps its current rank as a parameter, which ``peft`` un-freezes when the adapter changes device."""
    for name, parameter in model.named_parameters():
        if ".ranknum." in name:
            parameter.requires_grad_(False)


def _keep_types(model: nn.Module) -> None:
    """Have layers on a quantized base give what they were given: IA3's there compute in float32 and leave it so, which
    the head of a model in half precision does not take.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.register_forward_hook(_as_given)


def _as_given(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """An output in the type of the input."""
    given = next((value for value in args if isinstance(value, Tensor) and value.is_floating_point()), None)
    return output.to(given.dtype) if given is not None and isinstance(output, Tensor) else output


def _require_trainable(card: Card, quantization: str | None, *, is_checkpointing: bool) -> None:
    """Refuse what was seen not to train; of formats that were not tried, peft says itself which layers it supports."""
    reason = None if quantization is None else capabilities.refusal(card.name, quantization)
    if reason is not None:
        tried = [name for name in capabilities.QUANTIZED if capabilities.finding(card.name, name).value == "yes"]
        raise MethodRefused(
            f"{card.name} does not train on a base quantized as {quantization} "
            f"(supported: {', '.join(tried) or 'none'}): {reason}"
        )
    reason = capabilities.refusal(card.name, capabilities.CHECKPOINTING) if is_checkpointing else None
    if reason is not None:
        raise MethodRefused(
            f"{card.name} does not train with activation checkpointing: {reason}; set train.checkpointing: false, and "
            "train.memory: plain or fast"
        )


def _without_peft(base: nn.Module, card: Card, quantization: str | None) -> Built:
    """Full fine-tuning and the untouched base."""
    for parameter in base.parameters():
        parameter.requires_grad_(card.targets == "all")
    counts = [parameter.numel() for parameter in base.parameters()]
    owners = [name for name, module in base.named_modules() if any(True for _ in module.parameters(recurse=False))]
    trains = card.targets == "all"
    return Built(
        model=base,
        card=card,
        tuner_class=card.name,
        adapted_modules=tuple(owners) if trains else (),
        peft_config=None,
        adapted_share=1.0 if trains else 0.0,
        num_trainable_params=sum(counts) if trains else 0,
        num_total_params=sum(counts),
        quantization=quantization,
    )


def _tuner(model: Any) -> nn.Module:
    """What makes the method: the tuner around the base, or the prompt encoder."""
    tuner = model.prompt_encoder[ADAPTER] if model.peft_config[ADAPTER].is_prompt_learning else model.base_model
    assert isinstance(tuner, nn.Module)
    return tuner


def _class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _assert_own(model: Any, card: Card, *, exact: bool) -> None:
    """The method asked for is the one built: type, tuner class, fixed fields and LoRA variant.

    ``exact`` is off for a config taken as it is, which may be a variant the card does not describe.
    """
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.lora import LoraLayer

    config = model.peft_config[ADAPTER]
    expected = PEFT_TYPE_TO_TUNER_MAPPING[PeftType(card.peft_type)]
    assert config.peft_type == card.peft_type, f"{card.name}: asked {card.peft_type}, got {config.peft_type}"
    assert isinstance(_tuner(model), expected), f"{card.name}: {_class_name(_tuner(model))} is not {expected}"
    # An initialisation that strayed to another device is slow at best.
    places = {p.device for p in model.get_base_model().parameters()}
    strayed = [name for name, p in model.named_parameters() if p.requires_grad and p.device not in places]
    assert not strayed, f"{card.name}: {strayed[:3]} not where the base is"
    if not exact:
        return
    for key, value in card.config.items():
        built = getattr(config, key)
        same = built is not None if isinstance(value, dict) else built == value
        assert same, f"{card.name}: {key} is {built!r}, not {value!r}"
    if card.peft_type == "LORA":
        wanted = _is_variant(config)
        layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        variants = [ADAPTER in layer.lora_variant for layer in layers]
        if wanted and not all(variants):
            raise MethodRefused(f"{card.name}: peft builds plain layers in place of the method's own on this base")
        assert wanted or not any(variants), f"{card.name}: variant in {variants}"


def _is_variant(config: Any) -> bool:
    """Whether ``peft`` has a layer class of its own for a LoRA config, as its fields' metadata declare."""
    from dataclasses import fields

    for entry in fields(config):
        value = getattr(config, entry.name)
        if entry.metadata.get("is_lora_variant") and value:
            return True
        if entry.name == "init_lora_weights" and value in entry.metadata.get("lora_variants", ()):
            return True
    return False


def _unrepeatable_start(model: Any) -> dict[str, Tensor]:
    """Adapter weights that were subtracted from the base and depend on data or chance.

    Those of CorDA, LoRA-GA and fast PiSSA. PiSSA and OLoRA subtract too, but what they subtract follows from
    the base alone.
    """
    if device_of(model) == "meta" or not starts_from_data(model.peft_config[ADAPTER]):
        return {}
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def starts_from_data(config: Any) -> bool:
    """Whether a config subtracts a start from the base that data or chance decide on (``initial_adapter``)."""
    start = getattr(config, "init_lora_weights", None)
    return isinstance(start, str) and (start in ("corda", "lora_ga") or start.startswith("pissa_niter_"))
