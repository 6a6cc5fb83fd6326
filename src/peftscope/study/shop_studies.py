"""Studies of one's own data to be filled in: a template for texts, one for pictures, and the fields of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

__all__ = ["study_templates"]


@dataclass(frozen=True, kw_only=True)
class _Field:
    """What stands between double braces in a template."""

    key: str
    label: str
    value: str
    """What it holds at first."""
    about: str


_NAME = _Field(key="name", label="name", value="my-study", about="A word; the results go to results/NAME.")
_STEPS = "Training steps of each method, as many for every one."

_FIELDS: Mapping[str, tuple[_Field, ...]] = {
    "text": (
        _NAME,
        _Field(
            key="model",
            label="base model",
            value="meta-llama/Llama-3.2-3B",
            about="A hub id, a folder, a path to a .gguf file, builtin:smollm2-135m, or builtin:nano-lm to try it.",
        ),
        _Field(
            key="train",
            label="training rows",
            value="train.jsonl",
            about="A JSON Lines, JSON, CSV or Parquet file, seen from the study's file, or the id of a data set of the "
            "hub. Rows for validation and test are cut off it by a seed.",
        ),
        _Field(
            key="prompt",
            label="prompt",
            value="Question: {question}\nAnswer:",
            about="What the model is asked: {column} stands for what that column holds.",
        ),
        _Field(key="target", label="answer column", value="answer", about="The column to learn to answer with."),
        _Field(key="steps", label="steps", value="200", about=_STEPS),
    ),
    "images": (
        _NAME,
        _Field(
            key="model",
            label="base model",
            value="black-forest-labs/FLUX.2-klein-base-4B",
            about="A hub id or a folder of a pipeline of diffusers, or builtin:nano-t2i to try it with.",
        ),
        _Field(
            key="pictures",
            label="pictures",
            value="photos/",
            about="A folder of pictures, seen from the study's file, or the id of a data set of the hub.",
        ),
        _Field(
            key="resolution",
            label="resolution",
            value="512",
            about="Width and height in pixels; pictures are cut to the square in their middle.",
        ),
        _Field(
            key="prompt",
            label="prompt",
            value="a photo of sks sloth plushie",
            about="What all pictures show, with a word that means nothing yet; prompts beside the pictures need none.",
        ),
        _Field(
            key="test_prompt",
            label="test prompt",
            value="sks sloth plushie on the beach",
            about="Drawn with every method, and scored.",
        ),
        _Field(
            key="other_test_prompt",
            label="another test prompt",
            value="a painting of sks sloth plushie",
            about="Drawn with every method, and scored.",
        ),
        _Field(
            key="class_prompt",
            label="class prompt",
            value="a photo of a sloth plushie",
            about="What must not turn into it.",
        ),
        _Field(
            key="encoder",
            label="encoder",
            value="facebook/dinov2-base",
            about="Compares pictures; efficientnet-lite0 needs no hub.",
        ),
        _Field(key="steps", label="steps", value="400", about=_STEPS),
    ),
}


_INSTALLED = {"text": "peftscope", "images": "'peftscope[images]'"}


def study_templates() -> dict[str, Any]:
    """Template, fields and commands of the studies, by what the data are.

    A template holds ``{{methods}}`` for a list of names and ``{{KEY}}`` for the text of each field, as JSON writes it
    with the characters U+007F to U+009F, U+2028, U+2029 and U+FEFF escaped, which YAML does not take as they stand.

    >>> [field["key"] for field in study_templates()["text"]["fields"]]
    ['name', 'model', 'train', 'prompt', 'target', 'steps']
    """
    return {
        name: {
            "template": files("peftscope").joinpath("study", f"shop_{name}.yaml").read_text("utf-8"),
            "fields": [asdict(field) for field in fields],
            "commands": [f"pip install {_INSTALLED[name]}", "peftscope compare study.yaml"],
        }
        for name, fields in _FIELDS.items()
    }
