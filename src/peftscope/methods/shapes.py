"""Attaching a method for its shapes alone: every tensor on the meta device, no value computed.

Counting parameters and bytes needs names, shapes and types. ``peft`` initialises with values all the same: it draws
permutations on the CPU, decomposes weights, clusters them. Under :func:`shapes_only` factories make meta tensors,
moves to a device go to meta, calls that only set values return at once, and what Python must know of a value is a
neutral constant. The few initialisers that need more than that are replaced by ones of equal shape.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from peftscope.methods.sparse_shapes import frod_product, frod_tensors, shira_update

__all__ = ["left_on_host", "offloaded", "shapes_only", "steps_on_shapes"]

META, CPU = torch.device("meta"), torch.device("cpu")

# Methods that set values and leave shape, type and place as they are.
_VALUES_ONLY = frozenset(
    getattr(Tensor, name)
    for name in (
        *("add_", "addcmul_", "bernoulli_", "clamp_", "clip_", "copy_", "div_", "erfinv_", "exponential_", "fill_"),
        *("index_copy_", "index_fill_", "masked_fill_", "mul_", "neg_", "normal_", "random_", "scatter_", "sign_"),
        *("sub_", "tril_", "triu_", "uniform_", "zero_", "__setitem__", "fill_diagonal_", "geometric_", "cauchy_"),
    )
)


class _ShapesOnly(TorchFunctionMode):
    """Redirects every call of torch to the meta device, and says of every tensor that it is on the CPU.

    ``peft`` takes a tensor on meta for one whose values come later, and leaves out what changes types or makes
    further tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self._factories = _device_constructors()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        answer = _ANSWERS.get(func)
        if answer is not None:
            return answer(*args, **kwargs)
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        if func is Tensor.to:
            args = tuple(META if isinstance(arg, str | torch.device) else arg for arg in args)
        if func in self._factories or "device" in kwargs:
            kwargs = {**kwargs, "device": META}
        if "generator" in kwargs:
            kwargs = {key: value for key, value in kwargs.items() if key != "generator"}
        return _on_meta(func(*args, **kwargs))


def _on_meta(value: Any) -> Any:
    """A value as it is, or its shape where it is a tensor with a place (``torch.from_numpy`` has no ``device``)."""
    if type(value) is not Tensor or value.is_meta:
        return value
    return value.to(META)


def _counts(a: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    return a.new_empty(minlength, dtype=torch.long)


def _whether(answer: bool, of: Callable[..., Tensor]) -> Callable[..., Any]:
    """What a check comes to: nothing is wrong anywhere, everything is right. Along a dimension, a shape."""
    return lambda *args, **named: answer if len(args) == 1 and not named else of(*args, **named)


def _triangle(rows: int, columns: int, offset: int = 0, **named: Any) -> Tensor:
    """Places above a diagonal; torch's own count of them on meta is compiled, which takes milliseconds."""
    return torch.empty(2, sum(min(columns, max(0, columns - row - offset)) for row in range(rows)), dtype=torch.long)


def _scalar(tensor: Tensor) -> Any:
    return True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 1


def _nested(tensor: Tensor) -> Any:
    nest: Any = _scalar(tensor)
    for size in reversed(tensor.shape):
        nest = [nest] * size
    return nest


# Constants: one, so that nothing is divided by zero; true, so that checks (finite, converged, valid) pass.
_ANSWERS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(_VALUES_ONLY, lambda tensor, *rest, **named: tensor),
    Tensor.device.__get__: lambda tensor, *owner: CPU,
    Tensor.cpu: lambda tensor, *rest, **named: _on_meta(tensor),
    Tensor.cuda: lambda tensor, *rest, **named: _on_meta(tensor),
    Tensor.item: _scalar,
    Tensor.tolist: _nested,
    Tensor.__bool__: lambda tensor: True,
    Tensor.__float__: lambda tensor: 1.0,
    Tensor.__int__: lambda tensor: 1,
    Tensor.__index__: lambda tensor: 1,
    torch.equal: lambda *tensors: True,
    torch.allclose: lambda *tensors, **named: True,
    torch.any: _whether(False, torch.any),
    torch.all: _whether(True, torch.all),
    Tensor.any: _whether(False, Tensor.any),
    Tensor.all: _whether(True, Tensor.all),
    torch.bincount: _counts,
    torch.triu_indices: _triangle,
}
"""What stands in for a function: nothing, a constant, or a tensor of the result's shape."""


@contextmanager
def shapes_only() -> Iterator[None]:
    """Within it, ``peft`` attaches a method to a base on meta with the real build's names, shapes and types.

    Values are not to be asked for: what is read of one is a constant. Where data decide a shape (AdaMSS' clusters)
    the fakes share evenly, so that counts, not single shapes, are those of a real build.
    """
    from torch.fx.experimental import _config

    with ExitStack() as stack:
        stack.enter_context(_config.patch(meta_nonzero_assume_all_nonzero=True))  # type: ignore[attr-defined]
        for module, name, fake in _fakes():
            stack.enter_context(mock.patch.object(module, name, fake))
        stack.enter_context(_nothing_collected())
        stack.enter_context(_ShapesOnly())
        yield


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Tens of thousands of small objects and none to be freed: half of the time would go to looking.

    And what earlier work left behind is not finalized in the middle of a step that notes what comes and goes.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def steps_on_shapes() -> Iterator[None]:
    """Within it, a method that was attached under ``shapes_only`` goes through steps on meta.

    What its forward pass selects by value (WaveFT's places inside the padding) is taken to be all; sparse parts, for
    which meta has no kernels, are those of :mod:`peftscope.methods.sparse_shapes`.
    """
    from peft.tuners.frod.layer import Linear as FrodLinear
    from peft.tuners.shira.layer import Linear as ShiraLinear
    from torch.fx.experimental import _config

    with ExitStack() as stack:
        stack.enter_context(_config.patch(meta_nonzero_assume_all_nonzero=True))  # type: ignore[attr-defined]
        stack.enter_context(mock.patch.object(ShiraLinear, "get_delta_weight", shira_update))
        stack.enter_context(mock.patch.object(FrodLinear, "_get_frod_tensors", frod_tensors))
        stack.enter_context(mock.patch.object(FrodLinear, "_sparse_activation_mm", frod_product))
        stack.enter_context(_nothing_collected())
        yield


def left_on_host(model: nn.Module) -> list[Tensor]:
    """Buffers of tuner layers that ``peft`` makes on the CPU and leaves there, whatever device the base is on.

    ``peft`` moves what hangs in the adapters' dictionaries; a buffer of the layer itself (BOFT's permutation, the
    size of a weight) is copied over in every forward pass instead.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = (module for module in model.modules() if isinstance(module, BaseTunerLayer))
    return [buffer for layer in layers for buffer in layer._buffers.values() if buffer is not None]


def offloaded(model: nn.Module) -> list[Tensor]:
    """Weights of the base that a method moves to the host while it trains: FRoD's, which computes with its factors."""
    from peft.tuners.frod.layer import FrodLayer

    layers = (module for module in model.modules() if isinstance(module, FrodLayer))
    return [layer.get_base_layer().weight for layer in layers if any(layer.runtime_offload_base_weight.values())]


def _fakes() -> list[tuple[Any, str, Any]]:
    """Initialisers of ``peft`` that read values or loop over them, and what gives their shapes: owner, name, fake."""
    from peft.tuners.adamss.layer import AdamssLayer
    from peft.tuners.boft import layer as boft
    from peft.tuners.lora import monteclora
    from peft.tuners.shira.layer import ShiraLayer

    return [
        (nn.Module, "to", _only_to_type(nn.Module.to)),
        (torch, "svd_lowrank", _low_rank),
        (AdamssLayer, "update_layer", _attach_adamss),
        (boft.BOFTLayer, "block_butterfly_perm", lambda layer, n, *rest, **named: torch.arange(n)),
        (boft.BOFTLayer, "perm2mat", lambda layer, indices: torch.empty(len(indices), len(indices))),
        (boft, "get_fbd_cuda", functools.cache(boft.get_fbd_cuda)),
        (monteclora.BufferedMontecloraSampler, "_refill_buffer", _fill_samples),
        (ShiraLayer, "update_layer", _with_mask(ShiraLayer)),
    ]


def _low_rank(a: Tensor, q: int = 6, *rest: Any, **named: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Singular vectors and values: (rows, q), (q,) and (columns, q)."""
    rows, columns = a.shape
    return a.new_empty(rows, q), a.new_empty(q), a.new_empty(columns, q)


def _only_to_type(move: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A module is where it is to be, and mostly of its type; going through it is half of some builds."""

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype | Tensor)]
        with torch._C.DisableTorchFunction():
            tensors = [*module.parameters(), *module.buffers()]
            # Not all are: torch.Tensor(...) and its kind ask no one.
            same = all(tensor.is_meta for tensor in tensors) and (
                not given or all(tensor.dtype == given[0] for tensor in tensors if tensor.is_floating_point())
            )
        return module if same else move(module, *args, **kwargs)

    return to


def _attach_adamss(layer: Any, adapter_name: str, r: int, config: Any, **named: Any) -> None:
    """AdaMSS' update of a layer without its decompositions: rows shared evenly among the clusters.

    A cluster smaller than the rank of its subspace gets as much rank as it has rows, so that a real build trains
    less where a layer is so narrow; it trains less, too, with ``use_dynamic_rank``.
    """
    weight = layer.get_base_layer().weight
    rows, columns = weight.shape[0], weight.shape[1] + (layer.get_base_layer().bias is not None)
    directions, count = min(r, rows, columns), min(config.num_subspaces, rows)
    sizes = [rows // count + (i < rows % count) for i in range(count)]
    ranks = [max(1, min(size, config.subspace_rank, directions)) for size in sizes]
    layer.num_subspaces[adapter_name] = count
    layer.train_subspace_index[adapter_name] = list(range(count))
    layer.seg_result[adapter_name] = {i: torch.empty(size, dtype=torch.long) for i, size in enumerate(sizes)}
    layer.scatter_index[adapter_name] = torch.empty(rows, dtype=torch.long)
    layer.adamss_newB[adapter_name] = weight.new_empty(directions, columns)
    shapes = {"adamss_A": [(n, directions) for n in ranks], "adamss_B": list(zip(sizes, ranks, strict=True))}
    for name, of in shapes.items():
        factors = [nn.Parameter(weight.new_empty(shape)) for shape in of]
        getattr(layer, name)[adapter_name] = nn.ParameterList(factors)
    if config.use_asa:
        for name in ("exp_avg_ipt_A", "exp_avg_ipt_B", "exp_avg_unc_A", "exp_avg_unc_B"):
            getattr(layer, name)[adapter_name] = [None] * count
    layer.set_adapter(layer.active_adapters, inference_mode=config.inference_mode)


def _fill_samples(sampler: Any) -> None:
    """MonteCLoRA's store of samples, without drawing them one by one."""
    size, of = sampler.buffer_size, sampler.model
    normal = torch.empty(size, of.num_samples, of.in_features, of.out_features, dtype=of.dtype).unbind()
    wishart = torch.empty(size, of.out_features, of.out_features, dtype=of.dtype).unbind()
    dirichlet = torch.empty(size, of.num_samples, dtype=of.dtype).unbind()
    sampler.buffer = [
        {"z_mvn": a, "z_wishart": b, "z_dirichlet": c} for a, b, c in zip(normal, wishart, dirichlet, strict=True)
    ]
    sampler.index = 0


def _with_mask(layer_class: Any) -> Callable[..., None]:
    """SHiRA counts the ones of its mask; here the mask is a row of as many ones as it trains."""
    update = layer_class.update_layer

    def update_layer(layer: Any, adapter_name: str, mask: Tensor | None, r: int, *rest: Any, **named: Any) -> None:
        ones = None if mask is None else torch.empty(1, r * (layer.in_features + layer.out_features))
        update(layer, adapter_name, ones, r, *rest, **named)

    return update_layer
