"""What a diffusion pipeline does for training and drawing, whatever its family.

Its parts are loaded when they are needed and dropped when they have done their work: the text encoder writes down
what the prompts say and goes, the autoencoder does the same for pictures; what is trained is the denoiser alone.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar, Literal, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from peftscope.capture import is_out_of_memory
from peftscope.errors import MissingExtra, ModelError
from peftscope.models.kinds.base import Batch
from peftscope.models.kinds.text_to_image.files import PipelineFiles
from peftscope.models.quiet import no_progress_bars

__all__ = ["Drawing", "ImagePipeline", "NoiseLevels", "Prompts", "as_bytes", "as_bytes_there"]

Prompts = Mapping[str, Tensor]
"""What a text encoder says of N prompts: tensors with N rows, on the CPU."""

Result = TypeVar("Result")
LOADING_ERRORS = (OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError, SafetensorError)
"""What ``from_pretrained`` raises for a folder, a setting or a device that does not fit."""


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """How noise levels are drawn in training and how their errors are weighted, in diffusers' terms.

    Esser et al. 2024 (arXiv:2403.03206), section 3.1.
    """

    scheme: Literal["none", "logit_normal", "mode", "sigma_sqrt", "cosmap"] = "none"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = 1.29


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How pictures are drawn."""

    side: int
    """Pixels, wide and high."""
    steps: int
    """Of the pipeline's own scheduler."""
    guidance: float
    """Strength of classifier-free guidance; 1 is none (Ho & Salimans 2022, arXiv:2207.12598)."""
    batch_size: int = 1
    """Pictures drawn at once."""


class ImagePipeline(ABC):
    """A pipeline of ``diffusers`` on a device.

    Args:
        files: Where its parts lie.
        device: Where they work.
        dtype: Of the weights.
    """

    class_name: ClassVar[str]
    """In diffusers."""
    denoiser: ClassVar[str]
    """The part that is trained."""
    patch: ClassVar[int] = 1
    """Width and height, in latents, of what the denoiser sees as one."""

    def __init__(self, files: PipelineFiles, *, device: torch.device, dtype: torch.dtype) -> None:
        self.files, self.device, self.dtype = files, device, dtype

    @cached_property
    def step_px(self) -> int:
        """Widths and heights of pictures are multiples of it."""
        blocks = self.files.settings("vae").get("block_out_channels", ())
        return int(2 ** max(0, len(blocks) - 1)) * self.patch

    @abstractmethod
    def cut_prompts(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[str]:
        """Those of which the text encoder does not read the end."""

    @abstractmethod
    def encode_prompts(
        self, prompts: Sequence[str], *, max_tokens: int | None = None, layers: Sequence[int] | None = None
    ) -> Prompts:
        """What the text encoder, loaded for this and dropped, says of prompts.

        Args:
            prompts: Texts; the empty one is what guidance leads away from.
            max_tokens: Longer prompts are cut off there; None for as many as the pipeline takes.
            layers: Of the text encoder, whose states are taken; None for the family's own.
        """

    @abstractmethod
    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """Latents (N, …) of pictures, on the CPU, as the denoiser is to see them without noise.

        Args:
            pixels: (N, 3, H, W) from −1 to 1.
        """

    @abstractmethod
    def batch(self, latents: Tensor, prompts: Prompts, levels: NoiseLevels, generator: torch.Generator) -> Batch:
        """A training batch: noise and its levels are drawn now, from a generator on the CPU.

        Args:
            latents: (B, …) as ``encode_pictures`` gave them.
            prompts: With B rows.
            levels: How much noise.
            generator: Decides both.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Squared error of what the denoiser predicts: sum over all elements, and their number."""

    @abstractmethod
    def predicted(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the denoiser predicts of a batch, of the shape of its latents."""

    @abstractmethod
    def draw(self, model: nn.Module, prompts: Prompts, nothing: Prompts, seeds: Sequence[int], how: Drawing) -> Tensor:
        """Pictures (N, H, W, 3) of 8 bits, on the CPU, drawn at once and by the pipeline's own code.

        Args:
            model: The denoiser, with a method or without, in ``eval`` mode.
            prompts: With N rows.
            nothing: Of the empty prompt, one row.
            seeds: Of the noise each picture begins with; the noise is drawn on the CPU, the same on every device.
            how: Size, steps, guidance.
        """

    def check_levels(self, levels: NoiseLevels) -> None:
        """Refuse ways to draw noise levels that the family's training does not know.

        Raises:
            ModelError: It is one.
        """
        return

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides latents, what the text encoder says, and pictures, beside what is drawn."""
        return {
            "weights": self.files.weights_sha256,
            "settings": self.files.settings_sha256,
            "dtype": str(self.dtype),
            "device": self.device.type,
            "versions": {name: version(name) for name in ("torch", "transformers", "diffusers", "pillow")},
        }

    def settings_of(self, seeds: Sequence[int], how: Drawing) -> dict[str, Any]:
        """What every pipeline of diffusers is told when it draws."""
        return {
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "height": how.side,
            "width": how.side,
            "num_inference_steps": how.steps,
            "guidance_scale": how.guidance,
            "output_type": "pt",
        }

    def load_denoiser(self) -> nn.Module:
        """The part that is trained, on the device, in ``eval`` mode.

        Raises:
            ModelError: It cannot be loaded.
        """
        model: nn.Module = self._part(self.denoiser)
        return model.to(self.device).eval()

    @cached_property
    def autoencoder(self) -> Any:
        """Makes latents of pictures and pictures of latents; on the CPU while nobody needs it."""
        return self._part("vae").eval().requires_grad_(False)

    @cached_property
    def scheduler(self) -> Any:
        """Knows how noise is added, and draws."""
        return self._part("scheduler")

    @contextmanager
    def working(self, part: Any) -> Iterator[Any]:
        """Have a part on the device for a while, and on the CPU again after."""
        part.to(self.device)
        try:
            yield part
        finally:
            part.to("cpu")

    def with_parts(self, *names: str) -> Any:
        """The pipeline as its folder has it, with some of its parts and no others.

        Raises:
            ModelError: One is missing or cannot be loaded.
            MissingExtra: diffusers is not installed.
        """
        left_out = {part: None for part in self.files.parts if part not in names}
        options = {"dtype": self.dtype, "use_safetensors": True, "local_files_only": True, **left_out}
        with no_progress_bars():
            found = self._loaded(lambda: self._class.from_pretrained(self.files.folder, **options))
        for name in names:
            if getattr(found, name, None) is None:
                raise ModelError(f"model {self.files.source!r} has no {name}")
        return found

    def made_of(self, **parts: Any) -> Any:
        """A pipeline of parts that are there, made as its folder says; it says nothing while it draws."""
        known = inspect.signature(self._class.__init__).parameters
        said = {key: value for key, value in self.files.arguments.items() if key in known}
        pipeline = self._loaded(lambda: self._class(**{**said, **parts}))
        if hasattr(pipeline.vae, "enable_slicing"):
            pipeline.vae.enable_slicing()  # pictures are decoded one by one, whatever is drawn at once
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @property
    def _class(self) -> Any:
        try:
            import diffusers
        except ImportError as error:
            raise MissingExtra("diffusers", "images", "an image model") from error
        diffusers.utils.logging.disable_progress_bar()
        found = getattr(diffusers, self.class_name, None)
        if found is None:
            raise ModelError(
                f"model {self.files.source!r}: diffusers {diffusers.__version__} has no {self.class_name}; take a later"
            )
        return found

    def _part(self, name: str) -> Any:
        return getattr(self.with_parts(name), name)

    def attempt(self, what: str, action: Callable[[], Result]) -> Result:
        """Do what fails where settings of the user's do not fit the pipeline.

        Raises:
            ModelError: It failed, for another reason than memory.
        """
        return self._saying(f": {what} failed", action)

    def _loaded(self, load: Callable[[], Any]) -> Any:
        return self._saying(f" cannot be loaded from {self.files.folder}", load)

    def _saying(self, failure: str, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except LOADING_ERRORS as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"model {self.files.source!r}{failure}: {error}") from error


def as_bytes(pictures: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) from 0 to 1, as (N, H, W, 3) of 8 bits on the CPU."""
    return as_bytes_there(pictures).cpu()


def as_bytes_there(pictures: Tensor) -> Tensor:
    """The same on the device they are on."""
    return (pictures.float().permute(0, 2, 3, 1) * 255.0).round().clamp(0, 255).to(torch.uint8)
