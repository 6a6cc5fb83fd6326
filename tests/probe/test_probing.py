"""Probing: the table that ships is what is seen here, a break is seen, and a small model stands for the user's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from peft.tuners.lora.layer import Linear
from torch import nn

from peftscope.methods.capabilities import CAPABILITIES, CHECKPOINTING, MERGE, Finding, finding, installed, table
from peftscope.methods.catalog import card, cards
from peftscope.models.miniatures import text
from peftscope.probe import probing
from peftscope.probe.found import attempted, unknown
from peftscope.probe.probing import probe_method, probe_on
from peftscope.probe.training import quantized

BY_NAME = {of.name: of for of in CAPABILITIES}
QUICK = ("language-model", "linear", "conv2d", "embedding", "merge", "unmerge", "reload", "several", "mixed-batches",
         "weighted", "hotswap", "convert", "peft-convert", "disable", "modules-to-save", CHECKPOINTING)  # fmt: skip
SAMPLE = ("lora", "rslora", "pissa", "oft", "ia3", "vera", "prompt-tuning", "prefix-tuning")

pytestmark = pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk")


def _answers(row: Mapping[str, Finding]) -> dict[str, tuple[str, str]]:
    """Without figures, whose last digits hang on the processor."""
    return {name: (found.value, re.sub(r"[\d.]+", "#", found.reason)) for name, found in row.items()}


def test_the_table_holds_every_method_and_every_capability_with_a_reason_for_each_no() -> None:
    probed = {name for name, entry in cards().items() if entry.trains or entry.refused is not None}
    assert table().findings.keys() == probed
    for method, row in table().findings.items():
        assert list(row) == list(BY_NAME), method
        for name, found in row.items():
            assert found.value in ("yes", "no", "unknown")
            assert bool(found.reason) == (found.value != "yes"), (method, name)
            assert "/" not in found.reason.split(" ")[0], "the place of a file differs from machine to machine"


@pytest.mark.parametrize("package", ["peft", "transformers", "torch", "diffusers", "bitsandbytes"])
def test_the_table_holds_for_what_is_installed(package: str) -> None:
    """Where this fails a version is new: run ``benchmarks/capabilities.py`` and look at what changed."""
    assert table().versions[package] == installed(package)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_probed_again_says_what_the_table_says(name: str) -> None:
    seen = _answers(probe_method(card(name), [BY_NAME[each] for each in QUICK]))
    assert seen == _answers({each: finding(name, each) for each in QUICK})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "oft", "p-tuning"])
def test_whole_rows_probed_twice_are_the_table(name: str) -> None:
    wanted = [of for of in CAPABILITIES if of.name != "torchao" or find_spec("torchao")]
    known = _answers(table().findings[name])
    assert _answers(probe_method(card(name), wanted)) == {of.name: known[of.name] for of in wanted}


def test_a_merge_that_a_new_version_breaks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def merge(self: Any, *_: Any, **__: Any) -> None:
        with torch.no_grad():
            self.base_layer.weight += 0.5 * self.get_delta_weight("default")
        self.merged_adapters.append("default")

    monkeypatch.setattr(Linear, "merge", merge)
    found = probe_method(card("lora"), [BY_NAME[MERGE], BY_NAME["convert"]])
    assert found[MERGE].value == "no"
    assert "merged, the outputs are off by" in found[MERGE].reason
    assert found["convert"].value == "no"


def test_an_adapter_that_no_gradient_reaches_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Linear.forward

    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.no_grad():
            result: torch.Tensor = original(self, x, *args, **kwargs)
        return result + 0.0 * x.sum() if x.requires_grad else result

    monkeypatch.setattr(Linear, "forward", forward)
    found = probe_method(card("lora"), [BY_NAME["linear"], BY_NAME["several"]])
    assert found["linear"].value == "no"
    assert found["several"].value == "unknown", "what does not train shows nothing else"
    assert "it does not train on llama" in found["several"].reason


def test_refused_methods_are_unknown_with_the_reason() -> None:
    found = probe_method(card("alora"))
    assert {of.value for of in found.values()} == {"unknown"}
    assert "not run here" in found[MERGE].reason


def test_a_missing_package_leaves_a_capability_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> Finding:
        raise ModuleNotFoundError("No module named 'torchao'")

    assert attempted(lacking) == unknown("ModuleNotFoundError: No module named 'torchao'")


def test_probing_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    probe_method(card("lora"), [BY_NAME["linear"]])
    assert torch.equal(torch.get_rng_state(), before)


def test_on_one_model_only_what_is_about_such_models_is_asked() -> None:
    decoder = text.causal()
    ((_, row),) = probe_on(decoder, [card("lora")], names=("language-model", "unet", "diffusers", "vllm"))
    assert list(row) == ["language-model", "vllm"]


def test_training_after_an_evaluation_of_a_4_bit_base_reaches_every_layer(tmp_path: Any) -> None:
    from peftscope.probe.specimen import Specimen

    specimen = Specimen(text.causal(), card("beft"), tmp_path)
    assert quantized(specimen, "nf4").value == "yes", "its outputs are looked at before it is trained"


def test_every_check_has_a_capability_and_every_capability_a_check() -> None:
    assert {*probing.CHECKS, *probing.MODELS} == set(BY_NAME)


def test_small_models_are_the_same_at_every_call() -> None:
    for name, make in probing.MODELS.items():
        miniature = make()
        one, other = (miniature.make().state_dict() for _ in range(2))
        assert all(torch.equal(one[key], other[key]) for key in one), name
        assert not any(module.p for module in miniature.make().modules() if isinstance(module, nn.Dropout)), name
