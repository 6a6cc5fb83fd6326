"""An adapter becomes a LoRA in a folder of its own, checked against the original; or nothing is left and we say why."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import peftscope as ps
from peftscope.errors import DataError, MethodRefused, ModelError, SpecError, StoreError
from peftscope.methods import checkpoint
from peftscope.methods.build import build
from peftscope.schema.study import MethodSpec
from small_methods import train
from tiny import tiny_llama, tiny_tokenizer

Trained = Callable[..., Path]


@pytest.fixture
def trained(
    context: Callable[..., Any], batch: Callable[..., dict[str, Tensor]], tiny_folder: Path, tmp_path: Path
) -> Trained:
    """Trains a method on the model of ``tiny_folder`` and gives the adapter's folder."""

    def make(name: str = "oft", *, steps: int = 5, **knobs: Any) -> Path:
        torch.manual_seed(1)
        built = build(tiny_llama(), MethodSpec(name=name, knobs=knobs), context())
        train(built, batch, 1e-2, range(steps))
        folder = tmp_path / f"adapter-{name}"
        checkpoint.save(built, folder, base=str(tiny_folder))
        return folder

    return make


@torch.no_grad()
def _outputs(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    outputs: Tensor = model.eval()(input_ids=inputs["input_ids"]).logits
    return outputs


def _left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".") or path.name == "out"]


def test_what_was_written_is_a_plain_lora_that_peft_loads_and_that_gives_the_same(
    trained: Trained, batch: Callable[..., dict[str, Tensor]], tmp_path: Path
) -> None:
    adapter = trained("oft")
    found = ps.convert(adapter, tmp_path / "out", rank=128)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["lora_alpha"] == config["r"] == found.conversion.rank
    assert not any(config.get(name) for name in ("rank_pattern", "alpha_pattern", "use_rslora", "use_dora"))
    assert config["bias"] == "none"
    original = PeftModel.from_pretrained(tiny_llama(), str(adapter))
    plain = PeftModel.from_pretrained(tiny_llama(), str(tmp_path / "out"))
    wanted = _outputs(original, batch(0))
    effect = (wanted - _outputs(tiny_llama(), batch(0))).norm()
    assert (_outputs(plain, batch(0)) - wanted).norm() < 1e-3 * effect
    assert found.stands
    assert found.conversion.output_error is not None
    assert found.conversion.output_error < 1e-3
    assert found.conversion.figures["agreement"] == 1.0
    assert found.conversion.base_figures["kl"] > found.conversion.figures["kl"]
    told = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert told["max_lora_rank"] == found.conversion.rank
    assert told["verdict"] == "equivalent"


def test_a_small_rank_misses_something_and_says_so(trained: Trained, tmp_path: Path) -> None:
    found = ps.convert(trained("oft"), tmp_path / "out", rank=1)
    assert found.conversion.output_error is not None
    assert 0.1 < found.conversion.output_error < 1.0
    assert found.conversion.verdict == "differs"
    assert not found.stands
    assert "beyond 10 %" in found.text()
    assert json.loads((tmp_path / "out" / "conversion.json").read_text())["verdict"] == "differs"


def test_the_least_rank_that_comes_near_enough_is_taken(trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    wanted = ps.convert(adapter, tmp_path / "near", max_error=0.3).conversion
    assert wanted.rank is not None
    assert 1 < wanted.rank < 32
    assert wanted.output_error is not None
    assert wanted.output_error < 0.4  # on other text than it was found on
    below = ps.convert(adapter, tmp_path / "below", rank=wanted.rank - 1).conversion
    assert below.output_error is not None
    assert below.output_error > 0.25
    ranks = [ps.convert(adapter, tmp_path / f"{e}", energy=e).conversion.rank or 0 for e in (0.5, 0.9, 0.999)]
    assert ranks == sorted(set(ranks))


def test_a_rank_stabilised_lora_comes_out_with_its_scale_in_the_weights(
    trained: Trained, batch: Callable[..., dict[str, Tensor]], tmp_path: Path
) -> None:
    adapter = trained("rslora", r=16)
    found = ps.convert(adapter, tmp_path / "out")
    assert found.conversion.rank == 16
    weights = load_file(tmp_path / "out" / "adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    delta = (
        weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"]
    )  # as a loader that knows no scale has it
    original = PeftModel.from_pretrained(tiny_llama(), str(adapter))
    layer = original.base_model.model.model.layers[0].self_attn.q_proj
    assert torch.allclose(delta, layer.get_delta_weight("default"), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Unsupported layer type")
def test_merged_is_the_whole_model_with_the_adapter_in_its_weights(
    trained: Trained, batch: Callable[..., dict[str, Tensor]], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = trained("ln-tuning")
    with pytest.raises(MethodRefused, match=r"norm.*format merged"):
        ps.convert(adapter, tmp_path / "out")
    assert not _left_over(tmp_path)
    found = ps.convert(adapter, tmp_path / "out", format="merged")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    original = PeftModel.from_pretrained(tiny_llama(), str(adapter))
    assert torch.allclose(_outputs(model, batch(0)), _outputs(original, batch(0)), atol=1e-5)
    assert model.config.use_cache
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("a").input_ids
    assert found.stands
    assert "merged model" in found.text()


def test_nothing_is_overwritten_and_nothing_half_written_stays(trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        ps.convert(adapter, tmp_path / "out")
    assert (tmp_path / "out" / "precious").read_text() == "mine"
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(StoreError, match="safetensors"):
        ps.convert(adapter, tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter-oft", "out"]


def test_pickles_foreign_weights_and_other_bases_are_refused(trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    tiny_llama(hidden_size=32).save_pretrained(tmp_path / "narrow")
    tiny_tokenizer().save_pretrained(tmp_path / "narrow")
    with pytest.raises((StoreError, ModelError), match="adapter"):
        ps.convert(adapter, tmp_path / "out", model=str(tmp_path / "narrow"))
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({**weights, "strange.weight": torch.zeros(2)}, adapter / "adapter_model.safetensors")
    with pytest.raises(StoreError, match=r"strange\.weight"):
        ps.convert(adapter, tmp_path / "out")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(StoreError, match=r"adapter_model\.safetensors: not there"):
        ps.convert(adapter, tmp_path / "out")
    assert not _left_over(tmp_path)


def test_wishes_that_contradict_or_are_out_of_range_are_told_together(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        ps.convert(trained("oft"), tmp_path / "out", rank=0, energy=1.5)
    assert [line.split(":")[0] for line in caught.value.problems] == ["rank and energy", "rank", "energy"]
    with pytest.raises(SpecError, match=r"no such run|no records"):
        ps.convert("nobody", tmp_path / "out")
    short = tmp_path / "short.txt"
    short.write_text("too short")
    with pytest.raises(DataError, match=r"short\.txt"):
        ps.convert(trained("oft"), tmp_path / "out", calibration=short)


def test_ranks_that_are_shared_out_miss_less_at_the_same_size(trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    even, shared = (
        ps.convert(adapter, tmp_path / f"{shared}", rank=6, shared=shared).conversion for shared in (False, True)
    )
    assert even.output_error is not None
    assert shared.output_error is not None
    assert shared.output_error < even.output_error
    assert len({layer.rank for layer in shared.layers}) > 1
    sizes = [(tmp_path / f"{of}" / "adapter_model.safetensors").stat().st_size for of in (False, True)]
    assert sizes[1] <= 1.01 * sizes[0]
    config = json.loads((tmp_path / "True" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == config["alpha_pattern"] != {}
    near = ps.convert(adapter, tmp_path / "near", max_error=0.3, shared=True).conversion
    assert near.output_error is not None
    assert near.output_error < 0.4


def test_a_distillation_brings_the_lora_nearer(trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    before = ps.convert(adapter, tmp_path / "before", rank=2).conversion
    found = ps.convert(adapter, tmp_path / "after", rank=2, refine=40)
    refined = found.conversion.refined
    assert refined is not None
    assert refined.helped
    assert found.conversion.figures["kl"] < 0.8 * before.figures["kl"]  # on inputs nothing was fitted to
    assert "refined in 40 steps: divergence from" in found.text()
    assert json.loads((tmp_path / "after" / "conversion.json").read_text())["refined"]["helped"] is True


def test_a_distillation_that_does_not_help_is_not_kept(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    adapter = trained("oft")
    before = ps.convert(adapter, tmp_path / "before", rank=2).conversion
    monkeypatch.setattr("peftscope.convert.refine.RATES", (3.0,))
    found = ps.convert(adapter, tmp_path / "after", rank=2, refine=5)
    assert found.conversion.refined is not None
    assert not found.conversion.refined.helped
    assert "not kept" in found.text()
    assert found.conversion.figures["kl"] == pytest.approx(before.figures["kl"], rel=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_base_of_half_precision_is_converted_as_well(dtype: str, trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    tiny_llama().to(getattr(torch, dtype)).save_pretrained(tmp_path / "half")
    tiny_tokenizer().save_pretrained(tmp_path / "half")
    found = ps.convert(adapter, tmp_path / "out", model=str(tmp_path / "half"), rank=64).conversion
    assert found.output_error is not None
    assert found.output_error < 0.05
    assert found.figures["kl"] < 0.01 * found.base_figures["kl"] + 1e-4


def test_an_adapter_on_the_hub_is_converted_by_its_id(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, tmp_path: Path
) -> None:
    adapter, asked = trained("oft"), []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(adapter)

    monkeypatch.setattr("peftscope.models.source.snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    found = ps.convert("somebody/theirs", tmp_path / "out", rank=64)
    assert asked == [("somebody/theirs", ["adapter_config.json", "adapter_model.safetensors"])]
    assert found.stands


def test_what_says_nothing_of_an_adapter_of_others_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        ps.convert(trained("oft"), tmp_path / "out", study=tmp_path, margin=0.01)
    assert [line.split(":")[0] for line in caught.value.problems] == ["study", "margin"]
    with pytest.raises(SpecError, match="refine: a merged model has no factors"):
        ps.convert(trained("oft"), tmp_path / "out", format="merged", refine=3)


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`")
def test_embeddings_of_the_base_that_peft_writes_beside_an_adapter_are_let_be_and_others_refused(
    trained: Trained, tiny_folder: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(tiny_llama(), LoraConfig(target_modules=["embed_tokens", "q_proj"]))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05
    adapted.save_pretrained(tmp_path / "adapter")
    assert any(name.endswith("base_layer.weight") for name in load_file(tmp_path / "adapter/adapter_model.safetensors"))
    assert ps.convert(tmp_path / "adapter", tmp_path / "out", model=str(tiny_folder)).stands
    tiny_llama(seed=1).save_pretrained(tmp_path / "another")
    tiny_tokenizer().save_pretrained(tmp_path / "another")
    with pytest.raises(StoreError, match=r"base_layer\.weight is not the base's"):
        ps.convert(tmp_path / "adapter", tmp_path / "not", model=str(tmp_path / "another"))


def test_a_disk_that_takes_no_more_is_told_and_nothing_half_written_stays(trained: Trained, tmp_path: Path) -> None:
    adapter = trained("oft")
    code = (
        "import resource, sys\n"
        "import peftscope as ps\n"
        "from peftscope.errors import StoreError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "for layout in ('peft', 'gguf', 'merged'):\n"
        "    try:\n"
        f"        ps.convert({str(adapter)!r}, {str(tmp_path / 'out')!r}, format=layout)\n"
        "    except StoreError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.count("File too large") for line in done.stdout.splitlines()] == [1, 1, 1]
    assert not _left_over(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_what_is_on_a_weight_that_is_shared_is_not_merged_into_it(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    tiny_llama(tie_word_embeddings=True).save_pretrained(tmp_path / "tied")
    tiny_tokenizer().save_pretrained(tmp_path / "tied")
    adapted = get_peft_model(tiny_llama(tie_word_embeddings=True), LoraConfig(target_modules=["lm_head", "q_proj"]))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(MethodRefused, match=r"it is on lm_head, whose weight another module shares"):
        ps.convert(tmp_path / "adapter", tmp_path / "out", model=str(tmp_path / "tied"), format="merged")
    assert not _left_over(tmp_path)
    assert ps.convert(tmp_path / "adapter", tmp_path / "out", model=str(tmp_path / "tied")).stands


def test_weights_that_were_given_no_rank_are_told(trained: Trained, tmp_path: Path) -> None:
    found = ps.convert(trained("oft"), tmp_path / "out", rank=1, shared=True).conversion
    gone = [layer for layer in found.layers if layer.rank == 0]
    assert gone
    assert all(layer.error == 1.0 for layer in gone)
    told = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert len(told["layers"]) == len(found.layers) == 14


def test_a_tolerance_that_is_given_holds_whatever_error_may_remain(trained: Trained, tmp_path: Path) -> None:
    found = ps.convert(trained("oft"), tmp_path / "out", max_error=0.5, tolerance=0.05).conversion
    assert found.tolerance == 0.05
    assert found.verdict == "differs"


def test_a_result_is_shown_when_its_folder_is_gone(trained: Trained, tmp_path: Path) -> None:
    found = ps.convert(trained("oft"), tmp_path / "out", rank=4)
    before = found.text()
    shutil.rmtree(tmp_path / "out")
    assert found.text() == before
