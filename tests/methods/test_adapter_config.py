"""Published adapter configs: which method they are, and that they build what was published."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from peftscope.errors import MethodRefused
from peftscope.methods.adapter_config import config_from_published, method_name
from peftscope.methods.build import BuildContext, Built, build
from peftscope.methods.checkpoint import saved_bytes
from peftscope.models.kinds.causal_lm.inputs import TextInputs
from peftscope.upstream.experiment import Experiment, read_experiment, to_run_spec

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = sorted((SHARED / "experiments" / "MetaMathQA").glob("*/*/"))
RESULTS = {path.stem: path for path in (SHARED / "published" / "MetaMathQA").glob("*.json")}

needs_data = pytest.mark.skipif(not FOLDERS, reason=f"the benchmark's folders are not at {SHARED}")
no_sparse_noise = pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")

BYTES_BY_DATA = {"adalora", "adamss"}
"""AdaLoRA's file depends on which layers keep their ranks, AdaMSS' header on how large its clusters are."""

DOES_NOT_FIT_NARROW = {
    "psoft/llama-3.2-3B-default": r"`r` \(256\) must be less than or equal to min",
    "psoft/llama-3.2-3B-fast": r"`r` \(256\) must be less than or equal to min",
    "vblora/llama-3.2-3B-default": "`out_features` 128 must be divisible by `vector_length` 256",
}

NAMES = {
    "adaptionprompt": "llama-adapter",
    "full-finetuning": "full",
    "ln_tuning": "ln-tuning",
    "prefixtuning": "prefix-tuning",
    "prompt_tuning": "prompt-tuning",
    "ptuning": "p-tuning",
    "trainable_tokens": "trainable-tokens",
    "lora/llama-3.2-3B-rank14-target-mlp-bdlora": "bd-lora",
    "lora/llama-3.2-3B-rank32-dora": "dora",
    "lora/llama-3.2-3B-rank32-lorafa": "lora-fa",
    "lora/llama-3.2-3B-rank64-rslora": "rslora",
    "miss/llama-3.2-3B-bat": "miss-bat",
    "miss/llama-3.2-3B-mini": "miss-mini",
    "prefixtuning/llama-3.2-3B-lr_0.005_zero_init": "prefix-tuning-zero",
    "prefixtuning/llama-3.2-3B-tokens50-init_prefix-lr_0.005": "prefix-tuning-text",
    "prompt_tuning/llama-3.2-3B-sample_vocab-lr_0.001": "prompt-tuning-vocab",
    "psoft/llama-3.2-3B-fast": "psoft-fast",
    "road/llama-3.2-3B-lr_0.001": "road-2",
    "tinylora/llama-3.2-3B-weight-tying": "tinylora-tied",
}
"""Folders (or all of a method's folders) whose card is not called like the method's folder."""


class LetterTokenizer:
    """One token a letter."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [3 + ord(letter) % 500 for letter in text]}


def name_of(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def llama_3b() -> PreTrainedModel:
    """Llama-3.2-3B without weights, in the type the benchmark loads it in."""
    config = LlamaConfig(
        hidden_size=3072,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=8192,
        vocab_size=128256,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config).to(torch.bfloat16)


def narrow_config(**changes: Any) -> LlamaConfig:
    """Full depth, an eighth of the width and less."""
    facts: dict[str, Any] = {
        "hidden_size": 256,
        "num_hidden_layers": 28,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "intermediate_size": 512,
        "vocab_size": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return LlamaConfig(**{**facts, **changes})


def built(base: PreTrainedModel, experiment: Experiment, warnings: list[str]) -> Built:
    run = to_run_spec(experiment, method_name=method_name(experiment.peft_config, experiment.training_params))
    context = BuildContext(
        seed=0,
        max_steps=run.train.max_steps,
        learning_rate=run.learning_rate,
        warn=warnings.append,
        task_type="CAUSAL_LM",
        inputs=TextInputs(LetterTokenizer()),
        processor=LetterTokenizer(),
        autocast_adapter_dtype=run.train.autocast_adapter_dtype,
    )
    return build(base, run.method, context)


def of_result(folder: Path) -> dict[str, Any]:
    """What training with a folder gave, as it is published."""
    info: dict[str, Any] = json.loads(RESULTS[name_of(folder).replace("/", "--")].read_text())["train_info"]
    return info


PUBLISHED = [folder for folder in FOLDERS if name_of(folder).replace("/", "--") in RESULTS]


@needs_data
@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_published_config_matches_its_method_card(folder: Path) -> None:
    experiment = read_experiment(folder)
    name = name_of(folder)
    expected = NAMES.get(name) or NAMES.get(folder.parent.name) or folder.parent.name
    assert method_name(experiment.peft_config, experiment.training_params) == expected


@needs_data
@pytest.mark.parametrize("folder", PUBLISHED, ids=name_of)
def test_parameters_and_bytes_equal_the_published_ones(folder: Path) -> None:
    warnings, result = list[str](), of_result(folder)
    method = built(llama_3b(), read_experiment(folder), warnings)
    required = sum(p.numel() for p in method.model.parameters() if p.requires_grad)
    assert required == method.num_trainable_params == result["num_trainable_params"]
    assert not [line for line in warnings if "on this model" in line], "it is the model it was made for"
    least, most = saved_bytes(method)
    if folder.parent.name in BYTES_BY_DATA:
        assert least <= result["file_size"] <= most
    elif folder.parent.name == "full-finetuning":  # nothing was written: parameters times two, without a header
        assert result["file_size"] == 2 * required
        assert least == most == pytest.approx(result["file_size"], rel=1e-5)
    else:
        assert least == most == result["file_size"]


@needs_data
def test_the_adamss_file_size_hardly_depends_on_its_clusters() -> None:
    folder = next(folder for folder in PUBLISHED if folder.parent.name == "adamss")
    least, most = saved_bytes(built(llama_3b(), read_experiment(folder), []))
    assert most - least < 0.01 * of_result(folder)["file_size"]


@pytest.fixture(scope="module")
def narrow_llama() -> PreTrainedModel:
    """The narrow model; drawing its weights takes longer than copying them."""
    torch.manual_seed(0)
    return LlamaForCausalLM(narrow_config())


@needs_data
@no_sparse_noise
@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_published_config_trains_on_a_narrow_model_or_is_refused(folder: Path, narrow_llama: PreTrainedModel) -> None:
    name, warnings = name_of(folder), list[str]()
    experiment = read_experiment(folder)
    base = copy.deepcopy(narrow_llama)
    torch.manual_seed(0)
    if name in DOES_NOT_FIT_NARROW:
        with pytest.raises(MethodRefused, match=DOES_NOT_FIT_NARROW[name]):
            built(base, experiment, warnings)
        return
    method = built(base, experiment, warnings)
    trained = [p for p in method.model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    ids = torch.randint(3, 512, (1, 8), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[:, -1] = 1, 2
    for step in (1, 2):  # in the first step a factor that starts at zero leaves the other one where it is
        loss = method.model(input_ids=ids, labels=ids).loss
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        if method.after_step is not None:
            method.after_step(step)
        optimizer.zero_grad()
    moved = [not torch.equal(old, new) for old, new in zip(before, trained, strict=True)]
    assert all(moved), f"{moved.count(False)} of {len(moved)} did not move"


def collected(raw: dict[str, Any], **changes: Any) -> tuple[Any, list[str]]:
    warnings: list[str] = []
    return config_from_published(raw, narrow_config(**changes), warnings.append), warnings


def test_prompt_fields_from_another_model_are_reset() -> None:
    raw = {
        "peft_type": "P_TUNING",
        "num_virtual_tokens": 20,
        "token_dim": 3072,
        "num_layers": 28,
        "num_attention_heads": 24,
        "num_transformer_submodules": 1,
        "encoder_hidden_size": 3072,
    }
    config, warnings = collected(raw)
    assert (config.token_dim, config.num_attention_heads, config.encoder_hidden_size) == (None, None, None)
    assert len(warnings) == 3
    same, warnings = collected(raw, hidden_size=3072, num_attention_heads=24, head_dim=128)
    assert same.encoder_hidden_size == 3072
    assert warnings == []


def test_a_chosen_encoder_width_is_preserved() -> None:
    raw = {"peft_type": "P_TUNING", "num_virtual_tokens": 4, "token_dim": 3072, "encoder_hidden_size": 128}
    assert collected(raw)[0].encoder_hidden_size == 128


def test_a_saved_prefix_of_the_same_model_gives_no_warning() -> None:
    raw = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4, "token_dim": 128, "num_attention_heads": 4}
    assert collected(raw)[1] == []


def test_an_adapter_with_too_many_layers_is_reduced_to_the_model() -> None:
    config, warnings = collected({"peft_type": "ADAPTION_PROMPT", "adapter_len": 4, "adapter_layers": 40})
    assert config.adapter_layers == 28
    assert len(warnings) == 1


def test_ranks_that_leave_nothing_trainable_become_a_fraction() -> None:
    pattern = {"q_proj": 250, "k_proj": 128, "up_proj": 0.5}
    config, warnings = collected({"peft_type": "OSF", "rank_pattern": pattern, "effective_rank": 4096})
    assert config.rank_pattern == {"q_proj": 250, "k_proj": 0.9, "up_proj": 0.5}
    assert config.effective_rank == 0.9
    assert len(warnings) == 2


def test_tokens_outside_the_vocabulary_are_replaced_by_special_tokens() -> None:
    raw = {"peft_type": "TRAINABLE_TOKENS", "token_indices": [128000]}
    config, warnings = collected(raw)
    assert config.token_indices == [1, 2]
    assert len(warnings) == 1
    with pytest.raises(MethodRefused, match="names no begin or end token"):
        collected(raw, bos_token_id=None, eos_token_id=None)


def test_config_fields_unknown_to_peft_are_dropped_with_a_warning() -> None:
    config, warnings = collected({"peft_type": "LORA", "r": 4, "from_the_future": 3, "empty": None})
    assert config.r == 4
    assert len(warnings) == 1
    assert "from_the_future" in warnings[0]


def test_the_origin_fields_of_a_config_are_cleared() -> None:
    raw = {"peft_type": "LORA", "base_model_name_or_path": "x/y", "revision": "z", "inference_mode": True}
    config = collected(raw)[0]
    assert (config.base_model_name_or_path, config.revision, config.inference_mode) == (None, None, False)


def test_an_unknown_adapter_type_is_rejected_with_the_closest_match() -> None:
    with pytest.raises(MethodRefused, match="LORA"):
        collected({"peft_type": "LORAA"})
    with pytest.raises(MethodRefused, match="unknown peft_type"):
        method_name({"peft_type": "NONE_SUCH"}, {})


@pytest.mark.parametrize(
    ("raw", "params", "name"),
    [
        ({"peft_type": "LORA", "init_lora_weights": "pissa_niter_16"}, {}, "pissa"),
        ({"peft_type": "LORA", "init_lora_weights": "pissa", "use_rslora": True}, {}, "pissa"),
        ({"peft_type": "LORA"}, {"optimizer_type": "lora+"}, "lora-plus"),
        ({"peft_type": "LORA", "use_dora": True}, {"optimizer_type": "lora+"}, "lora-plus"),
        ({"peft_type": "LORA", "alora_invocation_tokens": [1]}, {}, "alora"),
        ({"peft_type": "LOKR"}, {"optimizer_type": "lora+"}, "lokr"),
        ({"peft_type": "CARTRIDGE"}, {}, "cartridge"),
        ({"peft_type": "PREFIX_TUNING", "prefix_projection": True}, {}, "prefix-tuning-projection"),
        ({"peft_type": "OFT", "coft": True}, {}, "coft"),
        ({"peft_type": "CPT"}, {}, "cpt"),
        ({"peft_type": "DEFT", "decomposition_method": "relu", "para": True}, {}, "deft"),
    ],
)
def test_variants_are_identified_from_config_and_training_parameters(
    raw: dict[str, Any], params: dict[str, Any], name: str
) -> None:
    assert method_name(raw, params) == name
