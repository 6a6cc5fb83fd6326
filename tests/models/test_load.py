from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, LlamaForCausalLM

from peftscope.errors import MissingExtra, ModelError
from peftscope.models import quantization
from peftscope.models.kinds.causal_lm.loading import load, load_tokenizer
from peftscope.schema.study import ModelSpec


def test_a_local_folder_loads_as_it_was_saved(saved: Path, llama: LlamaForCausalLM, tokenizer: Any) -> None:
    loaded = load(ModelSpec(source=str(saved), device="cpu"))
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded.model(input_ids=ids).logits, llama(input_ids=ids).logits)
    assert loaded.processor("ab").input_ids == tokenizer("ab").input_ids
    assert (loaded.dtype, loaded.device.type, loaded.quantization) == (torch.float32, "cpu", None)
    assert loaded.weight_files == ("model.safetensors",)
    assert loaded.num_params == sum(parameter.numel() for parameter in llama.parameters())
    assert not loaded.model.training
    assert not loaded.model.config.use_cache
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_model_loaded_for_inference_is_frozen_and_uses_its_cache(saved: Path) -> None:
    model = load(ModelSpec(source=str(saved), device="cpu"), for_training=False).model
    assert model.config.use_cache
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_training_all_weights_leaves_the_files_alone(saved: Path) -> None:
    # On the CPU the weights are the mapped file itself; what is written to them must stay in memory.
    loaded = load(ModelSpec(source=str(saved), device="cpu"))
    content = (saved / "model.safetensors").read_bytes()
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(1)
    assert (saved / "model.safetensors").read_bytes() == content
    again = load(ModelSpec(source=str(saved), device="cpu"))
    assert not torch.equal(again.model.lm_head.weight, loaded.model.lm_head.weight)


def test_dtype_and_attention_kernel_are_the_ones_asked_for(saved: Path) -> None:
    loaded = load(ModelSpec(source=str(saved), device="cpu", dtype="bfloat16", attn_implementation="eager"))
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    assert loaded.model.config._attn_implementation == "eager"
    with pytest.raises(ModelError, match="no-such-kernel"):
        load(ModelSpec(source=str(saved), device="cpu", attn_implementation="no-such-kernel"))


def test_the_pad_token_is_not_touched(saved: Path, tokenizer: Any) -> None:
    assert tokenizer.pad_token is None
    assert load(ModelSpec(source=str(saved), device="cpu")).processor.pad_token is None


def test_the_sampling_defaults_of_the_checkpoint_are_removed(saved: Path) -> None:
    GenerationConfig(
        do_sample=True, temperature=0.3, top_p=0.5, repetition_penalty=1.3, eos_token_id=[1, 7]
    ).save_pretrained(saved)
    config = load(ModelSpec(source=str(saved), device="cpu")).model.generation_config
    assert config is not None
    assert not {config.do_sample, config.temperature, config.top_p, config.repetition_penalty} - {None, False}
    assert config.eos_token_id == [1, 7]


def test_missing_weights_are_rejected_instead_of_initialized(saved: Path) -> None:
    tensors = load_file(saved / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights of .*model\.layers\.1\.mlp\.up_proj\.weight"):
        load(ModelSpec(source=str(saved), device="cpu"))


def test_damaged_files_are_model_errors(saved: Path) -> None:
    weights = saved / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    with pytest.raises(ModelError, match="cut off or damaged"):
        load(ModelSpec(source=str(saved), device="cpu"))
    weights.write_bytes(whole)
    (saved / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSpec(source=str(saved), device="cpu"))


def test_a_tokenizer_loaded_alone_matches_the_models_tokenizer(saved: Path) -> None:
    spec = ModelSpec(source=str(saved), device="cpu")
    assert load_tokenizer(spec)("a b").input_ids == load(spec).processor("a b").input_ids


def test_a_model_without_tokenizer_is_refused(saved: Path) -> None:
    for path in saved.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load(ModelSpec(source=str(saved), device="cpu"))


NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}


@pytest.mark.parametrize(("asked", "kind"), [("int8", "int8"), ("nf4", "nf4"), (NF4, "nf4")])
def test_a_quantized_base_trains_an_adapter_on_the_cpu(
    saved: Path, asked: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = load(ModelSpec(source=str(saved), device="cpu"))
    loaded = load(ModelSpec(source=str(saved), device="cpu", quantization=asked))
    assert loaded.quantization == kind
    assert loaded.num_params == plain.num_params
    assert loaded.weights_sha256 == plain.weights_sha256
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.model.model.layers[0].mlp.up_proj.weight.dtype in (torch.int8, torch.uint8)

    model = get_peft_model(loaded.model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "up_proj"]))
    ids = torch.arange(2, 26).view(2, 12)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(3):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert not caplog.records


def test_a_look_at_its_outputs_changes_no_gradient_of_a_4_bit_base(saved: Path) -> None:
    loaded = load(ModelSpec(source=str(saved), device="cpu", quantization="nf4"))
    model = get_peft_model(loaded.model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]))
    ids = torch.arange(2, 26).view(2, 12)
    found = []
    for _ in range(2):
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
        with torch.no_grad():
            model.eval()(input_ids=ids)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))


def test_quantization_without_its_package_names_the_extra(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    for asked in ("int8", "nf4", NF4):
        with pytest.raises(MissingExtra, match=r"peftscope\[quantized\]"):
            load(ModelSpec(source=str(saved), device="cpu", quantization=asked))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"quant_method": "gptk", "bits": 4}, "did you mean 'gptq'"),
        ({"quant_method": "bitsandbytes"}, "load_in_4bit"),
        ({"load_in_4bit": True, "bnb_4bit_quant_typ": "nf4"}, "did you mean 'bnb_4bit_quant_type'"),
        ({"quant_method": "hqq", "nbits": 77}, "hqq"),
    ],
)
def test_an_invalid_quantization_is_rejected_with_the_allowed_values(saved: Path, asked: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(ModelSpec(source=str(saved), device="cpu", quantization=asked))
