from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from transformers import CONFIG_MAPPING, LlamaForCausalLM

from peftscope.errors import ModelError
from peftscope.models import source as source_module
from peftscope.models.kinds.causal_lm.empty import empty_model, read_config
from peftscope.models.kinds.causal_lm.loading import load
from peftscope.schema.study import ModelSpec

CONFIGS = Path(__file__).parents[1] / "configs"
LLAMA_3B, LLAMA_70B = str(CONFIGS / "llama-3.2-3b.json"), str(CONFIGS / "llama-70b.json")

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 120,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": 6, "num_experts": 6, "moe_intermediate_size": 32, "num_experts_per_tok": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "mistral": SMALL,
    "qwen2": SMALL,
    "qwen3": SMALL,
    "gemma2": SMALL,
    "gemma3_text": SMALL,
    "phi3": SMALL,
    "olmo2": SMALL,
    "smollm3": SMALL,
    "granite": SMALL,
    "mixtral": SMALL | EXPERTS,
    "qwen3_moe": SMALL | EXPERTS,
    "gpt2": {"n_embd": 64, "n_layer": 6, "n_head": 4, "vocab_size": 120, "bos_token_id": 1, "eos_token_id": 2},
    "opt": {"hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 120},
    "bloom": {"hidden_size": 64, "n_layer": 6, "n_head": 4, "vocab_size": 120},
    "falcon": {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 120},
}


def num_params(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def written(folder: Path, settings: Any, name: str = "config.json") -> str:
    (folder / name).write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return str(folder / name)


@pytest.mark.parametrize(
    ("source", "params", "seconds"), [(LLAMA_3B, 3_212_749_824, 0.3), (LLAMA_70B, 70_553_706_496, 0.8)]
)
def test_a_large_empty_model_is_exact_fast_and_preserves_rng_state(source: str, params: int, seconds: float) -> None:
    config = read_config(source)
    before, state = config.to_dict(), torch.random.get_rng_state()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        model = empty_model(config, dtype=torch.bfloat16)
        times.append(time.perf_counter() - start)
    assert min(times) < seconds
    assert num_params(model) == params
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert config.to_dict() == before


def test_an_empty_model_matches_the_loaded_model_except_for_values(saved: Path) -> None:
    loaded = load(ModelSpec(source=str(saved), device="cpu", dtype="bfloat16", attn_implementation="eager")).model
    model = empty_model(read_config(str(saved)), dtype=torch.bfloat16, attn_implementation="eager")
    for ours, real in ((model.parameters(), loaded.parameters()), (model.buffers(), loaded.buffers())):
        assert [(t.shape, t.dtype, t.requires_grad) for t in ours] == [
            (t.shape, t.dtype, t.requires_grad) for t in real
        ]
    assert [name for name, _ in model.named_modules()] == [name for name, _ in loaded.named_modules()]
    assert model.training is loaded.training is False
    assert model.config.use_cache is loaded.config.use_cache is False
    assert model.config._attn_implementation == "eager"
    with pytest.raises(ModelError, match="no-such-kernel"):
        empty_model(read_config(str(saved)), dtype=torch.bfloat16, attn_implementation="no-such-kernel")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_empty_architecture_matches_the_structure_of_the_real_model(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = CONFIG_MAPPING[name](**ARCHITECTURES[name])
    model = empty_model(config, dtype=torch.float32)
    assert num_params(model) == num_params(type(model)(config))
    assert not caplog.records


def test_a_config_is_read_from_folder_file_gguf_and_embedded_model(
    saved: Path, llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = num_params(llama)
    for source in (saved, saved / "config.json"):
        assert num_params(empty_model(read_config(str(source)), dtype=torch.float32)) == wanted
    monkeypatch.setattr("peftscope.models.builtin._download", lambda *args: pytest.fail("downloaded"))
    assert num_params(empty_model(read_config("builtin:smollm2-135m"), dtype=torch.float32)) == 134_515_008
    nano = num_params(empty_model(read_config("builtin:nano-lm"), dtype=torch.float32))
    assert nano == load(ModelSpec(source="builtin:nano-lm", device="cpu")).num_params
    (saved / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="not a GGUF file"):
        read_config(str(saved / "broken.gguf"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "not a JSON file that can be read"),
        ([1], "holds a JSON list"),
        ({"hidden_size": 3}, "no model_type"),
        ({"model_type": "lama"}, r"did you mean 'llama'\?.*transformers .* does not know it"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, "its own code.* is not run"),
        ({"model_type": "llama", "hidden_size": "big"}, "a setting llama does not take.*hidden_size"),
        ({"peft_type": "LORA", "base_model_name_or_path": "a/b"}, "a PEFT adapter.*'a/b'"),
        ({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.3"}, "diffusers config.*UNet2D"),
        ({"model_type": "vit"}, "not a causal language model"),
        ({"model_type": "bert"}, "not a causal language model"),
        ({"model_type": "bart"}, "not a causal language model"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "Classification.*not a causal"),
    ],
)
def test_an_invalid_language_model_config_is_rejected_with_the_reason(
    tmp_path: Path, settings: Any, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_config(written(tmp_path, settings))


def test_invalid_folders_and_missing_paths_are_rejected_without_contacting_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "snapshot_download", lambda *args, **kwargs: pytest.fail("asked the hub"))
    with pytest.raises(ModelError, match="no config"):
        read_config(str(tmp_path))
    written(tmp_path, {}, "model_index.json")
    with pytest.raises(ModelError, match="diffusers pipeline"):
        read_config(str(tmp_path))
    written(tmp_path, {}, "adapter_config.json")
    with pytest.raises(ModelError, match="PEFT adapter"):
        read_config(str(tmp_path))
    with pytest.raises(ModelError, match=r"does not exist; did you mean '.*model_index\.json'"):
        read_config(str(tmp_path / "model_indx.json"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"'config\.json' does not exist"):
        read_config("config.json")
    with pytest.raises(ModelError, match="did you mean 'builtin:nano-lm'"):
        read_config("builtin:nanolm")
    with pytest.raises(ModelError, match=r"model\.revision"):
        read_config(LLAMA_3B, revision="main")


def test_an_unreachable_hub_fails_fast_and_suggests_alternatives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.perf_counter()
    with pytest.raises(
        ModelError, match=r"cannot be reached.*config\.json saved from the model's page.*builtin:nano-lm"
    ):
        read_config("meta-llama/Llama-3.2-3B")
    assert time.perf_counter() - start < 3


def test_only_the_config_is_downloaded_from_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def give(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return str(saved)

    monkeypatch.setattr(source_module, "snapshot_download", give)
    assert read_config("someone/tiny", revision="v1").num_hidden_layers == 2
    assert (asked["source"], asked["revision"]) == ("someone/tiny", "v1")
    assert all(name.endswith(".json") and "safetensors" not in name for name in asked["allow_patterns"])
