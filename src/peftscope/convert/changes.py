"""What a trained adapter changes of the base it began from, weight by weight.

A change is the merged weight less the *original* one, whatever the method made of the base on the way: some take
a part out of it when they begin. One layer at a time is copied and computed with in double precision, the largest (a
vocabulary's, experts') in single.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from peftscope.errors import MethodRefused
from peftscope.methods.build import merging
from peftscope.methods.card import Card
from peftscope.methods.context import ADAPTER, base_inside
from peftscope.models.device import device_for_float64

__all__ = ["Change", "Originals", "Whole", "changes", "exact", "kept_originals", "precision"]

Form = Literal["linear", "embedding", "conv", "experts"]

DOUBLE_UP_TO = 2**26
"""Entries of a weight that is computed with in double precision."""
NEGLIGIBLE = 1e-9
"""Share of a weight's norm below which a difference is rounding."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is added to one weight of the base."""

    module: str
    """Full name of the module in the base."""
    parameter: str
    """Its parameter; ``weight`` but for fused experts."""
    form: Form
    delta: Tensor
    """(out, in) of a linear layer, (rows, width) of an embedding, (out, in, height, width) of a convolution,
    (experts, out, in) of fused experts; in the type ``precision`` says."""
    turned: bool = False
    """Whether the base holds the weight the other way round, (in, out)."""

    @property
    def name(self) -> str:
        """Full name of the weight."""
        return f"{self.module}.{self.parameter}"


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A changed parameter that LoRA has no factors for: a bias, a norm's weight, what was trained as it is."""

    module: str
    """Full name of the module in the base."""
    parameter: str
    value: Tensor
    """As it is now, on the CPU."""

    @property
    def name(self) -> str:
        """Full name of the parameter."""
        return f"{self.module}.{self.parameter}"


def precision(count: int) -> torch.dtype:
    """Type in which a weight of so many entries is computed with."""
    return torch.float64 if count <= DOUBLE_UP_TO else torch.float32


def exact(weight: Tensor) -> Tensor:
    """A weight in the type it is computed with, where that can be computed."""
    return weight.to(device_for_float64(weight.device)).to(precision(weight.numel()))


Originals = Mapping[str, Tensor]
"""Weights of the base as they were before the method touched it, by name; looked up one at a time."""


@contextmanager
def kept_originals(base: nn.Module, card: Card) -> Iterator[Originals]:
    """The base's weights as they are now, where the method is going to change them; biases, where it is not.

    They lie in a temporary file and are read one by one, so that memory holds the base once.
    """
    if not card.changes_base:
        yield {
            name: tensor.detach().cpu().clone() for name, tensor in base.named_parameters() if name.endswith(".bias")
        }
        return
    with TemporaryDirectory(prefix="peftscope-") as folder:
        path = Path(folder) / "originals.safetensors"
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in base.named_parameters()}, path)
        yield _InFile(path, _aliases(base))


def _aliases(model: nn.Module) -> dict[str, str]:
    """Other names of shared weights, and the first of each."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {name: first.setdefault(id(weight), name) for name, weight in named}


class _InFile(Mapping[str, Tensor]):
    """Tensors of a file, each read when it is asked for."""

    def __init__(self, path: Path, aliases: Mapping[str, str]) -> None:
        self.path, self.aliases = path, aliases
        with safe_open(path, framework="pt") as file:
            self.names = list(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        known = self.aliases.get(name, name)
        if known not in self.names:
            raise KeyError(name)
        with safe_open(self.path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(known)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def changes(model: nn.Module, card: Card, originals: Originals) -> Iterator[Change | Whole]:
    """Every change of a weight, one after another; then what is changed whole.

    Args:
        model: The base with the trained adapter on it.
        card: Of its method.
        originals: As ``kept_originals`` gave them.

    Raises:
        MethodRefused: ``peft`` does not merge a layer, or the method makes another network of the base.
    """
    if card.peft_type is None:
        yield from _of_whole(model, originals)
        return
    adapted: Any = model
    inner, config = base_inside(model), adapted.peft_config[ADAPTER]
    if getattr(config, "layer_replication", None):
        raise MethodRefused("layer_replication makes another network of the base, which no plain LoRA holds")
    done: set[str] = set()
    for path, layer in inner.named_modules():
        if any(path.startswith(f"{other}.") for other in done):
            continue
        if isinstance(layer, BaseTunerLayer | ModulesToSaveWrapper | TrainableTokensWrapper):
            done.add(path)
        if isinstance(layer, BaseTunerLayer):
            yield from _of_layer(path, layer, originals)
        elif isinstance(layer, TrainableTokensWrapper):
            yield from _of_layer(path, layer.token_adapter, originals)
        elif isinstance(layer, ModulesToSaveWrapper):
            for name, parameter in layer.modules_to_save[ADAPTER].named_parameters():
                yield Whole(module=path, parameter=name, value=parameter.detach().cpu())
        else:
            yield from _of_bias(path, layer, originals)


def _of_bias(path: str, module: nn.Module, originals: Originals) -> Iterator[Whole]:
    """A bias that was trained where nothing else is."""
    bias, before = getattr(module, "bias", None), originals.get(f"{path}.bias")
    if isinstance(bias, nn.Parameter) and before is not None and not bias.detach().cpu().equal(before):
        yield Whole(module=path, parameter="bias", value=bias.detach().cpu())


def _of_whole(model: nn.Module, originals: Originals) -> Iterator[Change | Whole]:
    """Of fully fine-tuned weights."""
    for path, module in model.named_modules():
        now = dict(module.named_parameters(recurse=False))
        before = {name: originals[f"{path}.{name}"] for name in now}
        yield from _compared(path, module, before, {name: tensor.detach() for name, tensor in now.items()})


def _of_layer(path: str, layer: BaseTunerLayer, originals: Originals) -> Iterator[Change | Whole]:
    wrapped = layer.get_base_layer()
    names = [name for name, _ in wrapped.named_parameters(recurse=False)]
    before = {name: originals.get(f"{path}.{name}", getattr(wrapped, name)).detach() for name in names}
    merged = _merged(path, layer)
    after = {name: parameter.detach() for name, parameter in merged.named_parameters(recurse=False)}
    yield from _compared(path, wrapped, before, after)


def _merged(path: str, layer: BaseTunerLayer) -> nn.Module:
    """A copy of the layer's base with the adapter in its weights, in the precision they are computed with.

    Raises:
        MethodRefused: ``peft`` does not merge it.
    """
    assert isinstance(layer, nn.Module)
    copied: Any = copy.deepcopy(layer)
    copied = copied.to(device_for_float64(next(layer.parameters()).device))
    copied = copied.to(precision(max(weight.numel() for weight in layer.parameters())))
    with merging(path):
        if hasattr(copied, "unload_and_optionally_merge_module"):
            found = copied.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
        else:
            copied.merge()
            found = copied.get_base_layer()
    assert isinstance(found, nn.Module)
    return found


def _compared(
    path: str, module: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> Iterator[Change | Whole]:
    """The change of each weight of a module."""
    for name, value in after.items():
        delta = exact(value)
        size = 0.0
        if name in before:
            old = before[name].to(delta.device).to(delta.dtype)
            size = float(old.norm())
            delta = delta - old
            del old
        if float(delta.norm()) <= NEGLIGIBLE * size:
            continue
        form = _form(module, name, delta)
        if form is None:
            yield Whole(module=path, parameter=name, value=value.cpu())
            continue
        turned = form in ("linear", "experts") and _is_turned(module, form)
        if turned:
            delta = delta.transpose(-1, -2)
        yield Change(module=path, parameter=name, form=form, delta=delta, turned=turned)


def _form(module: nn.Module, name: str, delta: Tensor) -> Form | None:
    if isinstance(module, nn.modules.conv._ConvNd):
        plain = module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"
        return "conv" if name == "weight" and plain else None  # peft's convolutions know no others
    if delta.ndim == 3 or (delta.ndim == 2 and _is_parameter_alone(module)):
        return "experts"
    if name != "weight":
        return None
    if isinstance(module, nn.Embedding):
        return "embedding"
    return "linear" if delta.ndim == 2 else None


def _is_parameter_alone(module: nn.Module) -> bool:
    """Whether a matrix is no layer's that ``peft`` knows, but a parameter that is adapted by its own name."""
    return not isinstance(module, nn.Linear | nn.Embedding | Conv1D)


def _is_turned(module: nn.Module, form: Form) -> bool:
    """Whether weights are held as (in, out): transformers' Conv1D, and some experts."""
    if form == "experts":
        return bool(getattr(module, "is_transposed", False))
    return isinstance(module, Conv1D)
