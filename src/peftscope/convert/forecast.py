"""What a conversion will take, memory and time, from shapes alone and from how fast this machine multiplies."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from peft import PeftConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from peftscope.capture import capture
from peftscope.convert.changes import precision
from peftscope.convert.conversion import MOMENTS_BYTES
from peftscope.convert.factors import BEYOND, is_iterated
from peftscope.convert.result import Adapter, Wish
from peftscope.errors import ModelError, brief
from peftscope.methods.capabilities import require_mergeable
from peftscope.methods.context import base_inside
from peftscope.methods.shapes import shapes_only
from peftscope.models.device import choose_device, choose_dtype, device_for_float64, synchronize

__all__ = ["Forecast", "Speed", "forecast"]

COPIES = 6
"""Matrices of a layer's shape that are held at once: the copy, the merged one, what it was, the change, its weighted
outputs, and what ``peft`` makes on the way."""
TURNS = 12
"""Of an iteration, as they come to an end by."""
PASSES = 4
"""Over inputs: to fit to them, and to compare the base, the adapter and the LoRA on others."""
DECODED = 3 * 8
"""Steps of decoding, of which each reads the whole model."""
FORWARD_SHARE = 0.4
"""Of the rate of products, what a whole model's pass comes to: it is more than products."""
START_S = 8.0
"""Until libraries are there and everything is attached and written."""
DISK_RATE = 1e9
"""Bytes a second at which weights are read; the base is read twice."""
BATCH_ROWS = 256
"""Of output, in a batch of text."""
PROBE = 1024
"""Side of the matrices by which this machine's speed is taken."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of a device, in operations and bytes a second."""

    single: float
    """Products in the model's type."""
    double: float
    eigen: float
    """Operations of an eigenvalue decomposition, counted as 9 n³."""
    copied: float
    """Bytes."""

    @classmethod
    def of(cls, device: torch.device, dtype: torch.dtype) -> Speed:
        """Measured, in about a second."""
        matrix = torch.randn(PROBE, PROBE, device=device)
        double = matrix.to(device_for_float64(device)).double()
        gram = double @ double.T
        held = torch.zeros(2**26 // 4, device=device)
        return cls(
            single=2 * PROBE**3 / _seconds(device, lambda: matrix.to(dtype) @ matrix.to(dtype)),
            double=2 * PROBE**3 / _seconds(device, lambda: double @ double),
            eigen=9 * PROBE**3 / _seconds(device, lambda: torch.linalg.eigh(gram)[0]),
            copied=2 * held.nbytes / _seconds(device, held.clone),
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a conversion will take."""

    base_bytes: int
    """The base with the adapter on it."""
    moments_bytes: int
    """Second moments of inputs that are held at once."""
    layer_bytes: int
    """Copies of the largest layer."""
    outputs_bytes: int
    """Outputs that are kept to compare with."""
    batch_bytes: int
    """Outputs of a batch, twice."""
    num_layers: int
    """Weights that are changed."""
    convert_s: float
    """To load, to go through the inputs and to find the factors."""
    compare_s: float
    """To compare what was written with the original; the score comes on top."""

    @property
    def peak_bytes(self) -> int:
        """At the most."""
        return self.base_bytes + self.outputs_bytes + self.moments_bytes + max(self.layer_bytes, self.batch_bytes)


def forecast(adapter: Adapter, wish: Wish, *, rows: int, kept_bytes: int, speed: Speed | None = None) -> Forecast:
    """What the conversion of an adapter will take.

    Args:
        adapter: Its config and the base's are read, no weights.
        wish: How large a LoRA.
        rows: Of output (tokens), to fit to and to compare on, each.
        kept_bytes: Of outputs that are kept at the most.
        speed: Of the device; measured where None.

    Raises:
        MethodRefused: The method does not merge.
        ModelError: Shapes of such a base are not known beforehand, or the adapter does not go on it.
        StoreError: The base's config cannot be fetched.
    """
    require_mergeable(adapter.card.name, "converted")
    device = choose_device(adapter.base.device)
    dtype = choose_dtype(adapter.base.dtype, device)
    profile = adapter.kind.profile(adapter.base, dtype)
    if profile is None:
        raise ModelError(f"what the conversion of a {adapter.kind.name} takes is not predicted")
    base = profile.base()
    num_params = sum(parameter.numel() for parameter in base.parameters())
    base_bytes = sum(parameter.nbytes for parameter in base.parameters()) + _adapter_bytes(adapter)
    shapes = list(_shapes(adapter, base))
    speed = speed or Speed.of(device, dtype)
    width = 4 * (profile.output_width or 0)
    kept = min(rows * width, kept_bytes + BATCH_ROWS * width)
    compared = min(rows, kept // width) if width else rows
    passed = 2 * num_params / (FORWARD_SHARE * speed.single)
    decoded = DECODED * base_bytes / speed.copied
    loaded = base_bytes / DISK_RATE
    factors = sum(_seconds_of(shape, wish.most_rank, rows, speed) for shape in shapes)
    return Forecast(
        base_bytes=base_bytes,
        moments_bytes=min(MOMENTS_BYTES, sum(4 * columns**2 for _, columns in shapes)),
        layer_bytes=max((COPIES * _size(out * columns) + _beside(columns) for out, columns in shapes), default=0),
        outputs_bytes=kept,
        batch_bytes=2 * BATCH_ROWS * width,
        num_layers=len(shapes),
        convert_s=START_S + loaded + rows * passed + factors,
        compare_s=loaded + (PASSES - 1) * compared * passed + decoded,
    )


def _adapter_bytes(adapter: Adapter) -> int:
    return sum(path.stat().st_size for path in adapter.folder.glob("*.safetensors"))


def _shapes(adapter: Adapter, base: nn.Module) -> Iterator[tuple[int, int]]:
    """Rows and columns of every weight that is changed."""
    if adapter.card.peft_type is None:
        weights: Iterator[Tensor] = (weight for weight in base.parameters() if weight.ndim > 1)
    else:
        weights = iter(_adapted_weights(adapter, base))
    for weight in weights:
        yield weight.shape[0], weight.numel() // weight.shape[0]


def _adapted_weights(adapter: Adapter, base: nn.Module) -> list[Tensor]:
    """Weights of the base that an adapter is on.

    Raises:
        ModelError: It does not go on this base.
    """
    found: list[Tensor] = []

    def attach() -> None:
        config = PeftConfig.from_pretrained(str(adapter.folder))
        if isinstance(getattr(config, "init_lora_weights", None), str):
            config.init_lora_weights = True  # a start from data or from the weights has the same shapes
        with warnings.catch_warnings(), shapes_only():
            warnings.simplefilter("ignore")  # what peft says of a base without a name
            adapted = get_peft_model(base, config)
        for layer in base_inside(adapted).modules():
            if isinstance(layer, BaseTunerLayer):
                of = (
                    layer.get_param()
                    if hasattr(layer, "get_param")
                    else getattr(layer.get_base_layer(), "weight", None)
                )
                if isinstance(of, Tensor) and of.ndim > 1:
                    found.append(of)

    failure = capture(attach)
    if failure is not None:
        raise ModelError(f"{adapter.folder}: the adapter does not go on this base: {brief(failure.reason)}")
    return found


def _size(count: int) -> int:
    """Bytes of so many entries, as they are computed with."""
    return count * precision(count).itemsize


def _beside(columns: int) -> int:
    """Moments as they are computed with, and their root."""
    return 2 * _size(columns**2)


def _seconds_of(shape: tuple[int, int], most: int, rows: int, speed: Speed) -> float:
    """To merge a weight and to find its factors."""
    out, columns = shape
    moved = 2 * COPIES * _size(out * columns) / speed.copied
    products = 2 * out * columns**2
    small = min(out, columns)
    if is_iterated(out, columns, most=most):
        products += TURNS * 2 * (2 * out * columns + columns**2) * (most + BEYOND)
        eigen = 0
    else:
        products += 2 * out * columns * small + (2 * out * columns**2 if out > columns else 0)
        eigen = 9 * small**3
    return moved + products / speed.double + eigen / speed.eigen + 2 * rows * columns**2 / speed.single


def _seconds(device: torch.device, work: Callable[[], Tensor]) -> float:
    """Of one go, the best of three."""
    best = float("inf")
    for _ in range(3):
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best
