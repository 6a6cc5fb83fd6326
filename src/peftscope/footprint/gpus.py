"""What GPUs have: an amount of memory by the name of a card, and what is to be said of an amount in gigabytes.

A card that is sold with 24 GB has 24 GiB, 25.8 GB, less what its driver keeps; a process then spends some on the
context in which its kernels run.
"""

from __future__ import annotations

import math
import re
from difflib import get_close_matches

from peftscope.schema.amounts import bytes_of

__all__ = ["GPUS", "card_label", "memory_note", "memory_of"]

MIB, GIB = 2**20, 2**30
CONTEXT_MIB = 500
"""What CUDA's context takes before a first tensor, about."""
GPUS = {
    "gtx-1080-ti": 11264,
    "rtx-2080-ti": 11264,
    "rtx-3060": 12288,
    "rtx-3080": 10240,
    "rtx-3090": 24576,
    "rtx-4060": 8188,
    "rtx-4060-ti-16gb": 16380,
    "rtx-4070": 12282,
    "rtx-4080": 16376,
    "rtx-4090": 24564,
    "rtx-5070-ti": 16303,
    "rtx-5080": 16303,
    "rtx-5090": 32607,
    "rtx-a6000": 49140,
    "t4": 15360,
    "v100-16gb": 16384,
    "v100-32gb": 32768,
    "a10": 23028,
    "l4": 23034,
    "l40s": 46068,
    "a100-40gb": 40960,
    "a100-80gb": 81920,
    "h100": 81559,
    "h200": 143771,
}
"""Memory in MiB, as ``nvidia-smi`` tells it."""
SOLD = (6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 80, 96)
"""Gigabytes that cards are sold with."""


def memory_of(text: str) -> float:
    """Bytes of an amount, or what a card of that name leaves free.

    Raises:
        ValueError: It is neither; the message says what is allowed.

    >>> memory_of("12GB"), round(memory_of("RTX 4090") / 1e9, 1)
    (12000000000.0, 25.2)
    """
    name = re.sub(r"nvidia|geforce|tesla|[\s_-]", "", text.lower())
    known = {card.replace("-", ""): size for card, size in GPUS.items()}
    if name in known:
        return float((known[name] - CONTEXT_MIB) * MIB)
    if re.match(r"\s*[0-9.]", text):
        return bytes_of(text)
    near = get_close_matches(name, GPUS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{text!r} is no amount such as 12GB and no card that is known; {hint}Known: {', '.join(GPUS)}")


def card_label(name: str) -> str:
    """A card as it is sold, and what that is in the gigabytes that are counted with here.

    Raises:
        KeyError: No such card is known.

    >>> card_label("rtx-4060-ti-16gb"), card_label("l40s")
    ('RTX 4060 Ti, 16 GiB (17.2 GB)', 'L40S, 48 GiB (51.5 GB)')
    """
    has = math.ceil(GPUS[name] / 1024)
    sold = next((size for size in SOLD if size >= has), has)
    words = [word for word in name.split("-") if not re.fullmatch(r"\d+gb", word)]
    title = " ".join(word.title() if word == "ti" else word.upper() for word in words)
    return f"{title}, {sold} GiB ({sold * GIB / 1e9:.1f} GB)"


def memory_note(text: str) -> str | None:
    """What to say of an amount in GB that cards are sold with; None of any other.

    >>> memory_note("24GB").partition(", of which ")[2]
    "about 25.2 GB are free: give '24GiB', or its name"
    """
    found = re.fullmatch(r"\s*(\d+)\s*gb\s*", text.lower())
    if found is None or int(found[1]) not in SOLD:
        return None
    size = int(found[1])
    has, free = size * GIB / 1e9, (size * 1024 - CONTEXT_MIB) * MIB / 1e9
    return (
        f"{size} GB are {size}·10⁹ bytes; a card sold with {size} GB has {size} GiB, {has:.1f} GB, of which about "
        f"{free:.1f} GB are free: give '{size}GiB', or its name"
    )
