"""Calls after a step, penalties, and optimizers that belong to a method."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from peftscope.errors import SpecError
from peftscope.methods import catalog, checkpoint
from peftscope.methods.build import Built, build
from peftscope.methods.hooks import adalora_schedule
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.schema.study import MethodSpec

Make = Callable[..., Any]


def _steps(built: Built, batch: Make, number: int) -> None:
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=1e-2))
    built.model.train()
    for step in range(1, number + 1):
        built.model(**batch(step)).loss.backward()
        optimizer.step()
        if built.after_step is not None:
            built.after_step(step)
        optimizer.zero_grad()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    following = labels[:, 1:]
    predicted = logits[:, -labels.shape[1] : -1]  # virtual tokens come first and have logits too
    return torch.nn.functional.cross_entropy(predicted.transpose(1, 2), following)


@pytest.mark.parametrize("max_steps", [1, 2, 3, 10, 500])
def test_adaloras_schedule_fits_any_number_of_steps(max_steps: int, make_base: Make, context: Make) -> None:
    spec = MethodSpec(name="adalora", knobs={"init_r": 6, "target_r": 4})
    built = build(make_base(), spec, context(max_steps=max_steps))
    assert built.peft_config is not None
    assert built.peft_config["total_step"] == max_steps
    assert adalora_schedule(max_steps).items() <= built.peft_config.items()


def test_adalora_prunes_to_its_budget(make_base: Make, context: Make, batch: Make) -> None:
    spec = MethodSpec(name="adalora", knobs={"init_r": 6, "target_r": 4})
    built = build(make_base(), spec, context(max_steps=10))
    _steps(built, batch, 10)
    kept = sum(int((values != 0).sum()) for name, values in built.model.named_parameters() if "lora_E" in name)
    assert 0 < kept <= 4 * len(built.adapted_modules)


def test_a_user_given_adalora_schedule_is_preserved(make_base: Make, context: Make) -> None:
    spec = MethodSpec(name="adalora", knobs={"init_r": 6, "target_r": 4, "tinit": 3})
    config = build(make_base(), spec, context(max_steps=20)).peft_config
    assert config is not None
    assert (config["tinit"], config["tfinal"], config["total_step"]) == (3, 2, 20)


@pytest.mark.parametrize("max_steps", [2, 50, 20_000])
def test_a_published_adalora_schedule_is_rescaled_with_a_warning(
    max_steps: int, make_base: Make, context: Make, batch: Make
) -> None:
    raw = {"peft_type": "ADALORA", "init_r": 6, "target_r": 4, "tinit": 200, "tfinal": 500, "total_step": 5000}
    heard: list[str] = []
    around = context(max_steps=max_steps, warn=heard.append)
    config = build(make_base(), MethodSpec(name="adalora", peft_config=raw), around).peft_config
    assert config is not None
    written = (config["tinit"], config["tfinal"], config["total_step"])
    assert written == (max_steps * 200 // 5000, max_steps * 500 // 5000, max_steps)
    (line,) = [line for line in heard if "schedule" in line]
    assert "'tinit': 200, 'tfinal': 500, 'total_step': 5000" in line
    assert f"{max_steps} steps" in line


def test_a_published_adalora_schedule_of_equal_length_is_used_unchanged(make_base: Make, context: Make) -> None:
    raw = {"peft_type": "ADALORA", "init_r": 6, "target_r": 4, "tinit": 7, "tfinal": 11, "total_step": 40}
    heard: list[str] = []
    around = context(max_steps=40, warn=heard.append)
    config = build(make_base(), MethodSpec(name="adalora", peft_config=raw), around).peft_config
    assert config is not None
    assert (config["tinit"], config["tfinal"], config["total_step"]) == (7, 11, 40)
    assert not any("schedule" in line for line in heard)


def test_adaloras_rank_counters_are_not_counted_as_trainable(make_base: Make, context: Make, knobs_for: Make) -> None:
    spec = MethodSpec(name="adalora", knobs=knobs_for(catalog.card("adalora")))
    built = build(make_base(), spec, context())
    # On the meta device peft itself moves the adapter, which un-freezes them.
    on_meta = build(make_base().to("meta"), spec, context())
    for model in (built.model, on_meta.model):
        counters = [p for name, p in model.named_parameters() if ".ranknum." in name]
        assert counters
        assert not any(p.requires_grad for p in counters)
    assert on_meta.num_trainable_params == built.num_trainable_params


def test_adalora_reports_the_plain_loss_separately_from_its_penalty(
    make_base: Make, context: Make, batch: Make
) -> None:
    plain = make_base()(**batch(0)).loss
    spec = MethodSpec(name="adalora", knobs={"init_r": 6, "target_r": 4})
    built = build(make_base(), spec, context())
    assert torch.allclose(built.model(**batch(0)).loss, plain, atol=1e-6)
    assert built.penalty is not None
    penalty = built.penalty()
    # peft's own forward adds weight × mean distance; the inner model's does not.
    tuner: Any = built.model.base_model
    assert torch.allclose(type(tuner).forward(tuner, **batch(0)).loss - plain, penalty, atol=1e-5)


@pytest.mark.parametrize("name", [card.name for card in catalog.cards().values() if card.trains])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")
def test_evaluation_loss_is_cross_entropy_without_method_terms(
    name: str, make_base: Make, context: Make, batch: Make, knobs_for: Make
) -> None:
    card = catalog.card(name)
    torch.manual_seed(0)
    model = build(make_base(), MethodSpec(name=name, knobs=knobs_for(card)), context()).model.eval()
    inputs = batch(0)
    inputs["labels"][:, 0] = -100  # as the tasks do: virtual tokens would predict the first token, nothing else can
    with torch.no_grad():
        out = model(**inputs)
    torch.testing.assert_close(out.loss, _cross_entropy(out.logits, inputs["labels"]), atol=1e-6, rtol=1e-6)


def test_shadow_loss_applies_only_in_training_but_its_adapter_always_works(
    make_base: Make, context: Make, batch: Make, knobs_for: Make, tmp_path: Path
) -> None:
    spec = MethodSpec(name="shadow", knobs=knobs_for(catalog.card("shadow")))
    torch.manual_seed(0)
    built = build(make_base(), spec, context())
    _steps(built, batch, 3)
    inputs = batch(0)
    with torch.no_grad():
        training = built.model(**inputs)
        evaluated = built.model.eval()(**inputs)
        plain = make_base()(**inputs)
    assert built.peft_config is not None
    own = built.peft_config["auxiliary_loss_weight"] * training.shadow_loss
    assert own > 0.1
    for out, expected in ((training, own), (evaluated, torch.tensor(0.0))):
        left = out.loss - _cross_entropy(out.logits, inputs["labels"])
        torch.testing.assert_close(left, expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(out.logits, plain.logits, atol=1e-2), "the adapter is not there"
    checkpoint.save(built, tmp_path)
    with torch.no_grad():
        loaded = checkpoint.load(make_base(), tmp_path, built.card)(**inputs)
    torch.testing.assert_close(loaded.loss, evaluated.loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["adalora", "kasa", "monteclora"])
def test_the_penalty_gives_gradients_to_the_adapter(name: str, make_base: Make, context: Make, knobs_for: Make) -> None:
    built = build(make_base(), MethodSpec(name=name, knobs=knobs_for(catalog.card(name))), context())
    built.model.train()
    assert built.penalty is not None
    built.penalty().backward()
    reached = [p.grad for p in built.model.parameters() if p.grad is not None]
    assert any(float(grad.abs().sum()) > 0 for grad in reached)


def test_lora_plus_gives_the_second_matrix_sixteen_times_the_learning_rate(make_base: Make, context: Make) -> None:
    built = build(make_base(), MethodSpec(name="lora-plus"), context())
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=1e-4, weight_decay=0.1))
    rates = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            rates[id(parameter)] = (group["lr"], group["weight_decay"])
    for name, parameter in built.model.named_parameters():
        if parameter.requires_grad:
            rate, decay = rates[id(parameter)]
            assert rate == pytest.approx(16e-4 if "lora_B" in name else 1e-4)
            assert decay == 0.1


@pytest.mark.parametrize(
    ("name", "extra", "kind"),
    [
        ("lora", {"betas": (0.8, 0.9)}, "AdamW"),
        ("lora-fa", {"r": 32, "lora_alpha": 64}, "LoraFAOptimizer"),
        ("lora-plus", {"loraplus_lr_ratio": 4.0}, "AdamW"),
        ("lora-riemannian", {"reg": 0.1}, "RiemannianPreconditionedOptimizer"),
    ],
)
def test_the_cards_optimizer_is_used(
    name: str, extra: dict[str, Any], kind: str, make_base: Make, context: Make
) -> None:
    built = build(make_base(), MethodSpec(name=name), context())
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=1e-3, extra=extra))
    assert type(optimizer).__name__ == kind
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert scheduler.get_last_lr()[0] == pytest.approx(5e-4)


def test_an_argument_the_optimizer_does_not_know_is_named(make_base: Make, context: Make) -> None:
    built = build(make_base(), MethodSpec(name="lora"), context())
    with pytest.raises(SpecError, match="bogus"):
        built.make_optimizer(OptimizerSettings(learning_rate=1e-3, extra={"bogus": 1}))
