"""Amounts as people write them: ``12GB``, ``30min``, ``40%``."""

from __future__ import annotations

import math
import re

__all__ = ["bytes_of", "number_of", "seconds_of", "signed_number_of"]

BYTES = {
    "b": 1.0,
    **{unit: 1e3**power for power, unit in enumerate(("kb", "mb", "gb", "tb"), start=1)},
    **{unit: 2.0 ** (10 * power) for power, unit in enumerate(("kib", "mib", "gib", "tib"), start=1)},
}
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
SHARES = {"": 1.0, "%": 0.01}


def bytes_of(text: str) -> float:
    """Bytes; GB is 1000³, GiB 1024³. A bare number is refused: 12 would be taken for gigabytes by who writes it.

    Raises:
        ValueError: It is none; the message says what is allowed.

    >>> bytes_of("12GB"), bytes_of("1.5 MiB"), bytes_of("1000B")
    (12000000000.0, 1572864.0, 1000.0)
    """
    return _read(text, BYTES, "bytes with their unit such as 12GB, 500 MB or 8GiB")


def seconds_of(text: str) -> float:
    """Seconds; a time needs its unit, since 30 could be minutes.

    Raises:
        ValueError: It is none.

    >>> seconds_of("30min"), seconds_of("80 ms")
    (1800.0, 0.08)
    """
    return _read(text, SECONDS, "a time with its unit such as 90s, 30min, 2h or 80ms")


def number_of(text: str) -> float:
    """A number, or per cent.

    Raises:
        ValueError: It is none.

    >>> number_of("0.4"), number_of("40%")
    (0.4, 0.4)
    """
    return _read(text, SHARES, "a number such as 0.4, or 40%")


def signed_number_of(text: str) -> float:
    """A number or per cent that may be below zero.

    Raises:
        ValueError: It is none.

    >>> signed_number_of("-0.03"), signed_number_of("40%")
    (-0.03, 0.4)
    """
    text = text.strip()
    return -number_of(text[1:]) if text.startswith("-") else number_of(text)


def _read(text: str, units: dict[str, float], allowed: str) -> float:
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-zA-Z%]*)\s*", text)
    factor = units.get(found[2].lower()) if found else None
    value = float(found[1]) * factor if found and factor is not None else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not what is wanted here: {allowed}")
    return value
