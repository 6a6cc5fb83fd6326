"""What a study would find out of a model while it runs is said before it starts, or refused with a reason."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_architectures import save_tiny
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

import peftscope as ps
from peftscope.store.files import read_records
from peftscope.tuning import preflight

ROWS = [
    {"text": f"ticket {i} is about {('money', 'mail')[i % 2]}", "team": ("billing", "post")[i % 2]} for i in range(24)
]


@pytest.fixture
def study(tmp_path: Path) -> Any:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")

    def make(model: Path, *methods: Any, **task: Any) -> ps.Study:
        options = {"prompt": "{text}\nTeam:", "target": "team", "max_new_tokens": 3, "max_length": 64, **task}
        return ps.Study(
            name="odd",
            model={"source": str(model), "dtype": "float32"},
            task={"name": "own-data", "train": str(rows), "general_tokens": 0, **options},
            methods=list(methods or ("lora",)),
            train={"max_steps": 2, "batch_size": 2},
            measure={"latency": False, "metered_steps": 0},
            out=tmp_path / "results",
        )

    return make


@pytest.mark.parametrize("name", ["t5"])
def test_an_encoder_decoder_is_refused_before_anything_starts(study: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(ps.PeftscopeError, match="encoder–decoder, is not a causal language model"):
        study(save_tiny(name, tmp_path / name)).run(quiet=True)
    assert not (tmp_path / "results" / "records").exists()


def test_a_classifier_is_refused_before_anything_starts(study: Any, tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "bert")
    config = BertConfig(vocab_size=1280, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_labels=3)
    BertForSequenceClassification(config).save_pretrained(folder)
    with pytest.raises(ps.PeftscopeError, match=r"BertForSequenceClassification.*is not a causal language model"):
        study(folder).check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3.5", "llama4", "gemma3"])
def test_a_multimodal_model_is_planned_and_trained_alike(study: Any, tmp_path: Path, name: str) -> None:
    checked = study(save_tiny(name, tmp_path / name)).check()
    text = str(checked)
    assert "lora" in text
    assert "not predicted" not in text
    assert ("text never reaches" in text) == (name == "gemma3"), "of the others transformers loads the text part alone"


def test_infinity_in_a_config_is_read(tmp_path: Path) -> None:
    folder = save_tiny("falcon-h1", tmp_path / "model")
    settings = json.loads((folder / "config.json").read_text())
    assert settings["time_step_limit"][1] == {"__float__": "Infinity"}, "as transformers writes it"
    assert not ps.predict_memory(str(folder), ["oft"], quiet=True).is_empty


def test_a_misspelt_target_is_named_with_the_nearest_before_anything_starts(study: Any, tmp_path: Path) -> None:
    method = {"name": "lora", "targets": ["q_proj", "v_porj"]}
    with pytest.raises(ps.PeftscopeError, match=r"lora: targets: .*'v_porj'; did you mean 'v_proj'"):
        study(save_tiny("llama", tmp_path / "model"), method).check()


def test_a_prediction_that_fails_is_said_with_its_reason(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(preflight, "forecasts", fail)
    checked = study(save_tiny("llama", tmp_path / "model"))
    from peftscope.tuning.expand import expand, one_of_each

    found = preflight.check(one_of_each(expand(checked.spec)), tmp_path / "cache")
    assert found.forecasts == ()
    assert "memory and time are not predicted: RuntimeError: no kernel for this" in found.notes


def test_token_ids_beyond_the_embedding_are_found_before_training(study: Any, tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 90}))
    with pytest.raises(ps.PeftscopeError, match=r"embedding has 90 rows: tokenizer and model do not belong together"):
        study(folder).check()


def short_gpt2(folder: Path) -> Path:
    save_tiny("gpt2", folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": 1280, "n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}
    GPT2LMHeadModel(GPT2Config(**sizes, n_positions=32)).save_pretrained(folder)
    return folder


def test_sequences_and_answers_beyond_the_positions_are_found_before_training(study: Any, tmp_path: Path) -> None:
    model = short_gpt2(tmp_path / "model")
    with pytest.raises(ps.PeftscopeError, match=r"has 32 positions; set task.max_generation_length: 32"):
        study(model, max_new_tokens=30).check()
    with pytest.raises(ps.PeftscopeError, match=r"the model takes 32; set task.max_length: 32"):
        study(model, prompt="{text} {text} {text}\nTeam:").check()


def statuses(folder: Path) -> dict[str, tuple[str, str]]:
    return {r.spec.method.title: (r.status, r.reason or "") for r in read_records(folder / "results")}


@pytest.mark.slow
def test_methods_that_a_model_cannot_take_are_refused_and_the_others_run(study: Any, tmp_path: Path) -> None:
    study(save_tiny("falcon", tmp_path / "model"), "prefix-tuning", "lora").run(quiet=True)
    found = statuses(tmp_path)
    assert found["lora"][0] == "ok"
    assert found["prefix-tuning"][0] == "refused"
    assert "leave it out of the methods" in found["prefix-tuning"][1]


@pytest.mark.slow
def test_virtual_tokens_beyond_the_positions_are_refused(study: Any, tmp_path: Path) -> None:
    method = {"name": "prompt-tuning", "knobs": {"num_virtual_tokens": 20}}
    study(short_gpt2(tmp_path / "model"), method, "lora").run(quiet=True)
    found = statuses(tmp_path)
    assert found["lora"][0] == "ok"
    assert found["prompt-tuning"][0] == "refused"
    assert "20 virtual tokens" in found["prompt-tuning"][1]


@pytest.mark.slow
def test_the_record_says_what_was_adapted_and_what_was_left_out(study: Any, tmp_path: Path) -> None:
    study(save_tiny("mixtral", tmp_path / "model")).run(quiet=True)
    record = next(r for r in read_records(tmp_path / "results") if r.spec.method.name == "lora")
    assert record.method_facts is not None
    assert record.method_facts.adapted_share == pytest.approx(0.0645, abs=0.001)
    assert record.method_facts.left_out == pytest.approx({"the experts": 0.5097}, abs=0.001)
