"""Frozen layers' products by oneDNN: the same numbers, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from peftscope.methods.build import BuildContext, build
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.causal_lm.loss import IGNORED, causal_lm_loss
from peftscope.schema.study import MethodSpec, TrainSpec
from peftscope.training.frozen_products import fast_frozen_products
from peftscope.training.loop import train_step
from peftscope.training.memory_settings import prepare
from peftscope.training.seeding import seed_everything
from tiny import tiny_llama

PRODUCT = "mkldnn::_linear_pointwise"
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of PyTorch has no oneDNN"
)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Names of all that is done."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


class Squares:
    """A task whose loss is the mean square of what a model gives."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        return model(batch["x"]).square().sum(), len(batch["x"])


class Text:
    """A task with the loss of language models."""

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        return causal_lm_loss(model, batch)


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 24, bias=False), nn.LayerNorm(24))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("3")
    return model


@needs_onednn
@pytest.mark.parametrize("shape", [(5, 24), (3, 7, 24), (2, 3, 7, 24)])
def test_outputs_and_gradients_are_those_of_torch(shape: tuple[int, ...]) -> None:
    model = _model()
    given = torch.randn(shape, requires_grad=True)
    wanted = model(given)
    (wanted_gradient,) = torch.autograd.grad(wanted.square().sum(), given)
    with fast_frozen_products(model), Operations() as operations:
        found = model(given)
        (gradient,) = torch.autograd.grad(found.square().sum(), given)
    assert operations.names.count(PRODUCT) == 4
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-4, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("memory", ["plain", "fast", "lean", "minimal"])
def test_every_setting_but_plain_has_them_forward_and_backward(memory: str) -> None:
    model = _model()
    model[0].bias.requires_grad = True  # the first layer is not frozen, so its product is torch's own
    spec = TrainSpec.model_validate({"memory": memory, "max_steps": 1})
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with Operations() as operations:
        train_step(model, Squares(), [{"x": torch.randn(6, 24)}], optimizer, spec, step=1)
    assert operations.names.count(PRODUCT) == (0 if memory == "plain" else 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["lora", "adalora", "bd-lora", "gralora", "c3a", "ia3", "oft", "prompt-tuning"])
def test_methods_that_add_in_place_train_the_same(name: str) -> None:
    losses: dict[str, list[float]] = {}
    for memory in ("plain", "fast", "minimal"):
        base, spec = tiny_llama(num_key_value_heads=4), TrainSpec.model_validate({"memory": memory, "max_steps": 3})
        prepare(base, spec)
        context = BuildContext(seed=0, max_steps=3, learning_rate=1e-3, warn=print, task_type="CAUSAL_LM")
        seed_everything(0)
        built = build(base, MethodSpec(name=name), context)
        optimizer = built.make_optimizer(OptimizerSettings(learning_rate=1e-3))
        ids = torch.arange(32).view(2, 16)
        labels = ids.clone()
        labels[:, 0] = IGNORED
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        built.model.train()
        losses[memory] = [
            train_step(built.model, Text(), [batch], optimizer, spec, step=step)[0] for step in range(1, 4)
        ]
    assert losses["fast"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["minimal"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["plain"][0] != losses["plain"][-1]


@pytest.mark.parametrize("what", ["trained", "swapped", "double", "meta", "autocast", "empty", "subclass"])
def test_all_else_is_multiplied_as_torch_does(what: str) -> None:
    layer, given = nn.Linear(4, 8).requires_grad_(what == "trained"), torch.randn(3, 4, requires_grad=True)
    if what == "double":
        layer, given = layer.double(), torch.randn(3, 4, dtype=torch.float64)
    elif what == "meta":
        layer, given = layer.to("meta"), given.to("meta")
    elif what == "empty":
        given = torch.randn(0, 4)
    elif what == "subclass":
        layer = torch.nn.utils.parametrizations.weight_norm(layer)
    mixed = torch.autocast("cpu", enabled=what == "autocast")
    with mixed:
        wanted = layer(given)
    with fast_frozen_products(layer), mixed, Operations() as operations:
        if what == "swapped":  # as methods do that compute with a weight of their own
            own = {"weight": layer.weight.detach().clone().requires_grad_()}
            found = torch.func.functional_call(layer, own, (given,))
        else:
            found = layer(given)
    assert PRODUCT not in operations.names
    assert found.shape == wanted.shape
    assert found.requires_grad == wanted.requires_grad
    assert "forward" not in vars(layer)


def test_a_step_that_fails_leaves_the_layers_as_they_were() -> None:
    model = _model()
    with pytest.raises(RuntimeError), fast_frozen_products(model):
        model(torch.randn(3, 5))
    assert not [module for module in model.modules() if "forward" in vars(module)]
