"""The sheets of pictures a run leaves: the sample prompts beside the base's, and the test's best and worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from peftscope.tasks.base import Sample
from peftscope.tasks.images.grids import GridRow, grid_png

__all__ = ["TestPictures", "sample_sheet", "test_sheet"]

SHOWN = 4
"""Test prompts at either end of the scores that are shown."""


@dataclass(frozen=True, kw_only=True)
class TestPictures:
    """What was drawn of a prompt of the test."""

    prompt: str
    real: Tensor
    """(H, W, 3) of 8 bits."""
    drawn: Sequence[Tensor]
    score: float
    """Mean of the draws."""


def sample_sheet(
    prompts: Sequence[str], drawn: Sequence[Tensor], before: Sequence[Tensor] | None, facts: dict[str, Any]
) -> Sample:
    """A row for each prompt: the base's picture where there is one, then those of the trained model.

    Args:
        prompts: Each once.
        drawn: Pictures, those of a prompt one after the other.
        before: The base's, one for each prompt, from the first noise.
        facts: What the pictures are of.
    """
    draws = len(drawn) // len(prompts)
    rows = [
        GridRow(prompt=prompt, pictures=[*([] if before is None else [before[at]]), *drawn[at * draws :][:draws]])
        for at, prompt in enumerate(prompts)
    ]
    return Sample(
        name="samples",
        suffix=".png",
        about="pictures of the sample prompts" + ("" if before is None else ", the base's first"),
        content=grid_png(
            rows, [*([] if before is None else ["base"]), *_noises(draws)], facts, beside=0 if before is None else 1
        ),
    )


def test_sheet(tests: Sequence[TestPictures], facts: dict[str, Any]) -> Sample:
    """A real picture and those drawn of its prompt, for the best and the worst of the test."""
    order = sorted(tests, key=lambda test: -test.score)
    shown = order if len(order) <= 2 * SHOWN else [*order[:SHOWN], *order[-SHOWN:]]
    rows = [GridRow(prompt=test.prompt, pictures=[test.real, *test.drawn], note=f"{test.score:.3f}") for test in shown]
    return Sample(
        name="test",
        suffix=".png",
        about="a real picture and those drawn of its prompt, from the best to the worst of the test",
        content=grid_png(rows, ["real", *_noises(len(tests[0].drawn))], facts, beside=1),
    )


def _noises(draws: int) -> list[str]:
    return [f"noise {draw}" for draw in range(draws)]
