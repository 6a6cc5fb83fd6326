"""Experts whose weights are fused: what a step takes, against the arithmetic by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from peftscope.footprint.estimate import footprint
from peftscope.footprint.footprint import Footprint
from peftscope.footprint.meta_kernels import MetaKernels
from peftscope.schema.study import MethodSpec
from peftscope.study.footprint_queries import Circumstances, about_methods

TOKENS, BLOCKS, WIDTH, KEYS, INNER, EXPERTS, CHOSEN, WORDS, RANK = 1024, 32, 4096, 1024, 14336, 8, 2, 32000, 32
MIXTRAL = {
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "vocab_size": WORDS,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}
"""Of the published config of mistralai/Mixtral-8x7B-v0.1 what sizes depend on."""


def counted(folder: Path, targets: tuple[str, ...] | None) -> Footprint:
    path = folder / "config.json"
    path.write_text(json.dumps(MIXTRAL), encoding="utf-8")
    (query,) = about_methods(["lora"], Circumstances(model=str(path), batch_size=1, length=TOKENS))
    found = footprint(replace(query, method=MethodSpec(name="lora", targets=targets)))
    assert found.reason is None
    return found


ATTENTION = 2 * WIDTH * WIDTH + 2 * WIDTH * KEYS
EXPERT = 3 * WIDTH * INNER
WEIGHTS = BLOCKS * (ATTENTION + EXPERTS * EXPERT + WIDTH * EXPERTS + 2 * WIDTH) + 2 * WORDS * WIDTH + WIDTH
ADAPTER = BLOCKS * RANK * (4 * WIDTH + 2 * (WIDTH + KEYS))
OF_EXPERTS = BLOCKS * EXPERTS * RANK * ((WIDTH + 2 * INNER) + (INNER + WIDTH))
FORWARD = 2 * TOKENS * (BLOCKS * (ATTENTION + CHOSEN * EXPERT + WIDTH * EXPERTS) + WORDS * WIDTH)
SCORES = 4 * TOKENS * TOKENS * WIDTH * BLOCKS
UNIT = 2 * TOKENS * WIDTH
"""Bytes of hidden states in bfloat16."""
SAVED = BLOCKS * UNIT * (4 + 8 + 2.5 + CHOSEN * (1 + 3.5 * 4 + 1))
"""Norms and adapters keep float32 copies, attention its inputs and output; an expert its input, what its two
projections give (3.5 widths each), the activation, the product, and its output."""


def test_lora_beside_the_experts_takes_what_arithmetic_says(tmp_path: Path) -> None:
    found = counted(tmp_path, None)
    assert found.num_total_params == WEIGHTS + ADAPTER
    assert found.num_trainable_params == ADAPTER
    # Frozen weights: a pass forward and one back for the inputs; attention goes back in two and a half.
    work = 2 * FORWARD + 3.5 * SCORES + 3 * 2 * TOKENS * ADAPTER
    assert found.flops_per_step == pytest.approx(work, rel=0.02)
    memory = 2 * WEIGHTS + 4 * ADAPTER * 3 + SAVED
    assert found.live_train_bytes == pytest.approx(memory, rel=0.02)


def test_lora_on_the_experts_takes_what_arithmetic_says(tmp_path: Path) -> None:
    found = counted(tmp_path, ("all-linear", "experts"))
    assert found.num_trainable_params == ADAPTER + OF_EXPERTS
    # peft adds the product of its factors to the weights of all experts: once to look at it, once to use it; and back
    # through the weights to both factors.
    product = 2 * BLOCKS * EXPERTS * RANK * EXPERT
    through_weights = 2 * TOKENS * BLOCKS * CHOSEN * EXPERT
    work = 2 * FORWARD + 3.5 * SCORES + 3 * 2 * TOKENS * ADAPTER + 4 * product + through_weights
    assert found.flops_per_step == pytest.approx(work, rel=0.02)
    memory = 2 * WEIGHTS + 4 * (ADAPTER + OF_EXPERTS) * 3 + SAVED + 2 * BLOCKS * EXPERTS * EXPERT
    assert found.live_train_bytes == pytest.approx(memory, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_products_of_groups_are_counted_in_every_type(dtype: torch.dtype) -> None:
    work: list[int] = []
    rows = torch.empty(12, 8, dtype=dtype, device="meta", requires_grad=True)
    weights = torch.empty(3, 8, 5, dtype=dtype, device="meta")
    with MetaKernels("accelerator", work.append):
        out = F.grouped_mm(rows, weights, offs=torch.empty(3, dtype=torch.int32, device="meta"))
        out.sum().backward()
    assert (out.shape, out.dtype) == ((12, 5), dtype)
    assert sum(work) == 2 * (2 * 12 * 8 * 5), "forward, and back for the rows alone: the weights are frozen"
