"""Trains ``builtin:nano-t2i`` from scratch and writes it into the package.

    .venv/bin/python scripts/train_nano_t2i.py --work results/nano-t2i

Three stages: the autoencoder learns to reconstruct pictures; pictures become latents; text encoder and transformer
learn to draw them from their captions. What a stage made is kept in the work folder, and the last one goes on where it
was broken off. An autoencoder in the model's folder is taken as it is. Everything is made from a seed.
``scripts/nano_t2i_card.py`` measures what came out and writes the card.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import Qwen2TokenizerFast

from nano_t2i_parts import DIFFUSERS, TOKENS, autoencoder, scheduler, text_encoder, tokenizer, transformer
from nano_t2i_pictures import as_pixels, caption, cluttered, scenes
from peftscope.tasks.images.drawing.scenes import Scene, draw

OUT = Path(__file__).parents[1] / "src" / "peftscope" / "models" / "nano_t2i"
SEED = 0
SHAKEN = 0.1
"""Deviation of the noise that latents are given while the autoencoder learns: what is drawn is never quite right."""
SIZE_WEIGHT = 1e-3
"""Of the latents' size, which keeps them near that of the noise."""
PICTURES_A_STEP = 16
"""Of the autoencoder."""
EDGE_WEIGHT = 0.5
"""Of the error of differences between neighbouring pixels, which keeps outlines sharp."""
SAVED_EVERY = 250
"""Steps."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is broken off and resumed")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pipeline")
    parser.add_argument("--autoencoder-steps", type=int, default=2400)
    parser.add_argument("--pictures", type=int, default=40_000)
    parser.add_argument("--steps", type=int, default=1600, help="of the transformer")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate of the transformer")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    settings = parser.parse_args()
    settings.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    vae = trained_autoencoder(settings)
    latents, drawn = drawn_latents(vae, settings)
    draw_from_captions(vae, latents, drawn, settings)


def trained_autoencoder(settings: Any) -> Any:
    """Learns to give pictures back; its latents' means and variances are measured last."""
    folder = settings.work / "vae"
    for known in (folder, settings.out / "vae"):
        if known.is_dir():
            return DIFFUSERS.AutoencoderKLFlux2.from_pretrained(known, dtype=torch.float32).to(settings.device).eval()
    rng, known = random.Random(SEED), scenes(held_out=False)
    vae = autoencoder().to(settings.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=6e-4, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, settings.autoencoder_steps))
    started = time.perf_counter()
    for step in range(settings.autoencoder_steps):
        pixels = as_pixels([cluttered(rng, known) for _ in range(PICTURES_A_STEP)]).to(settings.device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(settings.device, torch.bfloat16):
            latents = vae.encode(pixels).latent_dist.mode()
            back = vae.decode(latents + SHAKEN * torch.randn_like(latents)).sample
        error = (back.float() - pixels).abs().mean()
        loss = error + EDGE_WEIGHT * edges(back.float() - pixels) + SIZE_WEIGHT * latents.float().square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        plan.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0:
            say(started, step, error=float(error.detach()))
    vae.eval()
    spread = [patches(vae, as_pixels([cluttered(rng, known) for _ in range(100)])) for _ in range(20)]
    values = torch.cat(spread).transpose(0, 1).flatten(1)
    vae.bn.running_mean.copy_(values.mean(1))
    vae.bn.running_var.copy_(values.var(1))
    vae.save_pretrained(folder)
    return vae


def edges(difference: Tensor) -> Tensor:
    across = difference[..., 1:] - difference[..., :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return across.abs().mean() + down.abs().mean()


@torch.no_grad()
def patches(vae: Any, pixels: Tensor) -> Tensor:
    """Latents (B, 4 C, H / 2, W / 2) as the pipeline packs them, on the CPU."""
    latents = vae.encode(pixels.to(vae.device)).latent_dist.mode()
    packed: Tensor = DIFFUSERS.Flux2KleinPipeline._patchify_latents(latents)
    return packed.cpu()


def drawn_latents(vae: Any, settings: Any) -> tuple[Tensor, list[Scene]]:
    """Tokens (N, S, C) of N drawn pictures, of mean 0 and variance 1, and what they show."""
    path, rng, known = settings.work / "latents.pt", random.Random(SEED + 1), scenes(held_out=False)
    order = [scene for _ in range(math.ceil(settings.pictures / len(known))) for scene in rng.sample(known, len(known))]
    drawn = order[: settings.pictures]
    if path.is_file():
        return torch.load(path), drawn
    mean, deviation = (values.view(1, -1, 1, 1).cpu() for values in moments(vae))
    parts = []
    for begin in range(0, len(drawn), 200):
        pixels = as_pixels([draw(scene, 64, rng) for scene in drawn[begin : begin + 200]])
        parts.append(DIFFUSERS.Flux2KleinPipeline._pack_latents((patches(vae, pixels) - mean) / deviation).half())
    latents = torch.cat(parts)
    torch.save(latents, path)
    return latents, drawn


def moments(vae: Any) -> tuple[Tensor, Tensor]:
    return vae.bn.running_mean, torch.sqrt(vae.bn.running_var + vae.config.batch_norm_eps)


class Drawer(nn.Module):
    """Text encoder and transformer together, as they are trained."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.text_encoder = text_encoder(words)
        self.transformer = transformer()
        nn.init.zeros_(self.transformer.proj_out.weight)

    def forward(self, latents: Tensor, noise: Tensor, sigmas: Tensor, ids: Tensor, heard: Tensor) -> Tensor:
        """Mean squared error of the velocity."""
        states = self.text_encoder.model(
            input_ids=ids, attention_mask=heard, output_hidden_states=True, use_cache=False
        )
        prompts = torch.cat([states.hidden_states[layer] for layer in (1, 2, 3)], dim=-1)
        by_picture = sigmas.view(-1, 1, 1)
        side = math.isqrt(latents.shape[1])
        velocity = self.transformer(
            hidden_states=(1.0 - by_picture) * latents + by_picture * noise,
            timestep=sigmas,
            encoder_hidden_states=prompts,
            txt_ids=places(len(ids), 1, ids.shape[1], latents.device),
            img_ids=places(len(ids), side, 1, latents.device),
            return_dict=False,
        )[0]
        error: Tensor = (velocity.float() - (noise - latents)).square().mean()
        return error


def places(batch: int, side: int, tokens: int, device: torch.device) -> Tensor:
    axes = [torch.arange(size, device=device) for size in (1, side, side, tokens)]
    return torch.cartesian_prod(*axes).expand(batch, -1, -1)


def draw_from_captions(vae: Any, latents: Tensor, drawn: list[Scene], settings: Any) -> None:
    """Learn, and write the pipeline every so often."""
    tokens = tokenizer()
    model = Drawer(len(tokens)).to(settings.device)
    optimizers = made_optimizers(model, settings.rate)
    plans = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: schedule(step, settings.steps)) for o in optimizers]
    kept, first, minutes = settings.work / "drawer.pt", 0, 0.0
    parts: list[Any] = [model, *optimizers, *plans]
    if kept.is_file():
        state = torch.load(kept)
        first, minutes = state["step"], state["minutes"]
        for part, saved in zip(parts, state["parts"]):
            part.load_state_dict(saved)
    started, shown = time.perf_counter() - 60 * minutes, 0.0
    for step, (ids, heard, chosen) in enumerate(batches(tokens, drawn, first, settings), start=first):
        torch.manual_seed(SEED + step)
        picked = latents[chosen].float().to(settings.device)
        noise, sigmas = torch.randn_like(picked), torch.sigmoid(torch.randn(len(picked), device=picked.device) + 0.3)
        with sdpa_kernel(SDPBackend.MATH), torch.autocast(settings.device, torch.bfloat16):
            loss = model(picked, noise, sigmas, ids.to(settings.device), heard.to(settings.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, plan in zip(optimizers, plans):
            optimizer.step()
            plan.step()
            optimizer.zero_grad(set_to_none=True)
        shown = 0.98 * shown + 0.02 * float(loss.detach()) if shown else float(loss.detach())
        if step % 50 == 0:
            say(started, step, loss=shown)
        if (step + 1) % SAVED_EVERY == 0 or step + 1 == settings.steps:
            minutes = (time.perf_counter() - started) / 60
            state = {"step": step + 1, "minutes": minutes, "parts": [part.state_dict() for part in parts]}
            torch.save(state, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
            write(settings.out, vae, tokens, model)
            note(settings, step + 1, len(drawn), minutes)


def note(settings: Any, steps: int, num_pictures: int, minutes: float) -> None:
    """What the card says of the training."""
    text = (
        f"{steps:,} steps of {settings.batch} out of {num_pictures:,} pictures, {minutes:.0f} minutes on two cores; "
        f"Muon for the matrices, AdamW for the rest, peak learning rate {settings.rate:g}, cosine to zero, bfloat16; "
        "shipped in float16."
    )
    (settings.work / "training.json").write_text(json.dumps({"text": text}), encoding="utf-8")


def batches(
    tokens: Qwen2TokenizerFast, drawn: list[Scene], first: int, settings: Any
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Token ids and their mask (B, T), and the numbers of the pictures (B); each step is drawn from its own seed."""
    for step in range(first, settings.steps):
        rng = random.Random(f"{SEED}:{step}")
        chosen = rng.sample(range(len(drawn)), settings.batch)
        turns = [[{"role": "user", "content": caption(drawn[number], rng)}] for number in chosen]
        texts = tokens.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        made = tokens(texts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
        yield made["input_ids"], made["attention_mask"], torch.tensor(chosen)


def made_optimizers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the rest."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for p in model.parameters() if all(p is not m for m in matrices)]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def schedule(step: int, steps: int) -> float:
    """Up over the first 4 %, then a cosine to zero."""
    warm = 0.04 * steps
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / (steps - warm)))


def write(out: Path, vae: Any, tokens: Qwen2TokenizerFast, drawer: Any) -> None:
    """The pipeline in the layout of a hub, its weights in float16."""
    encoder, drawing = text_encoder(len(tokens)), transformer()
    encoder.load_state_dict(drawer.text_encoder.state_dict())
    drawing.load_state_dict(drawer.transformer.state_dict())
    own = autoencoder()
    own.load_state_dict(vae.state_dict())
    DIFFUSERS.Flux2KleinPipeline(
        scheduler=scheduler(),
        vae=own.half(),
        text_encoder=encoder.half(),
        tokenizer=tokens,
        transformer=drawing.half(),
    ).save_pretrained(out)
    for path in out.rglob("*.safetensors"):  # safetensors writes for its user alone
        path.chmod(0o644)


def say(started: float, step: int, **values: float) -> None:
    shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    print(f"{(time.perf_counter() - started) / 60:6.1f} min  step {step:5d}  {shown}", flush=True)


if __name__ == "__main__":
    main()
