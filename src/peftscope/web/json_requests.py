"""JSON that a page sends: read up to a size, and refused where a parser or a reader of the values would be misled."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from peftscope.errors import SpecError, brief

__all__ = ["TooLarge", "parse", "read_body"]

MOST_BYTES = 1_000_000
MOST_DEPTH = 30
MOST_DIGITS = 25
READ_TIMEOUT_S = 30
TEXT = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A text, also one that does not end: else it would be sought anew from every quote in it."""
DEPTH_OF = {"{": 1, "[": 1, "}": -1, "]": -1}


class TooLarge(SpecError):
    """More was sent than is read."""


async def read_body(request: Request) -> bytes:
    """What was sent, up to the size that is read.

    Raises:
        TooLarge: More is being sent.
        SpecError: It comes too slowly.
    """
    declared = request.headers.get("content-length", "0")
    body = bytearray()
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            if len(declared) > 12 or int(declared) > MOST_BYTES:
                raise _too_large()
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise _too_large()
    except TimeoutError:
        raise SpecError("request", [f"was not sent within {READ_TIMEOUT_S} seconds"]) from None
    return bytes(body)


def _too_large() -> TooLarge:
    return TooLarge("request", [f"larger than {MOST_BYTES // 10**6} MB, which no model's config is; nothing was read"])


def parse(body: bytes) -> Any:
    """The value that a JSON text is, without what JSON does not have (NaN) or readers disagree on (a name twice).

    Raises:
        SpecError: It is none.

    >>> parse(b'{"config": {"hidden_size": 64}}')
    {'config': {'hidden_size': 64}}
    >>> parse(b'{"a": 1, "a": 2}')
    Traceback (most recent call last):
    peftscope.errors.SpecError: request: 1 problem
      - the name 'a' is given twice
    """
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        value = json.loads(
            text, object_pairs_hook=_mapping, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite
        )
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except SpecError:
        raise
    except (ValueError, RecursionError) as error:
        raise SpecError("request", [f"not JSON that can be read: {brief(str(error), 200)}"]) from None
    return value


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", TEXT.sub("", text)):
        depth += DEPTH_OF[bracket]
        if depth > MOST_DEPTH:
            raise SpecError("request", [f"nested more than {MOST_DEPTH} deep; no model's config is"])


def _mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise SpecError("request", [f"the name {brief(name, 60)!r} is given twice"])
        found[name] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise SpecError("request", [f"a number of {len(digits):,} digits; no model has such a size"])
    return int(digits)


def _finite(text: str) -> float:
    value = float(text) if len(text) <= 100 else float("inf")
    if value in (float("inf"), float("-inf")):
        raise SpecError("request", [f"the number {brief(text, 40)} is larger than can be counted with"])
    return value


def _no_constant(name: str) -> float:
    raise SpecError("request", [f"{name} is no number in JSON"])
