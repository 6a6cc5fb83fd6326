"""Trains ``builtin:nano-lm`` from scratch and writes it, with its model card, into the package.

    OMP_NUM_THREADS=1 .venv/bin/python scripts/pretrain_nano_lm.py

Everything is made from a seed: tokenizer, order of the texts, first weights. Figures in the card are measured by
this script when training has ended; nothing in it is typed by hand.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from nano_lm_card import write_card
from nano_lm_corpus import SHARES, draw_documents

OUT = Path(__file__).parents[1] / "src" / "peftscope" / "models" / "nano_lm"
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
VOCAB_SIZE = 1280
CONTEXT = 256
ROW = 160
"""Tokens of a training sequence; documents are packed."""
ROWS = 12
CHUNK = 200
"""Steps whose documents are drawn and shuffled together."""
SEED = 0
WHOLE_WORDS = ["##", "###", "####", "Question", "Answer", "How", " How", " many", " does"]
WHOLE_WORDS += [" finds", " buys", " gets", " adds", " gives", " loses", " sells", " throws", " takes", " together"]
"""Words that are to be one token however rarely they come: they keep the task's prompts short."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the model")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--width", type=int, default=256, help="hidden size, a multiple of 64")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--report", type=int, default=100, help="print losses every so many steps")
    parser.add_argument("--save-every", type=int, default=400, help="write the weights every so many steps")
    settings = parser.parse_args()
    torch.manual_seed(SEED)
    started = time.perf_counter()
    tokenizer = train_tokenizer(random.Random(SEED))
    model = LlamaForCausalLM(config(tokenizer, settings.width)).to(settings.device)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens", flush=True)
    save(model, tokenizer, settings.out)
    losses = train(model, tokenizer, settings)
    save(model, tokenizer, settings.out)
    run: dict[str, Any] = {
        "steps": settings.steps,
        "tokens": settings.steps * ROW * ROWS,
        "minutes": (time.perf_counter() - started) / 60,
        "rate": settings.rate,
        "losses": ", ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items()),
        "row": ROW,
        "rows": ROWS,
    }
    if settings.width == 256 and settings.device == "cpu":  # the card is that of the model in the package
        write_card(settings.out, run)


def train_tokenizer(rng: random.Random) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every number below 100 is one token, with a space before it and without."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[0-9]{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    whole = [f"{space}{n}" for space in (" ", "") for n in range(100)] + WHOLE_WORDS
    texts = [word for word in whole for _ in range(4000)]
    for kind, num in {"story": 8000, "sums": 2000, "copying": 4000, "prose": 4000}.items():
        texts += islice(draw_documents(kind, rng), num)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def config(tokenizer: PreTrainedTokenizerFast, width: int = 256) -> LlamaConfig:
    """A Llama of few layers, since adapters cost time per layer."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def batches(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids (ROWS, ROW + 1), and the component of each token."""
    sources = {kind: draw_documents(kind, rng) for kind in SHARES}
    needed = CHUNK * ROWS * (ROW + 1)
    while True:
        documents: list[tuple[int, list[int]]] = []
        for number, (kind, share) in enumerate(SHARES.items()):
            missing = int(needed * share) + ROW
            while missing > 0:
                texts = list(islice(sources[kind], 200))
                for ids in tokenizer(texts, truncation=True, max_length=ROW)["input_ids"]:
                    documents.append((number, [*ids, tokenizer.eos_token_id] if len(ids) < ROW else ids))
                    missing -= len(documents[-1][1])
                    if missing <= 0:
                        break
        rng.shuffle(documents)
        ids_N = torch.tensor([i for _, ids in documents for i in ids][:needed])
        kinds_N = torch.tensor([number for number, ids in documents for _ in ids][:needed])
        yield from zip(
            ids_N.view(CHUNK, ROWS, ROW + 1),
            kinds_N.view(CHUNK, ROWS, ROW + 1),
        )


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, settings: Any) -> dict[str, float]:
    """Train in place; the last losses of each component, in nats per token."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for p in model.parameters() if all(p is not m for m in matrices)]
    optimizers = [
        torch.optim.Muon(matrices, lr=settings.rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: schedule(step, settings.steps)) for o in optimizers]
    seen = {kind: [0.0, 0] for kind in SHARES}
    started = time.perf_counter()
    losses: dict[str, float] = {}
    for step, (ids_BT, kinds_BT) in enumerate(islice(batches(tokenizer, random.Random(SEED)), settings.steps), 1):
        ids_BT, kinds_BT = ids_BT.to(settings.device), kinds_BT.to(settings.device)
        with torch.autocast(settings.device, torch.bfloat16):
            logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
        loss_N = F.cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT[:, 1:].flatten(), reduction="none")
        loss_N.mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, scheduler in zip(optimizers, schedules):
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
        for number, kind in enumerate(SHARES):
            of_kind = loss_N.detach()[kinds_BT[:, 1:].flatten() == number]
            seen[kind][0] += float(of_kind.sum())
            seen[kind][1] += len(of_kind)
        if step % settings.report == 0 or step == settings.steps:
            losses = {kind: total / count for kind, (total, count) in seen.items()}
            seen = {kind: [0.0, 0] for kind in SHARES}
            speed = step * ROWS * ROW / (time.perf_counter() - started)
            print(step, f"{speed:.0f} tokens/s", {k: round(v, 3) for k, v in losses.items()}, flush=True)
        if step % settings.save_every == 0:
            save(model, tokenizer, settings.out)
    return losses


def schedule(step: int, num_steps: int) -> float:
    """Warm-up over 2 %, then a cosine to nothing."""
    warmup = max(1, num_steps // 50)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights in float16, which halves the package and changes no answer."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().half().cpu() for name, tensor in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone, and wheels keep that


if __name__ == "__main__":
    main()
