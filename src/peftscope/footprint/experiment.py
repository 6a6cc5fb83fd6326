"""What is asked about an experiment folder of the public benchmark, in the circumstances its code gives it."""

from __future__ import annotations

from dataclasses import replace

from peftscope.errors import SpecError
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.methods.adapter_config import method_name
from peftscope.models.kinds.base import ModelProfile
from peftscope.models.kinds.text_to_image.profile import TextToImageProfile
from peftscope.upstream.experiment import Experiment, method_and_training

__all__ = ["query_of"]

SCORER_BYTES = 86_580_480 * 4
"""Of facebook/dinov2-base in float32, which lies beside the model to score images."""
BYTES_PER_PLACE = 4 * 8
"""Coordinates of a token of the prompt."""


def query_of(experiment: Experiment, profile: ModelProfile) -> FootprintQuery:
    """The question an experiment stands for, on a base that is given.

    The image benchmark encodes its training images and prompts once and keeps them on the device, beside the model
    that scores (``method_comparison/image-gen/run.py`` of peft, 2026-06).

    Raises:
        SpecError: The base is a language model and the experiment of images, or the other way round.
    """
    is_image = experiment.benchmark == "image-gen"
    if is_image != isinstance(profile, TextToImageProfile):
        raise SpecError(
            experiment.folder, [f"of the benchmark {experiment.benchmark}; {profile.described()} is no base for it"]
        )
    params = experiment.training_params
    name = method_name(experiment.peft_config, params)
    method, train = method_and_training(experiment, method_name=name)
    if isinstance(profile, TextToImageProfile):
        tokens, length = params["max_sequence_length"], params["resolution"]
        num_images = len(params["instance_prompts"]) - params["valid_size"] - params["test_size"]
        kept = replace(profile, prompt_tokens=tokens).batch(num_images, length)
        beside = [kept[name].nbytes for name in ("latents", "prompts")]
        profile = replace(
            profile,
            prompt_tokens=tokens,
            beside_bytes=(*beside, num_images * tokens * BYTES_PER_PLACE, SCORER_BYTES),
        )
        eval_length = length
    else:
        length, eval_length = params["max_seq_length"], params["generation_kwargs"].get("max_length")
    workload = Workload(
        batch_size=train.batch_size,
        length=length,
        train=train,
        eval_batch_size=params["batch_size_eval"],
        eval_length=eval_length,
    )
    return FootprintQuery(method=method, profile=profile, workload=workload, experiment=experiment.name)
