"""Learning a concept from a few pictures, and drawing it where it has not been seen.

Ruiz et al. 2023, "DreamBooth" (arXiv:2208.12242): a word that means nothing is bound to what some pictures show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
    Scorer,
    ShownExample,
    Split,
    Task,
    TaskContext,
)
from peftscope.tasks.images.encoders import AT_ONCE, encoder, encoder_sha256, fit_to_prompts, two_towers
from peftscope.tasks.images.encoding import encoded, stacked, wanted_prompts
from peftscope.tasks.images.options import DRAWN, ConceptOptions
from peftscope.tasks.images.picture_facts import Looks, copied_share, diversity, prompt_fidelity
from peftscope.tasks.images.prepared import Encodings, Pictures, read_prepared, save_prepared
from peftscope.tasks.images.sheets import TestPictures, sample_sheet, test_sheet
from peftscope.tasks.images.sources import class_prompts, drift_prompts
from peftscope.tasks.images.unrelated import UnrelatedPrompts
from peftscope.tasks.order import epoch_batches

__all__ = ["ConceptTask"]

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
LEVELS_LOOKED_AT = 8
"""Noise levels at which the held-out loss looks at each picture."""
SAMPLES_OF_TEST, SAMPLES_OF_OTHERS = 4, 2
"""Prompts of a sample sheet where the user names none: of the test; of drift and of class bleed each."""


class ConceptTask(Task):
    """A concept is learned from its training pictures; pictures drawn of other prompts are set against real ones.

    The score of a drawn picture is its similarity to the held-out pictures of the same prompt, or, of a prompt in
    ``test_prompts``, to all of them.

    Args:
        options: The task's own options.
        context: The pipeline, and batch size.
        kept: Pictures, and what was made of them when they were kept.

    Raises:
        DataError: Pictures cannot be read, are too few, or have no prompts.
    """

    name: ClassVar[str] = "concept"
    version: ClassVar[int] = 1
    unit: ClassVar[str] = "images"

    def __init__(
        self, options: ConceptOptions, context: TaskContext, kept: tuple[Pictures, Encodings] | None = None
    ) -> None:
        assert isinstance(context.processor, ImagePipeline), "a concept is learned by an image pipeline"
        self.options, self.context, self.pipeline = options, context, context.processor
        self._levels = NoiseLevels(
            scheme=options.weighting_scheme,
            logit_mean=options.logit_mean,
            logit_std=options.logit_std,
            mode_scale=options.mode_scale,
        )
        self.pipeline.check_levels(self._levels)
        if options.side % self.pipeline.step_px:
            raise DataError(
                f"task.resolution: {options.side} px; this model draws multiples of {self.pipeline.step_px}"
            )
        self._pictures = stacked(options) if kept is None else kept[0]
        if kept is not None:
            self._made = kept[1]
        self._drawn: dict[Split, tuple[Looks, list[float]]] = {}
        """Pictures drawn last of a split, and their scores."""

    @cached_property
    def _made(self) -> Encodings:
        """Made when it is first needed: where it is kept already, it never is."""
        return encoded(self.options, self.pipeline, self._pictures)

    @cached_property
    def encoder_sha256(self) -> str:
        """Hash of what compares pictures."""
        return encoder_sha256(self.options.encoder)

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
        return len(self._pictures.splits[split]) if split == "train" else len(self._asked(split))

    def sources(self) -> Sequence[Path] | None:
        """The folder of the pictures and that of the encoder, where they lie here; None for a data set of the hub."""
        named = (self.options.encoder, *(() if self.options.source == DRAWN else (self.options.source,)))
        places = [Path(name).expanduser() for name in named]
        if not all(place.exists() for place in places[1:]):
            return None
        return [place.absolute() for place in places if place.exists()]

    def batches(self, seed: int) -> Iterator[Batch]:
        """Training batches without end; noise and its levels are drawn anew for each, from the seed."""
        rows = self._pictures.splits["train"]
        for step, chosen in zip(count(), epoch_batches([1] * len(rows), self.context.batch_size, seed)):
            yield self._batch([rows[number] for number in chosen], _seed("train", seed, step))

    def eval_batches(self, split: Split) -> Iterator[Batch]:
        """Each picture of a split with the same noise for every method, at several levels."""
        rows = [row for row in self._pictures.splits[split] for _ in range(LEVELS_LOOKED_AT)]
        for begin in range(0, len(rows), self.context.batch_size):
            yield self._batch(rows[begin : begin + self.context.batch_size], _seed("eval", split, begin))

    def num_samples(self, batch: Batch) -> int:
        """Number of pictures."""
        return len(batch["pictures"])

    def num_units(self, batch: Batch) -> int:
        """Number of pictures."""
        return len(batch["pictures"])

    def longest_batch(self) -> Batch:
        """Any full batch: all pictures are of one size."""
        return self._batch(self._pictures.splits["train"][: self.context.batch_size], 0)

    def largest_training(self) -> tuple[int, int]:
        """Pictures in a batch and their width."""
        return min(self.context.batch_size, self.size("train")), self.options.side

    def largest_scoring(self) -> tuple[int, int]:
        """Pictures drawn at once and their width."""
        return self.options.eval_batch_size, self.options.side

    def scorer(self) -> Scorer:
        """The encoder, and what tells how pictures fit their prompts."""
        most = min(AT_ONCE, self.size("test") * self.options.draws)
        pictures = torch.zeros(most, self.options.side, self.options.side, 3, dtype=torch.uint8)
        look, name = encoder(self.options.encoder, self.options.encoder_size), self.options.prompt_encoder
        if name is None:
            return Scorer(models=(look.model,), work=lambda: look(pictures))
        both = look.model, two_towers(name)[1]
        return Scorer(models=both, work=lambda: (look(pictures), fit_to_prompts(name, pictures, ["a"] * most)))

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The pipeline's own loss."""
        return self.pipeline.loss(model, {key: value for key, value in batch.items() if key != "pictures"})

    def score(self, model: nn.Module, predictor: ImageGenerator, split: Split) -> Sequence[ExampleScore]:
        """Similarity of every picture drawn: ``draws`` of each prompt."""
        asked, draws = self._asked(split), self.options.draws
        drawn = self.draw(model, predictor, [prompt for prompt, _ in asked for _ in range(draws)], self._seeds(split))
        looks = Looks(drawn, self.encode(drawn))
        outcomes = []
        for number, feature in enumerate(looks.features):
            at, draw = divmod(number, draws)
            score = float((self._made.features[asked[at][1]] @ feature).mean())
            outcomes.append(ExampleScore(example_id=f"{split}-{at:03d}", score=score, draw=draw))
        self._drawn[split] = looks, [outcome.score for outcome in outcomes]
        return outcomes

    def answer_facts(self, split: Split, outcomes: Sequence[ExampleScore]) -> Mapping[str, float]:
        """Of the pictures drawn last: prompt fidelity, diversity, copies of training pictures."""
        drawn, _ = self._drawn[split]
        prompts = [prompt for prompt, _ in self._asked(split) for _ in range(self.options.draws)]
        facts = {"copied_share": copied_share(drawn, self._looks("train"), self._looks(split))}
        if (spread := diversity(drawn.features, self.options.draws)) is not None:
            facts["diversity"] = spread
        if self.options.source == DRAWN and (fidelity := prompt_fidelity(drawn.pictures, prompts)) is not None:
            facts["prompt_fidelity"] = fidelity
        if (name := self.options.prompt_encoder) is not None:
            facts["prompt_similarity"] = float(fit_to_prompts(name, drawn.pictures, prompts).mean())
        return facts

    def show(self, split: Split, index: int) -> ShownExample:
        """Prompt, and the pictures the drawn one is compared with."""
        prompt, rows = self._asked(split)[index]
        names = [self._pictures.picture_ids[row] for row in rows]
        return ShownExample(example_id=f"{split}-{index:03d}", prompt=prompt, target=", ".join(names))

    def samples(
        self, model: nn.Module, predictor: ImageGenerator, baseline: Mapping[str, Tensor] | None, run_id: str
    ) -> Sequence[Sample]:
        """The sample prompts beside the base's pictures, and the best and worst of the test."""
        draws, prompts = self.options.draws, self.sample_prompts()
        facts = {"run_id": run_id, "seeds": [_seed("noise", "test", draw) for draw in range(draws)]}
        looks, scores = self._drawn["test"]
        tests = [
            TestPictures(
                prompt=prompt,
                real=self._pictures.pixels[rows[0]],
                drawn=list(looks.pictures[at * draws :][:draws]),
                score=float(np.mean(scores[at * draws :][:draws])),
            )
            for at, (prompt, rows) in enumerate(self._asked("test"))
        ]
        sheets = [test_sheet(tests, facts)]
        if prompts:
            before = UnrelatedPrompts.samples_in(baseline, prompts)
            drawn = self.sample_pictures(model, predictor, draws=draws)
            sheets.insert(0, sample_sheet(prompts, list(drawn), None if before is None else list(before), facts))
        return sheets

    def sample_prompts(self) -> tuple[str, ...]:
        """Prompts of the sample sheet."""
        if self.options.sample_prompts is not None:
            return self.options.sample_prompts
        test = [prompt for prompt, _ in self._asked("test")][:SAMPLES_OF_TEST]
        others = [drift_prompts(self.options), class_prompts(self.options)]
        return (*test, *(prompt for prompts in others for prompt in prompts[:SAMPLES_OF_OTHERS]))

    def sample_pictures(self, model: nn.Module, predictor: ImageGenerator, *, draws: int) -> Tensor:
        """Pictures (P · draws, H, W, 3) of 8 bits of the sample prompts, from the test's noise."""
        asked = [(prompt, draw) for prompt in self.sample_prompts() for draw in range(draws)]
        seeds = [_seed("noise", "test", draw) for _, draw in asked]
        return self.draw(model, predictor, [prompt for prompt, _ in asked], seeds)

    def fingerprint(self) -> dict[str, Any]:
        """Version, options, sizes, what compares pictures, and per split a hash of pictures and prompts."""
        return dict(self._fingerprint)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "version": self.version,
            "options": self.options.decisive(),
            "encoder": self.encoder_sha256,
            "sizes": {split: self.size(split) for split in SPLITS},
            "pictures": {split: self._pictures.digest(split) for split in SPLITS},
        }

    def retention(self) -> Retention | None:
        """Drift and class bleed; None where prompts for neither are there."""
        unrelated, of_class = drift_prompts(self.options), class_prompts(self.options)
        return UnrelatedPrompts(self, unrelated, of_class) if unrelated or of_class else None

    def warnings(self) -> Sequence[str]:
        """Prompts that are not read to their end, and those that are trained on and tested."""
        made = self.__dict__.get("_made")
        prompts = wanted_prompts(self.options, self._pictures)
        cut = self.pipeline.cut_prompts(prompts, max_tokens=self.options.max_tokens) if made is None else made.cut
        notes = [f"the text encoder does not read the end of {prompt!r}" for prompt in cut]
        trained = {self._pictures.prompts[row] for split in SPLITS[:2] for row in self._pictures.splits[split]}
        again = [prompt for prompt, _ in self._asked("test") if prompt in trained]
        if again:
            notes.append(
                f"{len(again)} of {self.size('test')} test prompts are trained on or validated with, too: of these the "
                "score tells how alike pictures are, and not whether the concept can be drawn elsewhere"
            )
        return tuple(notes)

    def resplit(self, seed: int) -> None:
        """Cut training and validation pictures anew; the test pictures stay."""
        self.fingerprint()  # of the data as they were cut first, before they are cut again
        splits = self._pictures.splits
        together = sorted((*splits["train"], *splits["valid"]))
        order = np.random.default_rng([seed, len(together)]).permutation(len(together))
        rows = [together[number] for number in order]
        num_valid = len(splits["valid"])
        cut: dict[Split, tuple[int, ...]] = {
            "valid": tuple(sorted(rows[:num_valid])),
            "train": tuple(sorted(rows[num_valid:])),
        }
        self._pictures = replace(self._pictures, splits={**splits, **cut})

    def cache_key(self) -> dict[str, Any]:
        """The fingerprint, every prompt, and the pipeline that latents and states are of."""
        return {
            "fingerprint": self.fingerprint(),
            "prompts": wanted_prompts(self.options, self._pictures),
            "kept_with": _kept_with(self.options, self.pipeline),
        }

    def save_cache(self, folder: Path, retention: Retention | None = None) -> None:
        """Latents, states of prompts and features: runs load neither text encoder nor pictures."""
        save_prepared(folder, _kept_with(self.options, self.pipeline), self._pictures, self._made)

    @classmethod
    def from_cache(cls, options: Any, context: TaskContext, folder: Path) -> Self:
        """What ``save_cache`` wrote."""
        return cls(options, context, read_prepared(folder, _kept_with(options, context.processor)))

    def draw(self, model: nn.Module, predictor: ImageGenerator, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures (N, H, W, 3) of 8 bits of prompts that are prepared, each from its noise."""
        how = Drawing(
            side=self.options.side,
            steps=self.options.num_inference_steps,
            guidance=self.options.guidance_scale,
            batch_size=self.options.eval_batch_size,
        )
        return predictor(model, self._made.states_of(prompts), self._made.states_of([""]), seeds, how)

    def encode(self, pictures: Tensor) -> Tensor:
        """Features (N, D) of pictures."""
        return encoder(self.options.encoder, self.options.encoder_size)(pictures)

    def concept_features(self) -> Tensor:
        """Features (N, D) of the pictures that were trained on."""
        return self._looks("train").features

    def _looks(self, split: Split) -> Looks:
        rows = list(self._pictures.splits[split])
        return Looks(self._pictures.pixels[rows], self._made.features[rows])

    def _asked(self, split: Split) -> list[tuple[str, list[int]]]:
        """Every prompt that is drawn of a split once, with the pictures it is compared with."""
        found: dict[str, list[int]] = {}
        for row in self._pictures.splits[split]:
            found.setdefault(self._pictures.prompts[row], []).append(row)
        if split == "test":
            found |= {prompt: list(self._pictures.splits[split]) for prompt in self.options.test_prompts}
        return list(found.items())

    def _seeds(self, split: Split) -> list[int]:
        """Of the noise of every picture of a split: the same for each prompt, others for each split."""
        draws = [_seed("noise", split, draw) for draw in range(self.options.draws)]
        return draws * len(self._asked(split))

    def _batch(self, rows: Sequence[int], seed: int) -> Batch:
        states = self._made.states_of([self._pictures.prompts[row] for row in rows])
        generator = torch.Generator().manual_seed(seed)
        batch = self.pipeline.batch(self._made.latents[list(rows)], states, self._levels, generator)
        return {**batch, "pictures": [self._pictures.picture_ids[row] for row in rows]}


def _kept_with(options: ConceptOptions, pipeline: ImagePipeline) -> str:
    """Hash of what decides what is kept, beside the pictures: options, pipeline, encoder."""
    return content_hash(
        {
            "options": options.model_dump(mode="json", exclude={"source"}),
            "pipeline": pipeline.identity,
            "encoder": encoder_sha256(options.encoder),
            "version": ConceptTask.version,
        }
    )


def _seed(*parts: object) -> int:
    """A seed of noise that depends on what it is for, and on nothing else."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16)
