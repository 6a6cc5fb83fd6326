"""Options of the task that learns a concept. No torch here: a study is checked in milliseconds.

Field docstrings are the help text of the study file.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from peftscope.tasks.options import TaskOptions

__all__ = ["DRAWN", "ConceptOptions"]

DRAWN = "drawn"
"""The source that needs no files."""
Size = Annotated[int, Field(gt=0)]
Prompt = Annotated[str, Field(min_length=1)]


class ConceptOptions(TaskOptions):
    """Options of the task ``concept``: which pictures, how they are learned, drawn and compared."""

    places: ClassVar[frozenset[str]] = frozenset({"source"})
    of_retention: ClassVar[frozenset[str]] = frozenset({"drift_prompts", "class_prompts"})
    """Options that decide nothing but what drift and class bleed are measured on, which has its own fingerprint."""
    beside: ClassVar[frozenset[str]] = frozenset({"sample_prompts", "prompt_encoder"})
    """Options that decide no score: what is shown, and what is measured beside it."""
    of_data: ClassVar[frozenset[str]] = frozenset({"split", "image_column", "text_column", "prompt", "prompts"})
    """Options whose outcome the hash of pictures and prompts stands for."""

    source: str = DRAWN
    """``drawn``, a character that a program draws and ``builtin:nano-t2i`` has never seen; a folder of pictures; or a
    data set's hub id. Prompts are taken from the options, from a ``metadata.jsonl`` or from ``.txt`` files beside the
    pictures."""
    split: str = "train"
    """Of a hub data set: the split that is read."""
    image_column: str = "image"
    """Of a hub data set: the column with the pictures."""
    text_column: str = "text"
    """Of a hub data set: the column with the prompts, where they are not given here."""
    prompt: Prompt | None = None
    """One prompt for all pictures, such as ``a photo of sks dog``."""
    prompts: tuple[Prompt, ...] | None = None
    """A prompt for each picture, in the order of the files' names (of a hub data set, of its rows)."""

    train_size: Size | None = None
    """Pictures to train on; all that are left where nothing is given (of ``drawn``, 8)."""
    valid_size: Size | None = None
    """Pictures for validation; 2 where nothing is given (of ``drawn``, 6)."""
    test_size: Size | None = None
    """Pictures for the test; a third of all where nothing is given (of ``drawn``, 24)."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the split; the runs' seeds don't touch it."""
    test_prompts: tuple[Prompt, ...] = ()
    """Prompts drawn beside those of the test pictures; each is compared with all of these."""

    resolution: Size | None = None
    """Width and height in pixels to which pictures are cut and at which they are drawn; 512 where nothing is given (of
    ``drawn``, 64)."""
    weighting_scheme: Literal["none", "logit_normal", "mode", "sigma_sqrt", "cosmap"] = "none"
    """How noise levels are drawn and errors weighted in training by flow matching, as diffusers names it."""
    logit_mean: float = 0.0
    """Of ``logit_normal``."""
    logit_std: float = Field(default=1.0, gt=0)
    """Of ``logit_normal``."""
    mode_scale: float = 1.29
    """Of ``mode``."""
    max_tokens: Annotated[int, Field(gt=1)] | None = None
    """Longest prompt in tokens; as many as the pipeline takes where nothing is given."""
    text_layers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Layers of the text encoder whose states are taken; the family's own where nothing is given."""

    draws: Size = 2
    """Noise seeds for each test prompt. They count as repetitions of a prompt, not as examples of their own."""
    num_inference_steps: Size = 20
    """Steps in which a picture is drawn."""
    guidance_scale: float = Field(default=3.5, ge=1)
    """Strength of classifier-free guidance; 1 is none."""
    eval_batch_size: Size = 8
    """Pictures drawn at once."""
    encoder: str = "efficientnet-lite0"
    """What compares pictures: ``efficientnet-lite0``, which comes with the extra ``images``, or hub id or folder of
    a vision model of transformers, such as ``facebook/dinov2-base``."""
    encoder_size: Size = 224
    """Width and height at which the encoder sees pictures."""

    prompt_encoder: str | None = None
    """Hub id or folder of a model of texts and pictures, such as ``openai/clip-vit-base-patch32``: how well drawn
    pictures fit their prompts is measured with it. Of ``drawn`` a classifier of ours tells."""

    drift_prompts: tuple[Prompt, ...] | None = None
    """Prompts that have nothing to do with the concept; pictures of them are to stay as the base draws them. A list of
    ours where nothing is given; an empty one leaves drift out."""
    class_prompts: tuple[Prompt, ...] | None = None
    """Prompts of the class without the concept, such as ``a photo of a dog``: they must not turn into the concept."""
    sample_prompts: tuple[Prompt, ...] | None = None
    """Prompts of the sample grid; some of the test's, the drift's and the class's where nothing is given."""

    @model_validator(mode="after")
    def _prompts_are_given_once(self) -> Self:
        if self.prompt is not None and self.prompts is not None:
            raise ValueError("prompt is one for all pictures, prompts are one for each; give one of the two")
        if self.source == DRAWN and (self.prompt is not None or self.prompts is not None):
            raise ValueError(f"source {DRAWN} has prompts of its own; leave prompt and prompts out")
        return self

    def decisive(self) -> dict[str, Any]:
        """Those that differ from the defaults and decide scores beyond the pictures themselves."""
        left_out = {*self.places, *self.of_retention, *self.beside, *self.of_data}
        return self.model_dump(mode="json", exclude=left_out, exclude_defaults=True)

    @property
    def side(self) -> int:
        """Width and height of the pictures in pixels."""
        return self.resolution or (64 if self.source == DRAWN else 512)

    @property
    def longest(self) -> int | None:
        """The width of the pictures."""
        return self.side

    @property
    def scored_at_once(self) -> int | None:
        """Pictures drawn at once."""
        return self.eval_batch_size
