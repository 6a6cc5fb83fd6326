"""The loss on labelled positions alone is the model's own, with the same gradients, or is not taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.causal_lm import label_losses
from peftscope.models.kinds.causal_lm.loss import IGNORED, causal_lm_loss, saves_logits, try_label_losses
from peftscope.schema.study import MethodSpec, TrainSpec
from peftscope.tasks.base import Batch
from peftscope.training.memory_settings import prepare
from tiny import tiny_llama

VOCABULARY = 259


def _gpt2() -> Any:
    sizes: dict[str, Any] = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, **sizes))


def _gemma() -> Any:
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "final_logit_softcapping": 3.0}
    return Gemma2ForCausalLM(Gemma2Config(vocab_size=VOCABULARY, **sizes, **heads))


BASES: dict[str, Callable[[], Any]] = {
    "llama": tiny_llama,
    "tied": lambda: tiny_llama(tie_word_embeddings=True),
    "gpt2": _gpt2,
    "softcap": _gemma,
}
METHODS = {
    **{name: MethodSpec(name=name) for name in ("lora", "dora", "oft", "prompt-tuning", "full", "trainable-tokens")},
    "head": MethodSpec(name="lora", targets=("lm_head", "mlp.up_proj")),
}
CASES = [
    *(("llama", name) for name in METHODS),
    *(("tied", name) for name in ("lora", "full", "trainable-tokens")),
    *((base, name) for base in ("gpt2", "softcap") for name in ("lora", "full", "prompt-tuning")),
]


@pytest.fixture(autouse=True)
def _several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the parts of a tiny batch are several."""
    monkeypatch.setattr(label_losses, "CHUNK_BYTES", 0)
    monkeypatch.setattr(label_losses, "FEWEST", 20)


def _batch() -> Batch:
    torch.manual_seed(3)
    ids = torch.randint(0, VOCABULARY, (4, 24))
    mask, labels = torch.ones_like(ids), ids.clone()
    labels[:, :9] = IGNORED
    mask[0, -4:], labels[0, -4:] = 0, IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _packed() -> Batch:
    torch.manual_seed(3)
    ids = [torch.randint(0, VOCABULARY, (1, length)) for length in (9, 14, 21)]
    parts = [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row.clone()} for row in ids]
    positions = torch.cat([torch.arange(row.shape[1]) for row in ids])[None]
    row = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    row["labels"][0, [0, 9, 23]] = IGNORED
    return {**row, "position_ids": positions}


def _built(base: Any, method: MethodSpec, train: TrainSpec) -> Any:
    torch.manual_seed(0)
    prepare(base, train)
    context = BuildContext(seed=0, max_steps=10, learning_rate=1e-3, warn=print, task_type="CAUSAL_LM")
    model = build(base, method, context).model
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # zero at first, and then most gradients are
                parameter.normal_(std=0.02)
    return model.train()


def _trained(base: Any, method: MethodSpec, train: TrainSpec, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    model = _built(base, method, train)
    assert try_label_losses(model) is None
    assert saves_logits(model) == train.saves_loss_memory
    torch.manual_seed(1)
    loss, count = causal_lm_loss(model, batch)
    (loss / count).backward()
    return float(loss), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("base", ["llama", "tied"])
def test_a_trained_head_gets_its_gradient_under_autocast_too(base: str) -> None:
    found = {}
    for memory in ("plain", "fast"):
        torch.manual_seed(0)
        model = _built(BASES[base]().eval(), MethodSpec(name="full"), TrainSpec(memory=memory))
        with torch.autocast("cpu", torch.bfloat16):
            loss, count = causal_lm_loss(model, _batch())
        (loss / count).backward()
        found[memory] = float(loss.detach()), model.get_output_embeddings().weight.grad
    assert found["fast"][0] == pytest.approx(found["plain"][0], rel=1e-2)
    torch.testing.assert_close(found["fast"][1], found["plain"][1], rtol=0.1, atol=2e-3)


def test_a_refusal_that_shows_in_training_alone_takes_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise label_losses.HeadRefused("a term in training")

    model = _built(tiny_llama(), MethodSpec(name="lora"), TrainSpec(memory="fast"))
    plain = causal_lm_loss(_built(tiny_llama(), MethodSpec(name="lora"), TrainSpec()), _batch())[0].detach()
    assert try_label_losses(model) is None
    monkeypatch.setattr("peftscope.models.kinds.causal_lm.loss.label_loss", refuse)
    with pytest.warns(UserWarning, match="a term in training"):
        loss, _ = causal_lm_loss(model, _batch())
    assert float(loss.detach()) == pytest.approx(float(plain), rel=1e-5)
    assert not saves_logits(model)


def _same(base: str, method: MethodSpec, train: TrainSpec, batch: Batch) -> None:
    torch.manual_seed(0)
    whole = BASES[base]().eval()
    weights = whole.state_dict()
    weights = {name: weight.clone() for name, weight in weights.items()}
    loss, gradients = _trained(whole, method, TrainSpec(), batch)
    again = BASES[base]().eval()
    again.load_state_dict(weights)
    found, others = _trained(again, method, train, batch)
    assert found == pytest.approx(loss, rel=1e-6)
    assert gradients.keys() == others.keys()
    assert gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            others[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: name + text
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("base", "name"), CASES)
def test_loss_and_gradients_on_labelled_positions_are_the_models_own(base: str, name: str) -> None:
    _same(base, METHODS[name], TrainSpec(memory="fast"), _batch())


@pytest.mark.parametrize("name", ["lora", "full"])
def test_packed_rows_have_the_same_loss_and_gradients(name: str) -> None:
    _same("llama", METHODS[name], TrainSpec(memory="fast"), _packed())


def test_no_more_positions_than_have_labels_go_through_the_head() -> None:
    model = _built(tiny_llama(), METHODS["lora"], TrainSpec(memory="fast"))
    assert try_label_losses(model) is None
    seen: list[int] = []
    model.get_base_model().lm_head.register_forward_hook(lambda module, args, out: seen.append(out.shape[-2]))
    batch = _batch()
    _, count = causal_lm_loss(model, batch)
    assert count == int((batch["labels"][:, 1:] != IGNORED).sum())
    assert sum(seen) == count
    assert max(seen) == 20


@pytest.mark.parametrize(("side", "is_masked"), [("right", False), ("left", True)])
def test_padding_that_no_label_sees_is_not_masked(side: str, is_masked: bool) -> None:
    batch = _batch()
    if side == "left":
        batch = {name: rows.flip(1) for name, rows in batch.items()}
        batch["labels"][:, :4] = IGNORED
    _same("llama", METHODS["lora"], TrainSpec(memory="fast"), batch)
    model = _built(tiny_llama(), METHODS["lora"], TrainSpec(memory="fast"))
    assert try_label_losses(model) is None
    seen: list[Any] = []
    attention = model.get_base_model().model.layers[0].self_attn
    attention.register_forward_pre_hook(lambda *given: seen.append(given[2]["attention_mask"]), with_kwargs=True)
    causal_lm_loss(model, batch)
    assert [mask is not None for mask in seen] == [is_masked]


def test_half_precision_differs_by_rounding_alone() -> None:
    batch = _batch()
    base = tiny_llama(tie_word_embeddings=True).bfloat16()
    exact = _trained(tiny_llama(tie_word_embeddings=True), METHODS["full"], TrainSpec(), batch)
    found = _trained(base, METHODS["full"], TrainSpec(memory="fast"), batch)
    assert found[0] == pytest.approx(exact[0], rel=3e-3)
    for name, gradient in exact[1].items():
        assert (found[1][name] - gradient).norm() <= 0.05 * gradient.norm(), name


@pytest.mark.filterwarnings("ignore")
def test_a_method_with_a_loss_term_of_its_own_takes_the_plain_loss_and_says_so() -> None:
    model = _built(tiny_llama(), MethodSpec(name="shadow"), TrainSpec(memory="fast"))
    assert "model's own" in (try_label_losses(model) or "")
    assert not saves_logits(model)


def test_a_model_whose_head_does_more_takes_the_plain_loss_and_says_so() -> None:
    base = tiny_llama()
    base.register_forward_hook(lambda module, args, out: setattr(out, "logits", out.logits * 2))
    prepare(base, TrainSpec(memory="fast"))
    base.loss_function = lambda logits, labels, vocab_size, **_: logits.float().square().mean()
    assert "model's own" in (try_label_losses(base) or "")
    assert not saves_logits(base)


def test_trying_leaves_random_state_and_modes_as_they_were() -> None:
    model = _built(tiny_llama(), METHODS["lora"], TrainSpec(memory="fast"))
    state = torch.get_rng_state()
    assert try_label_losses(model) is None
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in model.modules())
