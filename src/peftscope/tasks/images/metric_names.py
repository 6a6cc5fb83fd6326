"""Metrics of pictures beside their score. No torch here."""

from __future__ import annotations

from functools import partial

from peftscope.schema.metric import MetricSpec

__all__ = ["CONCEPT_METRICS"]

TEST = "pictures drawn of the test prompts"

_of_pictures = partial(MetricSpec, kinds=("text-to-image",))

CONCEPT_METRICS = (
    _of_pictures(
        name="prompt_fidelity",
        unit="share",
        direction="higher",
        window=f"{TEST}: what the prompt says of background and place is seen, by a classifier of captions",
        heading="fidelity",
    ),
    _of_pictures(
        name="prompt_similarity",
        unit="cosine",
        direction="higher",
        window=f"{TEST}: cosine of what a model of texts and pictures (prompt_encoder) makes of prompt and picture",
        heading="fits prompt",
        on_request=True,
    ),
    _of_pictures(
        name="diversity",
        unit="cosine distance",
        direction="higher",
        window=f"{TEST}: mean distance of the encoder's features between prompts, same noise",
        heading="diversity",
    ),
    _of_pictures(
        name="copied_share",
        unit="share",
        direction="lower",
        window=f"{TEST}: nearer to a training picture, in pixels and in features, than test pictures are",
        heading="copied",
    ),
    _of_pictures(
        name="image_drift",
        unit="cosine distance",
        direction="lower",
        window="unrelated prompts, same noise: distance of the encoder's features from the base's pictures",
        label="drift",
        heading="drift",
        limit="drift",
    ),
    _of_pictures(
        name="class_bleed",
        unit="cosine",
        direction="lower",
        window="prompts of the class without the concept: how much nearer to the concept than the base's pictures",
        label="class bleed",
        heading="bleed",
        limit="bleed",
        signed=True,
    ),
)
"""What the task ``concept`` gives beside what every task can."""
