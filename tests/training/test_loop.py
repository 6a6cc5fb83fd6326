"""Promises of the one training loop."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peftscope.errors import Diverged
from peftscope.schema.study import TrainSpec
from peftscope.tasks.base import Batch, ExampleScore
from peftscope.training.loop import Fit, Hooks, held_out_loss, train_step
from peftscope.training.result import FitResult
from peftscope.training.seeding import seed_everything
from tasks.toy import DenoisingTask, RegressionTask, ToyTask


def _train(
    task: ToyTask,
    *,
    seed: int = 0,
    model: nn.Module | None = None,
    rate: float = 0.05,
    hooks: Hooks | None = None,
    **settings: Any,
) -> Any:
    seed_everything(seed)
    model = model or nn.Linear(4, 4)
    spec = TrainSpec(**{"max_steps": 30, "warmup_fraction": 0.0, **settings})
    result = FitResult()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    Fit(model, task, spec, optimizer=optimizer, seed=seed, result=result, hooks=hooks).run()
    return model, result


@pytest.mark.parametrize("task", [RegressionTask(), DenoisingTask()], ids=lambda t: t.name)
def test_the_loop_trains_tasks_without_tokens(task: ToyTask) -> None:
    model, result = _train(task)
    assert result.curve[-1].train_loss < 0.5 * result.curve[0].train_loss
    outcomes = task.score(model, lambda: None, "test")
    assert {o.example_id for o in outcomes} == {str(i) for i in range(task.size("test"))}


def test_the_after_step_hook_is_called_after_every_step() -> None:
    seen: list[int] = []
    _train(RegressionTask(), max_steps=7, hooks=Hooks(after_step=seen.append))
    assert seen == [1, 2, 3, 4, 5, 6, 7]


class _Recording(RegressionTask):
    """Notes the samples the loop trains on."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[int] = []

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        self.drawn += batch.get("indices", [])
        return super().loss(model, batch)


def test_training_runs_the_planned_steps_and_draws_every_sample_equally_often() -> None:
    task = _Recording()  # 18 samples in batches of 4: five steps an epoch, the last of two
    _, result = _train(task, max_steps=10)
    assert result.steps_done == 10
    assert result.num_samples == 36
    assert Counter(task.drawn) == dict.fromkeys(range(18), 2)


def test_different_seeds_change_the_batch_order_and_equal_seeds_repeat_exactly() -> None:
    runs = []
    for seed in (0, 1, 0):
        task = _Recording()
        model, result = _train(task, seed=seed)
        runs.append((task.drawn, [p.train_loss for p in result.curve], model.weight.detach().clone()))
    assert runs[0][0] != runs[1][0]
    assert runs[0][0] == runs[2][0]
    assert runs[0][1] == runs[2][1]
    assert torch.equal(runs[0][2], runs[2][2])


class _SleepyScoring(RegressionTask):
    def score(self, model: nn.Module, generate: Any, split: Any) -> Sequence[ExampleScore]:
        time.sleep(0.1)
        return super().score(model, generate, split)


def test_a_sleep_in_scoring_leaves_train_time_unchanged() -> None:
    task, result, model = _SleepyScoring(), FitResult(), nn.Linear(4, 4)

    def validate() -> float:
        return float(torch.tensor([o.score for o in task.score(model, None, "valid")]).mean())

    started = time.perf_counter()
    Fit(
        model,
        task,
        TrainSpec(max_steps=20, eval_every=4),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
        seed=0,
        result=result,
        validate=validate,
    ).run()
    elapsed = time.perf_counter() - started
    assert [p.valid_score is not None for p in result.curve] == [True, True, True, True, False]
    assert elapsed > 0.4
    assert result.train_time_s < elapsed - 0.4 + 0.02


def test_gradient_accumulation_gives_the_gradient_of_the_full_batch() -> None:
    task, model = RegressionTask(), nn.Linear(4, 4)
    pieces = [{"x": task.x[:1], "y": task.y[:1]}, {"x": task.x[1:8], "y": task.y[1:8]}]
    whole = {"x": task.x[:8], "y": task.y[:8]}
    seen = []

    class Keep(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append([p.grad.clone() for g in self.param_groups for p in g["params"]])

    for batches in (pieces, [whole]):
        train_step(model, task, batches, Keep(model.parameters(), lr=0.0), TrainSpec(grad_norm_clip=None), step=1)
    for parts, at_once in zip(*seen, strict=True):
        torch.testing.assert_close(parts, at_once)


class _SlowData(RegressionTask):
    def batches(self, seed: int) -> Iterator[Batch]:
        for batch in super().batches(seed):
            time.sleep(0.02)
            yield batch


def test_slow_data_and_slow_progress_leave_train_time_unchanged() -> None:
    model, result, started = nn.Linear(4, 4), FitResult(), time.perf_counter()
    Fit(
        model,
        _SlowData(),
        TrainSpec(max_steps=10),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
        seed=0,
        result=result,
        on_progress=lambda progress: time.sleep(0.02),
    ).run()
    assert time.perf_counter() - started > 0.4
    assert result.train_time_s < 0.15


def test_non_finite_weights_after_the_last_step_count_as_divergence() -> None:
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=math.inf)
    with pytest.raises(Diverged, match="not finite"):
        Fit(
            model,
            RegressionTask(),
            TrainSpec(max_steps=1, warmup_fraction=0.0, schedule="constant"),
            optimizer=optimizer,
            seed=0,
            result=FitResult(),
        ).run()


def test_the_penalty_gradient_does_not_depend_on_gradient_accumulation() -> None:
    task, seen = RegressionTask(), []
    whole = {"x": task.x[:8], "y": task.y[:8]}
    pieces = [{"x": task.x[:2], "y": task.y[:2]}, {"x": task.x[2:8], "y": task.y[2:8]}]

    class Keep(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            seen.append(torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"]]))

    for batches in (pieces, [whole]):
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        spec = TrainSpec(grad_norm_clip=None)
        hooks = Hooks(penalty=lambda m=model: m.weight.square().sum())
        train_step(model, task, batches, Keep(model.parameters(), lr=0.0), spec, step=1, hooks=hooks)
    torch.testing.assert_close(seen[0], seen[1])


def test_gradients_are_clipped_to_the_norm_asked_for() -> None:
    task, model, norms = RegressionTask(), nn.Linear(4, 4), []

    class Keep(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            grads = [p.grad for g in self.param_groups for p in g["params"]]
            norms.append(float(torch.nn.utils.get_total_norm(grads)))

    train_step(model, task, [next(task.batches(0))], Keep(model.parameters()), TrainSpec(grad_norm_clip=0.01), step=1)
    assert norms[0] == pytest.approx(0.01, rel=1e-3)


class _Exploding(RegressionTask):
    def __init__(self, factors: Iterator[float]) -> None:
        super().__init__()
        self.factors = factors

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        loss, count = super().loss(model, batch)
        return loss * next(self.factors), count


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_loss_ends_the_run_as_diverged_with_its_curve(bad: float) -> None:
    task, result, model = _Exploding(iter([1.0] * 6 + [bad])), FitResult(), nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with pytest.raises(Diverged, match="step 7"):
        Fit(model, task, TrainSpec(max_steps=20), optimizer=optimizer, seed=0, result=result).run()
    assert result.steps_done == 6
    assert len(result.curve) == 6


def test_a_loss_that_stays_very_high_counts_as_divergence() -> None:
    task, model = _Exploding(iter([1.0] * 12 + [1e4] * 50)), nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    with pytest.raises(Diverged, match="lower learning rate"):
        Fit(model, task, TrainSpec(max_steps=60), optimizer=optimizer, seed=0, result=FitResult()).run()


def test_a_single_high_loss_does_not_count_as_divergence() -> None:
    task, model = _Exploding(iter([1.0] * 12 + [1e4] + [1.0] * 50)), nn.Linear(4, 4)
    result = FitResult()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    Fit(model, task, TrainSpec(max_steps=30), optimizer=optimizer, seed=0, result=result).run()
    assert result.steps_done == 30


def test_the_rate_rises_linearly_then_falls_to_zero() -> None:
    _, result = _train(RegressionTask(), max_steps=20, warmup_fraction=0.25, schedule="cosine", rate=0.1)
    rates = [p.learning_rate for p in result.curve]
    assert rates[:5] == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert max(rates) == pytest.approx(0.1)
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_hooks_run_after_each_step_and_the_penalty_counts_once() -> None:
    task, model, seen = RegressionTask(), nn.Linear(4, 4), []
    penalty = Hooks(
        after_step=lambda step: seen.append((step, model.weight.grad is not None)),
        penalty=lambda: 0.0 * model.weight.sum() + model.bias.sum(),
    )
    seed_everything(0)
    result = FitResult()
    Fit(
        model,
        task,
        TrainSpec(max_steps=3, accumulation=2),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.0),
        seed=0,
        result=result,
        hooks=penalty,
    ).run()
    assert seen == [(1, True), (2, True), (3, True)]
    batches = task.batches(0)
    expected = held_out_loss(model, task, iter([next(batches), next(batches)]))
    assert result.curve[0].train_loss == pytest.approx(expected)  # the penalty is in no reported loss


def test_held_out_loss_is_the_label_mean_and_restores_the_mode() -> None:
    task, model = RegressionTask(), nn.Linear(4, 4)
    model.train()
    parts = iter([{"x": task.x[:1], "y": task.y[:1]}, {"x": task.x[1:], "y": task.y[1:]}])
    assert held_out_loss(model, task, parts) == pytest.approx(float((model(task.x) - task.y).detach().square().mean()))
    assert model.training
