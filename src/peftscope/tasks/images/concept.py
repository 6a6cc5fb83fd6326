"""Learning a concept from a few pictures, and drawing it where it has not been seen.

Ruiz et al. 2023, "DreamBooth" (arXiv:2208.12242): a word that means nothing is bound to what some pictures show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from peftscope.errors import DataError
from peftscope.models.kinds.text_to_image.generator import ImageGenerator
from peftscope.models.kinds.text_to_image.pipeline import Drawing, ImagePipeline, NoiseLevels
from peftscope.schema.base import content_hash
from peftscope.schema.metric import MetricSpec
from peftscope.tasks.base import (
    Batch,
    ExampleScore,
    Retention,
    Sample,
    ShownExample,
    Split,
    Task,
    TaskContext,
)
from peftscope.tasks.images.encoders import encoder, fit_to_prompts
from peftscope.tasks.images.options import DRAWN, ConceptOptions
from peftscope.tasks.images.picture_facts import copied_share, diversity, prompt_fidelity
from peftscope.tasks.images.prepared import Encoded, PreparedConcept
from peftscope.tasks.images.sheets import TestPictures, sample_sheet, test_sheet
from peftscope.tasks.images.sources import ConceptPicture, class_prompts, drift_prompts, read_pictures
from peftscope.tasks.images.unrelated import UnrelatedPrompts
from peftscope.tasks.order import epoch_batches

__all__ = ["ConceptTask"]

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
LEVELS_LOOKED_AT = 8
"""Noise levels at which the held-out loss looks at each picture."""

SAMPLES_OF_TEST, SAMPLES_OF_OTHERS = 4, 2
"""Prompts of a sample grid where the user names none: of the test; of drift and of class bleed each."""


class ConceptTask(Task):
    """A concept is learned from its training pictures; pictures drawn of other prompts are set against real ones.

    The score of a drawn picture is its similarity to the held-out pictures of the same prompt, or, of a prompt that
    no picture has, to all of them.

    Args:
        options: The task's own options.
        context: The pipeline, and batch size.
        prepared: What was made of pictures and prompts when they were kept.

    Raises:
        DataError: Pictures cannot be read, are too few, or have no prompts.
    """

    name: ClassVar[str] = "concept"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "images"

    def __init__(self, options: ConceptOptions, context: TaskContext, prepared: PreparedConcept | None = None) -> None:
        assert isinstance(context.processor, ImagePipeline), "a concept is learned by an image pipeline"
        self.options, self.context = options, context
        self.pipeline = context.processor
        self._settings = content_hash({"task": self.name, "version": self.version, "options": options.decisive()})
        if prepared is None:
            prepared = self._prepared()
        assert prepared.settings == self._settings, "kept with other options"
        self._prompts, self._states = prepared.prompts, prepared.states
        self._splits = dict(prepared.splits)
        self._drawn: dict[Split, tuple[Tensor, list[float]]] = {}
        """Pictures drawn last of a split, and their scores."""

    @property
    def metric(self) -> MetricSpec:
        """Cosine of the encoder's features."""
        return MetricSpec(
            name="similarity",
            unit="cosine",
            direction="higher",
            window=f"cosine of {self.options.encoder}'s features between drawn and held-out pictures",
        )

    def size(self, split: Split) -> int:
        """Prompts that are drawn; of training, pictures."""
        return len(self._splits[split].picture_ids) if split == "train" else len(self._asked(split))

    def sources(self) -> Sequence[Path] | None:
        """The folder, where there is one."""
        if self.options.source == DRAWN:
            return ()
        folder = Path(self.options.source).expanduser()
        return (folder.absolute(),) if folder.exists() else None

    def batches(self, seed: int) -> Iterator[Batch]:
        """Training batches without end; noise and its levels are drawn anew for each, from the seed."""
        encoded = self._splits["train"]
        order = epoch_batches([1] * len(encoded.picture_ids), self.context.batch_size, seed)
        for step, rows in zip(count(), order):
            yield self._batch(encoded, rows, _seed("train", seed, step))

    def eval_batches(self, split: Split) -> Iterator[Batch]:
        """Each picture of a split with the same noise for every method, at several levels."""
        encoded = self._splits[split]
        rows = [row for row in range(len(encoded.picture_ids)) for _ in range(LEVELS_LOOKED_AT)]
        for begin in range(0, len(rows), self.context.batch_size):
            yield self._batch(encoded, rows[begin : begin + self.context.batch_size], _seed("eval", split, begin))

    def num_samples(self, batch: Batch) -> int:
        """Number of pictures."""
        return len(batch["pictures"])

    def num_units(self, batch: Batch) -> int:
        """Number of pictures."""
        return len(batch["pictures"])

    def longest_batch(self) -> Batch:
        """Any full batch: all pictures are of one size."""
        encoded = self._splits["train"]
        return self._batch(encoded, range(min(self.context.batch_size, len(encoded.picture_ids))), 0)

    def largest_training(self) -> tuple[int, int]:
        """Pictures in a batch and their width."""
        return min(self.context.batch_size, self.size("train")), self.options.side

    def largest_scoring(self) -> tuple[int, int]:
        """Pictures drawn at once and their width."""
        return self.options.eval_batch_size, self.options.side

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The pipeline's own loss."""
        return self.pipeline.loss(model, {key: value for key, value in batch.items() if key != "pictures"})

    def score(self, model: nn.Module, predictor: ImageGenerator, split: Split) -> Sequence[ExampleScore]:
        """Similarity of every picture drawn: ``draws`` of each prompt."""
        asked = self._asked(split)
        prompts = [prompt for prompt, _ in asked for _ in range(self.options.draws)]
        seeds = [_seed("noise", draw) for _ in asked for draw in range(self.options.draws)]
        drawn = self.draw(model, predictor, prompts, seeds)
        features = self.encode(drawn)
        outcomes = []
        for number, feature in enumerate(features):
            at, draw = divmod(number, self.options.draws)
            real = self._splits[split].features[asked[at][1]]
            outcomes.append(
                ExampleScore(example_id=f"{split}-{at:03d}", score=float((real @ feature).mean()), draw=draw)
            )
        self._drawn[split] = (drawn, [outcome.score for outcome in outcomes])
        return outcomes

    def answer_facts(self, split: Split, outcomes: Sequence[ExampleScore]) -> Mapping[str, float]:
        """Of the pictures drawn last: prompt fidelity, diversity, copies of training pictures."""
        drawn, _ = self._drawn[split]
        prompts = [prompt for prompt, _ in self._asked(split) for _ in range(self.options.draws)]
        features = self.encode(drawn)
        facts = {"copied_share": copied_share(drawn, features, self._splits["train"], self._splits[split])}
        if (spread := diversity(features, self.options.draws)) is not None:
            facts["diversity"] = spread
        if self.options.source == DRAWN and (fidelity := prompt_fidelity(drawn, prompts)) is not None:
            facts["prompt_fidelity"] = fidelity
        if self.options.prompt_encoder is not None:
            facts["prompt_similarity"] = float(fit_to_prompts(self.options.prompt_encoder, drawn, prompts).mean())
        return facts

    def show(self, split: Split, index: int) -> ShownExample:
        """Prompt, and the pictures the drawn one is compared with."""
        prompt, rows = self._asked(split)[index]
        names = [self._splits[split].picture_ids[row] for row in rows]
        return ShownExample(example_id=f"{split}-{index:03d}", prompt=prompt, target=", ".join(names))

    def samples(
        self, model: nn.Module, predictor: ImageGenerator, baseline: Mapping[str, Tensor] | None, run_id: str
    ) -> Sequence[Sample]:
        """The sample prompts beside the base's pictures, and the best and worst of the test."""
        draws = self.options.draws
        facts = {"run_id": run_id, "seeds": [_seed("noise", draw) for draw in range(draws)]}
        before = None if baseline is None else baseline.get("samples")
        drawn = self.sample_pictures(model, predictor, draws=draws)
        pictures, scores = self._drawn["test"]
        tests = [
            TestPictures(
                prompt=prompt,
                real=self._splits["test"].pictures[rows[0]],
                drawn=list(pictures[at * draws :][:draws]),
                score=float(np.mean(scores[at * draws :][:draws])),
            )
            for at, (prompt, rows) in enumerate(self._asked("test"))
        ]
        prompts = self.sample_prompts()
        sheets = (
            [sample_sheet(prompts, list(drawn), None if before is None else list(before), facts)] if prompts else []
        )
        return [*sheets, test_sheet(tests, facts)]

    def sample_prompts(self) -> tuple[str, ...]:
        """Prompts of the sample grid."""
        if self.options.sample_prompts is not None:
            return self.options.sample_prompts
        test = [prompt for prompt, _ in self._asked("test")][:SAMPLES_OF_TEST]
        others = [drift_prompts(self.options), class_prompts(self.options)]
        return (*test, *(prompt for prompts in others for prompt in prompts[:SAMPLES_OF_OTHERS]))

    def sample_pictures(self, model: nn.Module, predictor: ImageGenerator, *, draws: int) -> Tensor:
        """Pictures (P · draws, H, W, 3) of 8 bits of the sample prompts, from the test's noise."""
        prompts = [prompt for prompt in self.sample_prompts() for _ in range(draws)]
        seeds = [_seed("noise", draw) for _ in self.sample_prompts() for draw in range(draws)]
        return self.draw(model, predictor, prompts, seeds)

    def fingerprint(self) -> dict[str, Any]:
        """Version, options, sizes, and per split a hash of pictures and prompts."""
        return dict(self._fingerprint)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "version": self.version,
            "options": self.options.decisive(),
            "sizes": {split: self.size(split) for split in SPLITS},
            "pictures": {split: _digest(self._splits[split]) for split in SPLITS},
        }

    def retention(self) -> Retention | None:
        """Drift and class bleed; None where prompts for neither are there."""
        unrelated, of_class = drift_prompts(self.options), class_prompts(self.options)
        return UnrelatedPrompts(self, unrelated, of_class) if unrelated or of_class else None

    def resplit(self, seed: int) -> None:
        """Cut training and validation pictures anew; the test pictures stay."""
        self.fingerprint()  # of the data as they were cut first, before they are cut again
        together = self._splits["train"].followed_by(self._splits["valid"])
        order = np.random.default_rng([seed, len(together.picture_ids)]).permutation(len(together.picture_ids)).tolist()
        num_valid = len(self._splits["valid"].picture_ids)
        self._splits["valid"] = together.take(sorted(order[:num_valid]))
        self._splits["train"] = together.take(sorted(order[num_valid:]))

    def save_cache(self, folder: Path, retention: Retention | None = None) -> None:
        """Latents, states of prompts and features: runs load neither text encoder nor pictures."""
        PreparedConcept(settings=self._settings, splits=self._splits, prompts=self._prompts, states=self._states).save(
            folder
        )

    @classmethod
    def from_cache(cls, options: Any, context: TaskContext, folder: Path) -> Self:
        """What ``save_cache`` wrote."""
        return cls(options, context, PreparedConcept.read(folder))

    def draw(self, model: nn.Module, predictor: ImageGenerator, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures (N, H, W, 3) of 8 bits of prompts that are prepared, each from its noise."""
        how = Drawing(
            side=self.options.side,
            steps=self.options.num_inference_steps,
            guidance=self.options.guidance_scale,
            batch_size=self.options.eval_batch_size,
        )
        return predictor(model, self._states_of(prompts), self._states_of([""]), seeds, how)

    def encode(self, pictures: Tensor) -> Tensor:
        """Features (N, D) of pictures."""
        return encoder(self.options.encoder, self.options.encoder_size)(pictures)

    def concept_features(self) -> Tensor:
        """Features (N, D) of the pictures that were trained on."""
        return self._splits["train"].features

    def _asked(self, split: Split) -> list[tuple[str, list[int]]]:
        """Every prompt that is drawn of a split once, with the pictures it is compared with."""
        prompts = self._splits[split].prompts
        rows: dict[str, list[int]] = {}
        for row, prompt in enumerate(prompts):
            rows.setdefault(prompt, []).append(row)
        if split == "test":
            for prompt in self.options.test_prompts:
                rows.setdefault(prompt, list(range(len(prompts))))
        return list(rows.items())

    def _batch(self, encoded: Encoded, rows: Sequence[int], seed: int) -> Batch:
        levels = NoiseLevels(
            scheme=self.options.weighting_scheme,
            logit_mean=self.options.logit_mean,
            logit_std=self.options.logit_std,
            mode_scale=self.options.mode_scale,
        )
        generator = torch.Generator().manual_seed(seed)
        states = self._states_of([encoded.prompts[row] for row in rows])
        batch = self.pipeline.batch(encoded.latents[list(rows)], states, levels, generator)
        return {**batch, "pictures": [encoded.picture_ids[row] for row in rows]}

    def _states_of(self, prompts: Sequence[str]) -> Mapping[str, Tensor]:
        rows = [self._prompts.index(prompt) for prompt in prompts]
        return {key: value[rows] for key, value in self._states.items()}

    def _prepared(self) -> PreparedConcept:
        """Read, cut and encode everything once."""
        side, step = self.options.side, self.pipeline.step_px
        if side % step:
            raise DataError(f"task.resolution: {side} px; this model draws multiples of {step}")
        read = read_pictures(self.options)
        splits = {split: self._encoded(pictures) for split, pictures in read.items()}
        wanted = ["", *(each.prompt for pictures in read.values() for each in pictures), *self.options.test_prompts]
        wanted += [*drift_prompts(self.options), *class_prompts(self.options), *(self.options.sample_prompts or ())]
        prompts = tuple(dict.fromkeys(wanted))
        states = self.pipeline.encode_prompts(
            prompts, max_tokens=self.options.max_tokens, layers=self.options.text_layers
        )
        return PreparedConcept(settings=self._settings, splits=splits, prompts=prompts, states=states)

    def _encoded(self, pictures: Sequence[ConceptPicture]) -> Encoded:
        values = torch.from_numpy(np.stack([np.asarray(each.picture) for each in pictures]))
        return Encoded(
            picture_ids=tuple(each.picture_id for each in pictures),
            prompts=tuple(each.prompt for each in pictures),
            latents=self.pipeline.encode_pictures(values.permute(0, 3, 1, 2).float() / 127.5 - 1.0),
            features=self.encode(values),
            pictures=values,
        )


def _seed(*parts: object) -> int:
    """A seed of noise that depends on what it is for, and on nothing else."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16)


def _digest(encoded: Encoded) -> str:
    total = hashlib.sha256()
    for name, prompt, picture in zip(encoded.picture_ids, encoded.prompts, encoded.pictures):
        total.update(f"{name}\0{prompt}\0".encode())
        total.update(picture.numpy().tobytes())
    return total.hexdigest()[:16]
