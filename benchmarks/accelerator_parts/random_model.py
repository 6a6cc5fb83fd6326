"""A Llama with random weights and nano-lm's tokenizer, as a folder a hub would give; and a device's matrix rate.

python random_model.py FOLDER DEVICE DTYPE SIDE prints the rate in operations a second
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import peftscope

__all__ = ["write_config"]

PRODUCTS = 20
LETTERS = str.maketrans("0123456789", "abcdefghij")


def write_config(folder: Path, shapes: dict[str, Any]) -> Path:
    """Write the config and the tokenizer, which is all a prediction needs; gives the config's path.

    The tokenizer gets a word for each further token the model may write, so that two answers differ as texts, too.
    """
    nano = Path(peftscope.__file__).parent / "models" / "nano_lm"
    folder.mkdir(parents=True)
    base = json.loads((nano / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**base, **shapes}), encoding="utf-8")
    tokenizer = json.loads((nano / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    for number in range(max(vocabulary.values()) + 1, shapes["vocab_size"]):
        vocabulary["\u0120zz" + str(number).translate(LETTERS)] = number  # the first is how this one writes a blank
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = json.loads((nano / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["model_max_length"] = shapes["max_position_embeddings"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder / "config.json"


def matrix_rate(device: str, dtype: Any, side: int) -> float:
    """Operations a second in products of square matrices of random numbers, after as many to warm up."""
    import torch

    from peftscope.models.device import synchronize

    place = torch.device(device)
    left, right = (torch.randn(side, side, device=place, dtype=dtype) for _ in range(2))
    for _ in range(PRODUCTS):
        left @ right
    synchronize(place)
    started = time.perf_counter()
    for _ in range(PRODUCTS):
        left @ right
    synchronize(place)
    return PRODUCTS * 2 * side**3 / (time.perf_counter() - started)


def write_weights(folder: Path, device: str, dtype: Any) -> None:
    """Draw weights for the folder's config on the device, and save them beside it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.save_pretrained(folder)


if __name__ == "__main__":
    import torch

    from peftscope.execution.environment import describe_environment

    target, on, kind, width = sys.argv[1:5]
    numbers = getattr(torch, kind)
    rate = matrix_rate(on, numbers, int(width))
    write_weights(Path(target), on, numbers)
    print(json.dumps({"matrix_rate": rate, "environment": describe_environment(torch.device(on))}))
