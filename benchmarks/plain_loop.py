"""One experiment the way it is written without peftscope: the yardstick of ``speed.py``.

    python benchmarks/plain_loop.py JOB.json RESULT.json

Loads the model, puts a ``peft`` config on it, trains on shuffled batches padded to their longest row with the model's
own loss, then answers the prompts by ``model.generate`` on fixed batches in the data's order. Nothing of peftscope is
imported. ``JOB`` lists all there is to set.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

IGNORED = -100
JOB: dict[str, Any] = {
    "model": None,  # folder, as AutoModelForCausalLM takes it
    "peft": None,  # fields of a peft config, "full" for full fine-tuning, None for the model as it is
    "adapter": None,  # folder of a trained adapter to go on from, instead of a new one
    "save": None,  # folder for the trained adapter, or for the whole model after full fine-tuning
    "dtype": "float32",
    "device": None,  # as torch names it; None for the CPU
    "threads": None,
    "seed": 0,
    "rows": [],  # {"ids": token ids, "prompt": how many are the prompt's} or {"prompt": text, "target": text}
    "batches": None,  # lists of row numbers instead of shuffled ones, one per step
    "steps": 0,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "warmup_fraction": 0.05,
    "max_grad_norm": 1.0,
    "prompts": [],  # token ids or texts
    "rounds": 1,  # of answering them; the seconds are the last one's
    "max_new_tokens": 128,
    "eval_batch_size": 50,
    "end_ids": [],  # beside the tokenizer's EOS and those of the generation config
    "stop_strings": None,
    "gaps_after": [],  # token ids: how far apart the two likeliest next tokens are
}


def run(given: dict[str, Any]) -> dict[str, Any]:
    """Do the experiment; gives seconds of its parts, losses and answers.

    Raises:
        KeyError: The job sets what there is not.
    """
    if unknown := sorted(given.keys() - JOB.keys()):
        raise KeyError(f"no setting of a job: {', '.join(unknown)}")
    job = {**JOB, **given}
    import torch
    from transformers import AutoTokenizer, set_seed

    if job["threads"]:
        torch.set_num_threads(job["threads"])
    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    set_seed(job["seed"])
    model = load(job)
    result: dict[str, Any] = {"load_s": time.perf_counter() - started}
    if job["steps"]:
        set_seed(job["seed"])
        result["steps"] = train(model, tokenizer, job)
        if model.device.type == "cuda":
            result["peak_bytes"] = torch.cuda.max_memory_allocated()
    if job["save"]:
        model.save_pretrained(job["save"])
        if job["peft"] == "full":
            tokenizer.save_pretrained(job["save"])
    model.eval()
    for _ in range(job["rounds"] if job["prompts"] else 0):
        started = time.perf_counter()
        result["answers"] = answer(model, tokenizer, job)
        result["score_s"] = time.perf_counter() - started
    if job["gaps_after"]:
        result["gaps"] = [gap_after(model, ids) for ids in job["gaps_after"]]
    return result


def load(job: dict[str, Any]) -> Any:
    """The model with a new or a trained adapter."""
    import torch
    from peft import PeftConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
    model = model.to(job["device"] or "cpu")
    if job["adapter"]:
        return PeftModel.from_pretrained(model, job["adapter"], is_trainable=bool(job["steps"]))
    if isinstance(job["peft"], dict):
        return get_peft_model(model, PeftConfig.from_peft_type(**job["peft"]))
    return model


def train(model: Any, tokenizer: Any, job: dict[str, Any]) -> list[dict[str, float]]:
    """Train; gives seconds, tokens without padding and loss of every step."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    rows = [tokenized(tokenizer, row) for row in job["rows"]]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["learning_rate"], weight_decay=job["weight_decay"])
    schedule = get_cosine_schedule_with_warmup(optimizer, round(job["warmup_fraction"] * job["steps"]), job["steps"])
    batches = iter(job["batches"]) if job["batches"] else shuffled(len(rows), job["batch_size"], job["seed"])
    model.config.use_cache = False
    model.train()
    done = []
    for _ in range(job["steps"]):
        started = time.perf_counter()
        batch = padded([rows[number] for number in next(batches)], tokenizer.eos_token_id)
        batch = {name: values.to(model.device) for name, values in batch.items()}
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, job["max_grad_norm"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        told = {"loss": float(loss.detach()), "tokens": int(batch["attention_mask"].sum())}
        done.append({"seconds": time.perf_counter() - started, **told})
    model.config.use_cache = True
    return done


def tokenized(tokenizer: Any, row: dict[str, Any]) -> tuple[list[int], int]:
    """Token ids of prompt, answer and EOS, and how many are the prompt's."""
    if "ids" in row:
        return row["ids"], row["prompt"]
    prompt = tokenizer(row["prompt"])["input_ids"]
    whole = tokenizer(f"{row['prompt']} {row['target']}")["input_ids"]
    return [*whole, tokenizer.eos_token_id], len(prompt)


def shuffled(num_rows: int, batch_size: int, seed: int) -> Any:
    """Row numbers of one batch after another, shuffled anew in every epoch."""
    rng = random.Random(seed)
    while True:
        order = list(range(num_rows))
        rng.shuffle(order)
        yield from (order[start : start + batch_size] for start in range(0, num_rows, batch_size))


def padded(rows: list[tuple[list[int], int]], pad_id: int) -> dict[str, Any]:
    """A batch padded on the right to its longest row; prompts and padding have no label."""
    import torch

    width = max(len(ids) for ids, _ in rows)
    gaps = [width - len(ids) for ids, _ in rows]
    return {
        "input_ids": torch.tensor([ids + [pad_id] * gap for (ids, _), gap in zip(rows, gaps)]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * gap for (ids, _), gap in zip(rows, gaps)]),
        "labels": torch.tensor(
            [[IGNORED] * prompt + ids[prompt:] + [IGNORED] * gap for (ids, prompt), gap in zip(rows, gaps)]
        ),
    }


def answer(model: Any, tokenizer: Any, job: dict[str, Any]) -> list[list[int]]:
    """Greedy answers as token ids, each up to its end."""
    prompts = [tokenizer(p)["input_ids"] if isinstance(p, str) else p for p in job["prompts"]]
    listed = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *job["end_ids"], *(listed if isinstance(listed, list) else [listed])} - {None}
    options: dict[str, Any] = {"eos_token_id": sorted(ends), "pad_token_id": tokenizer.eos_token_id}
    if job["stop_strings"]:
        options |= {"stop_strings": job["stop_strings"], "tokenizer": tokenizer}
    answers: list[list[int]] = []
    for start in range(0, len(prompts), job["eval_batch_size"]):
        batch = prompts[start : start + job["eval_batch_size"]]
        answers += answered(model, batch, options, job["max_new_tokens"])
    return [until_end(row, ends) for row in answers]


def answered(model: Any, prompts: list[list[int]], options: dict[str, Any], max_new_tokens: int) -> list[list[int]]:
    """New tokens of one batch, padded on the left to its longest prompt."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[options["pad_token_id"]] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    with torch.no_grad():
        found = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            **options,
        )
    answers: list[list[int]] = found[:, width:].tolist()
    return answers


def until_end(row: list[int], ends: set[int]) -> list[int]:
    """A row up to its first end, which is kept."""
    end = next((place for place, token in enumerate(row) if token in ends), len(row) - 1)
    return row[: end + 1]


def gap_after(model: Any, ids: list[int]) -> float:
    """Difference of the two largest logits of the token that follows."""
    import torch

    given = torch.tensor([ids], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=given, attention_mask=torch.ones_like(given)).logits
    first, second = logits[0, -1].float().topk(2).values.tolist()
    return float(first - second)


def main() -> None:
    """Do the job of a file and write what came of it."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if job.get("threads"):  # before torch is imported
        os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    started = time.perf_counter()
    from transformers import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    result = run(job)
    result["total_s"] = time.perf_counter() - started
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
