"""Measures nano-t2i and writes its model card, and a grid of what it draws into the documentation.

    .venv/bin/python scripts/nano_t2i_card.py

What it draws is read by the classifier of ``scripts/train_caption_classifier.py``, on captions whose combination of
words nothing was trained on.
"""

from __future__ import annotations

import argparse
import json
import random
import textwrap
from pathlib import Path

import torch
from torch import Tensor

from nano_t2i_parts import SIDE
from nano_t2i_pictures import as_pixels, scenes
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.models.kinds.text_to_image.pipeline import Drawing
from peftscope.schema.study import ModelSpec
from peftscope.tasks.images.drawing.caption_classifier import read_words
from peftscope.tasks.images.drawing.scenes import ATTRIBUTES, Scene, draw
from peftscope.tasks.images.grids import GridRow, grid_png
from train_caption_classifier import held_out_shares, shipped_classifier

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "src" / "peftscope" / "models" / "nano_t2i"
GRID = ROOT / "docs" / "images" / "nano-t2i.png"
HOW = Drawing(side=SIDE, steps=20, guidance=3.0, batch_size=32)
CAPTIONS = 320
SHOWN = 24
COLUMNS = 6

CARD = """\
---
license: apache-2.0
language: en
library_name: diffusers
pipeline_tag: text-to-image
tags: [flux2, peftscope]
---

# nano-t2i

A model of {transformer:.1f} M parameters that draws what a caption says, 64 × 64 pixels large: FLUX.2's architecture
(`Flux2KleinPipeline` of diffusers), small enough that a fine-tuning run takes seconds on a CPU. It is the base of
peftscope's image task and of its tests.

It knows {objects} things in {colours} colours at {places} places before {backgrounds} backgrounds:
{words}.

`scripts/train_nano_t2i.py` made it from scratch; `scripts/nano_t2i_card.py` measured it and wrote this card.

## Figures

Drawn from {captions} captions whose combination of words it was never shown ({held_out:.0f} % of all), {steps} steps,
guidance {guidance:g}; read by a classifier that was trained on really drawn pictures alone.

| read rightly | its pictures | really drawn ones |
| --- | ---: | ---: |
{rows}

| figure | value |
| --- | ---: |
| autoencoder: mean error of a pixel, of 255 | {error:.1f} |
| transformer, M parameters | {transformer:.2f} |
| text encoder, M parameters | {encoder:.2f} |
| autoencoder, M parameters | {autoencoder:.2f} |

## How it was made

- Transformer: {layers} double-stream and {single} single-stream layers, {width} wide. Text encoder: Qwen 3 of four
  layers, {text_width} wide, learned with the transformer; states of layers 1, 2 and 3 side by side. Autoencoder:
  64 × 64 × 3 to 16 × 16 × {channels}. Byte-level BPE of {words_known} tokens; prompts of at most {tokens} tokens.
- {how}
- All it has seen was drawn by a program of peftscope's (`peftscope.tasks.images.drawing`), Apache-2.0. Captions leave
  out colour, place or background now and then; one in ten has a word that means nothing.

It draws nothing else: other words are ignored.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the model")
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    parser.add_argument("--grid", type=Path, default=GRID, help="file of the grid")
    parser.add_argument(
        "--how", type=Path, default=None, help="what train_nano_t2i.py noted; training.json of its work"
    )
    settings = parser.parse_args()
    chosen = captions(settings.captions)
    pictures = drawn(settings.folder, chosen)
    generated = shares(pictures, chosen)
    real = held_out_shares(shipped_classifier())
    for name, share in generated.items():
        print(f"{name}: {100 * share:.1f} % (really drawn: {100 * real[name]:.1f} %)")
    settings.grid.parent.mkdir(parents=True, exist_ok=True)
    settings.grid.write_bytes(grid(pictures[:SHOWN], chosen[:SHOWN]))
    card = CARD.format(
        rows="\n".join(f"| {n} | {100 * s:.1f} % | {100 * real[n]:.1f} % |" for n, s in generated.items()),
        captions=settings.captions,
        held_out=100 * len(scenes(held_out=True)) / sum(len(scenes(held_out=side)) for side in (True, False)),
        steps=HOW.steps,
        guidance=HOW.guidance,
        error=reconstruction_error(settings.folder),
        how="" if settings.how is None else how_it_was_made(settings.how),
        **facts(settings.folder),
    )
    (settings.folder / "README.md").write_text(card, encoding="utf-8")


def how_it_was_made(path: Path) -> str:
    """What the training noted, as an item of a list."""
    return textwrap.fill(json.loads(path.read_text("utf-8"))["text"], 116, subsequent_indent="  ")


def captions(count: int) -> list[Scene]:
    """Some of what no picture was shown of."""
    return random.Random(3).sample(scenes(held_out=True), count)


def drawn(folder: Path, chosen: list[Scene]) -> Tensor:
    """A picture of each caption, from its own noise."""
    kind = TextToImage()
    loaded = kind.load(ModelSpec(source=str(folder), device="cpu"))
    prompts = loaded.processor.encode_prompts(["", *(scene.caption() for scene in chosen)])
    nothing, told = ({key: value[rows] for key, value in prompts.items()} for rows in (slice(1), slice(1, None)))
    return kind.predictor(loaded, lambda *_: None)(loaded.model, told, nothing, list(range(len(chosen))), HOW)


def shares(pictures: Tensor, chosen: list[Scene]) -> dict[str, float]:
    """Share of each attribute that is read as its caption says it, and of all at once."""
    read = read_words(pictures)
    right = [{name: words[name] == getattr(scene, name) for name in ATTRIBUTES} for words, scene in zip(read, chosen)]
    found = {name: sum(hits[name] for hits in right) / len(right) for name in ATTRIBUTES}
    return {**found, "all at once": sum(all(hits.values()) for hits in right) / len(right)}


def grid(pictures: Tensor, chosen: list[Scene]) -> bytes:
    """Pictures under their captions, several to a row."""
    rows = []
    for begin in range(0, len(chosen), COLUMNS):
        some = chosen[begin : begin + COLUMNS]
        rows.append(
            GridRow(
                prompt="  ·  ".join(scene.caption() for scene in some), pictures=list(pictures[begin : begin + COLUMNS])
            )
        )
    return grid_png(rows, [""] * COLUMNS, {"model": "nano-t2i"})


def reconstruction_error(folder: Path) -> float:
    """Mean absolute error of the autoencoder over held-out pictures, of 255."""
    pipeline = TextToImage().inspect(ModelSpec(source=str(folder), device="cpu")).processor
    rng = random.Random(4)
    pixels = as_pixels([draw(scene, SIDE, rng) for scene in rng.sample(scenes(held_out=True), 64)])
    with torch.inference_mode():
        latents = pipeline.autoencoder.encode(pixels).latent_dist.mode()
        back = pipeline.autoencoder.decode(latents).sample
    return float((back - pixels).abs().mean()) * 127.5


def facts(folder: Path) -> dict[str, object]:
    """What is in the configs and the weights."""
    pipeline = TextToImage().inspect(ModelSpec(source=str(folder), device="cpu")).processor
    drawing, text = pipeline.files.settings("transformer"), pipeline.files.settings("text_encoder")
    whole = pipeline.with_parts("text_encoder", "tokenizer", "vae", "transformer")
    parts = {"transformer": whole.transformer, "encoder": whole.text_encoder, "autoencoder": whole.vae}
    sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in parts.items()}
    return {
        **sizes,
        **{f"{name}s": len(words) for name, words in ATTRIBUTES.items()},
        "words": textwrap.fill("; ".join(", ".join(words) for words in ATTRIBUTES.values()), 118),
        "layers": drawing["num_layers"],
        "single": drawing["num_single_layers"],
        "width": drawing["num_attention_heads"] * drawing["attention_head_dim"],
        "text_width": text["hidden_size"],
        "channels": pipeline.files.settings("vae")["latent_channels"],
        "words_known": len(whole.tokenizer),
        "tokens": whole.tokenizer.model_max_length,
    }


if __name__ == "__main__":
    main()
