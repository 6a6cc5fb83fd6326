"""Which kind of model a source is of, and what its shapes are counted on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from peftscope.errors import ModelError, SpecError
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.models.kinds.registry import KINDS, choose, kind, profile_of
from peftscope.models.kinds.text_to_image.profile import TextToImageProfile
from peftscope.schema.study import ModelSpec

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize(
    ("config", "expected"), [("llama-3.2-3b", CausalLMProfile), ("flux2-klein-base-4b", TextToImageProfile)]
)
def test_the_model_kind_is_recognised_from_the_config(config: str, expected: type) -> None:
    spec = ModelSpec(source=str(CONFIGS / f"{config}.json"))
    assert isinstance(profile_of(spec, torch.bfloat16), expected)


def test_the_model_kind_that_recognises_the_source_is_chosen() -> None:
    names = ("text-to-image", "causal-lm")
    found = [
        choose(ModelSpec(source=str(CONFIGS / f"{name}.json")), names).name
        for name in ("llama-3.2-3b", "flux2-klein-base-4b")
    ]
    assert found == ["causal-lm", "text-to-image"]


def test_a_user_given_model_kind_must_suit_the_task() -> None:
    with pytest.raises(ModelError, match="no kind this task is learned on; it takes causal-lm"):
        choose(ModelSpec(source="m", kind="text-to-image"), ("causal-lm",))
    with pytest.raises(SpecError, match="did you mean 'causal-lm'"):
        choose(ModelSpec(source="m", kind="causal-llm"), ("causal-lm",))


@pytest.mark.parametrize("name", list(KINDS.built_in))
def test_every_model_kind_is_named_as_it_is_registered(name: str) -> None:
    assert kind(name).name == name
    assert kind(name).inference_metrics == KINDS.get(name).metrics
