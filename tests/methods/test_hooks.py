"""Calls after a step, penalties, and optimizers that belong to a technique."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from peftscope.errors import SpecError
from peftscope.methods import catalog
from peftscope.methods.build import Built, build
from peftscope.methods.hooks import adalora_schedule
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.spec.study import MethodSpec

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


def test_a_users_schedule_is_kept(make_base: Make, context: Make) -> None:
    spec = MethodSpec(name="adalora", knobs={"init_r": 6, "target_r": 4, "tinit": 3})
    config = build(make_base(), spec, context(max_steps=20)).peft_config
    assert config is not None
    assert (config["tinit"], config["tfinal"], config["total_step"]) == (3, 2, 20)


def test_adaloras_loss_is_the_plain_loss_and_its_penalty_stands_apart(
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


@pytest.mark.parametrize("name", ["adalora", "kasa", "monteclora"])
def test_a_penalty_reaches_the_adapter(name: str, make_base: Make, context: Make, knobs_for: Make) -> None:
    built = build(make_base(), MethodSpec(name=name, knobs=knobs_for(catalog.card(name))), context())
    built.model.train()
    assert built.penalty is not None
    built.penalty().backward()
    reached = [p.grad for p in built.model.parameters() if p.grad is not None]
    assert any(float(grad.abs().sum()) > 0 for grad in reached)


def test_lora_plus_trains_the_second_matrix_sixteen_times_faster(make_base: Make, context: Make) -> None:
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
