"""What every method can do: the table that ``probe`` made by doing it, and what each of its columns means.

The table ships in the package, dated, with the versions it holds for. Nothing in it is written by hand:
``benchmarks/capabilities.py`` makes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from peftscope.errors import MethodRefused

__all__ = [
    "CAPABILITIES",
    "CHECKPOINTING",
    "GROUPS",
    "MERGE",
    "QUANTIZED",
    "SERVERS",
    "TABLE_FILE",
    "Capability",
    "Finding",
    "Table",
    "finding",
    "installed",
    "refusal",
    "require_mergeable",
    "table",
]

Value = Literal["yes", "no", "unknown"]
Group = Literal["kinds", "layers", "quantized", "training", "adapters", "conversion", "serving", "costs"]

TABLE_FILE = Path(__file__).with_name("capabilities.json")
MERGE, CHECKPOINTING = "merge", "checkpointing"
QUANTIZED = ("int8", "nf4", "torchao")
SERVERS = ("vllm", "llama.cpp", "diffusers")
GROUPS: Mapping[Group, str] = {
    "kinds": "trains on",
    "layers": "adapts layers",
    "quantized": "base quantized",
    "training": "training",
    "adapters": "adapters",
    "conversion": "converts to",
    "serving": "served by",
    "costs": "costs",
}


@dataclass(frozen=True, kw_only=True)
class Capability:
    """One thing a method can do or not."""

    name: str
    group: Group
    title: str
    about: str
    """What is done to find out, and when the answer is yes."""


def _kind(name: str, title: str, model: str) -> Capability:
    return Capability(
        name=name,
        group="kinds",
        title=title,
        about=f"trained a few steps on {model}: the outputs move, and the saved adapter gives them again",
    )


def _layer(name: str, title: str) -> Capability:
    return Capability(
        name=name,
        group="layers",
        title=title,
        about=f"{title} named as its target is adapted: gradients reach the adapter and training moves the outputs",
    )


def _quantized(name: str, title: str) -> Capability:
    about = f"trained on the CPU on a Llama whose linear layers are {title}; saved and loaded, the outputs are the same"
    return Capability(name=name, group="quantized", title=title, about=about)


CAPABILITIES: tuple[Capability, ...] = (
    _kind("language-model", "language models", "a small Llama"),
    _kind("classifier", "classifiers", "a small BERT that sorts texts"),
    _kind("encoder-decoder", "encoder–decoders", "a small T5"),
    _kind("diffusion-transformer", "diffusion transformers", "a small FLUX.2 transformer"),
    _kind("unet", "UNets", "a small UNet of Stable Diffusion"),
    _layer("linear", "nn.Linear"),
    _layer("embedding", "nn.Embedding"),
    _layer("conv1d", "nn.Conv1d"),
    _layer("conv2d", "nn.Conv2d"),
    _layer("conv3d", "nn.Conv3d"),
    _layer("transformers-conv1d", "transformers' Conv1D"),
    _layer("multihead-attention", "nn.MultiheadAttention"),
    _layer("experts", "fused experts (Mixtral's)"),
    _quantized("int8", "bitsandbytes' 8 bit"),
    _quantized("nf4", "bitsandbytes' NF4"),
    _quantized("torchao", "torchao's 8-bit weights"),
    Capability(
        name=CHECKPOINTING,
        group="training",
        title="activation checkpointing",
        about="gradients with activation checkpointing are those without it",
    ),
    Capability(
        name="compile",
        group="training",
        title="torch.compile",
        about="gradients of the compiled model are those of the plain one (backend aot_eager; its graph may break)",
    ),
    Capability(
        name="determinism",
        group="training",
        title="repeats exactly",
        about="two trainings of one seed end bit for bit alike",
    ),
    Capability(
        name="modules-to-save",
        group="training",
        title="modules_to_save",
        about="the head, trained whole beside the adapter, moves and comes back from the checkpoint",
    ),
    Capability(
        name="token-rows",
        group="training",
        title="trainable tokens beside it",
        about="two rows of the embedding are trained beside the adapter and no other row moves",
    ),
    Capability(
        name=MERGE,
        group="adapters",
        title="merge",
        about="merged into the base's weights, the outputs are the adapter's",
    ),
    Capability(
        name="unmerge",
        group="adapters",
        title="unmerge",
        about="merged and unmerged in place, base and outputs are what they were",
    ),
    Capability(
        name="reload",
        group="adapters",
        title="save and load",
        about="peft's own from_pretrained on the original base gives the outputs",
    ),
    Capability(
        name="disable",
        group="adapters",
        title="switch off",
        about="with the adapter disabled the outputs are the base's",
    ),
    Capability(
        name="several",
        group="adapters",
        title="several adapters",
        about="two adapters on one base, each switched to, give their own outputs",
    ),
    Capability(
        name="mixed-batches",
        group="adapters",
        title="mixed batches",
        about="rows of one batch go through different adapters, and each row's output is its adapter's",
    ),
    Capability(
        name="weighted",
        group="adapters",
        title="weighted combination",
        about="add_weighted_adapter of two halves adds half of each one's change of the weights",
    ),
    Capability(
        name="hotswap",
        group="adapters",
        title="hot-swap",
        about="hotswap_adapter puts other weights into a loaded adapter, and the outputs are the other's",
    ),
    Capability(
        name="convert",
        group="conversion",
        title="LoRA by peftscope",
        about="the plain LoRA of full rank gives the outputs, on the original base",
    ),
    Capability(
        name="peft-convert",
        group="conversion",
        title="LoRA by peft",
        about="peft's convert_to_lora, of full rank, gives the outputs on the original base",
    ),
    Capability(
        name="vllm",
        group="serving",
        title="vLLM",
        about="the converted adapter of a language model keeps what vLLM demands of one (vLLM itself is not run)",
    ),
    Capability(
        name="llama.cpp",
        group="serving",
        title="llama.cpp",
        about="the converted adapter has a place in llama.cpp's layout (llama.cpp itself is not run)",
    ),
    Capability(
        name="diffusers",
        group="serving",
        title="diffusers",
        about="diffusers loads the converted adapter of an image transformer, and the outputs are the adapter's",
    ),
    Capability(
        name="latency",
        group="costs",
        title="unmerged inference",
        about="time of a forward pass with the adapter, unmerged, in units of the base's",
    ),
    Capability(
        name="adapters-32",
        group="costs",
        title="32 adapters at once",
        about="time of a batch of 32 rows that go through 32 adapters, in units of one adapter for all, and bytes each",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one method and one capability."""

    value: Value
    reason: str = ""
    """Why not, or why it is not known."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """``error``: of outputs, as a share of what the adapter does. ``ratio`` and ``seconds``: times."""

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        found: dict[str, Any] = {"value": self.value, "reason": self.reason or None}
        return {**found, "figures": dict(self.figures)} if self.figures else found


Findings = Mapping[str, Mapping[str, Finding]]
"""By method, by capability."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Findings, and what they hold for."""

    made: str
    """Date, as 2026-11-29."""
    versions: Mapping[str, str]
    """Packages and the versions it was made with."""
    findings: Findings

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Table:
        """From JSON, as ``document`` gives it."""
        findings = {
            method: {
                name: Finding(value=of["value"], reason=of["reason"] or "", figures=of.get("figures", {}))
                for name, of in row.items()
            }
            for method, row in document["capabilities"].items()
        }
        return cls(made=document["made"], versions=document["versions"], findings=findings)

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        rows = {m: {name: of.document() for name, of in row.items()} for m, row in self.findings.items()}
        return {"made": self.made, "versions": dict(self.versions), "capabilities": rows}

    def other_versions(self) -> dict[str, tuple[str, str | None]]:
        """Packages whose installed version is another: the table's and this one; None where it is not installed."""
        found = {}
        for name, known in self.versions.items():
            here = installed(name)
            if here != known:
                found[name] = (known, here)
        return found


def installed(package: str) -> str | None:
    """Version of a package, without what its builder added (``+cpu``); None where it is not there."""
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


@cache
def table() -> Table:
    """The table that ships with the package."""
    return Table.from_document(json.loads(TABLE_FILE.read_text(encoding="utf-8")))


def finding(method: str, capability: str) -> Finding:
    """What is known of a method; unknown where it was not probed.

    >>> finding("prompt-tuning", "merge").value
    'no'
    """
    missing = Finding(value="unknown", reason="not probed")
    return table().findings.get(method, {}).get(capability, missing)


def refusal(method: str, capability: str) -> str | None:
    """Why a method cannot do something; None where it can, or nobody knows."""
    found = finding(method, capability)
    return found.reason if found.value == "no" else None


def require_mergeable(method: str, what: str = "merged") -> None:
    """Refuse a method that was seen not to merge.

    Args:
        method: Its name.
        what: Cannot be done then.

    Raises:
        MethodRefused: With what was seen.
    """
    reason = refusal(method, MERGE)
    if reason is not None:
        seen = f"seen with peft {table().versions['peft']}; 'peftscope probe {method} --model M' tries one like yours"
        raise MethodRefused(f"{method} cannot be {what}: {reason} ({seen})")
