"""Trains what reads captions off drawn pictures, and measures it on pictures of combinations it has not seen.

    .venv/bin/python scripts/train_caption_classifier.py

Pictures are blurred, noisy and smeared now and then, so that a drawing model's small faults do not mislead it.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from nano_t2i_parts import SIDE
from nano_t2i_pictures import as_pixels, scenes
from peftscope.tasks.images.drawing.caption_classifier import WEIGHTS, CaptionClassifier
from peftscope.tasks.images.drawing.character import draw_character
from peftscope.tasks.images.drawing.scenes import ATTRIBUTES, Scene, draw

SEED = 0
BATCH = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights")
    parser.add_argument("--steps", type=int, default=1200)
    settings = parser.parse_args()
    torch.manual_seed(SEED)
    rng, known = random.Random(SEED), scenes(held_out=False)
    model = CaptionClassifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=settings.steps)
    started = time.perf_counter()
    for step in range(settings.steps):
        chosen = [rng.choice(known) for _ in range(BATCH)]
        pixels = disturbed(as_pixels([draw(scene, SIDE, rng) for scene in chosen]), rng)
        logits = model(pixels)
        loss = torch.stack([F.cross_entropy(logits[name], words(chosen, name)) for name in ATTRIBUTES]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        plan.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            print(
                f"{(time.perf_counter() - started) / 60:5.1f} min  step {step:4d}  loss {loss.item():.3f}", flush=True
            )
    save_file({name: value.half() for name, value in model.state_dict().items()}, settings.out)
    for name, share in held_out_shares(shipped_classifier(settings.out)).items():
        print(f"{name}: {100 * share:.2f} %", flush=True)


def shipped_classifier(weights: Path = WEIGHTS) -> CaptionClassifier:
    """As it lies in the package."""
    model = CaptionClassifier()
    model.load_state_dict(load_file(weights))
    return model.eval()


def words(chosen: list[Scene], name: str) -> Tensor:
    return torch.tensor([ATTRIBUTES[name].index(getattr(scene, name)) for scene in chosen])


def disturbed(pixels: Tensor, rng: random.Random) -> Tensor:
    """Pictures as they are, made coarser, or noisy."""
    if rng.random() < 0.4:
        side = rng.choice((24, 32, 40, 48))
        pixels = F.interpolate(F.interpolate(pixels, (side, side), mode="area"), (SIDE, SIDE), mode="bilinear")
    if rng.random() < 0.5:
        pixels = pixels + rng.uniform(0.02, 0.2) * torch.randn_like(pixels)
    return pixels


def held_out_shares(model: CaptionClassifier) -> dict[str, float]:
    """Share of each attribute that is read rightly off two pictures of every held-out combination; and all at once.

    Places and backgrounds are read off pictures of the character, too, which no caption names.
    """
    rng, unseen = random.Random(SEED + 1), scenes(held_out=True)
    chosen = [scene for scene in unseen for _ in range(2)]
    read = _read(model, as_pixels([draw(scene, SIDE, rng) for scene in chosen]))
    right = {name: read[name] == words(chosen, name) for name in ATTRIBUTES}
    shares = {name: float(hits.float().mean()) for name, hits in right.items()}
    shares["all at once"] = float(torch.stack(list(right.values())).all(0).float().mean())
    read = _read(model, as_pixels([draw_character(scene.background, scene.place, SIDE, rng) for scene in chosen]))
    for name in ("background", "place"):
        shares[f"{name} of the character"] = float((read[name] == words(chosen, name)).float().mean())
    return shares


@torch.no_grad()
def _read(model: CaptionClassifier, pixels: Tensor) -> dict[str, Tensor]:
    parts = [model(pixels[begin : begin + 200]) for begin in range(0, len(pixels), 200)]
    return {name: torch.cat([part[name].argmax(-1) for part in parts]) for name in ATTRIBUTES}


if __name__ == "__main__":
    main()
