"""Paths of this machine taken out of what leaves it: of a path there stays its last part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

__all__ = ["public_source", "without_local_paths"]

NAME = r"[^\s/\\:;,'\"<>|()\[\]{}]+"
PATH = re.compile(rf"(?<![\w/.:\\<~])~?/(?:{NAME}/)+{NAME}|(?<!\w)[A-Za-z]:[\\/](?:{NAME}[\\/])*{NAME}")
"""An absolute path of two parts at least, or one of Windows; not what follows ``https:``, and no closing tag."""
CACHED = re.compile(r"(?:models|datasets)--([\w.-]+?)--([\w.-]+)")
"""A repository's folder in the hub's cache."""
TEXTS = ("examples",)
"""What holds the user's texts, which are no business of ours."""


def without_local_paths(value: Any) -> Any:
    """The same without absolute paths, whatever it is made of: mappings, sequences, texts.

    >>> without_local_paths({"train": "/home/me/data/rows.csv", "why": "File '/home/me/x/y.py', line 2"})
    {'train': 'rows.csv', 'why': "File 'y.py', line 2"}
    >>> without_local_paths(["see https://example.org/a/b", "results/demo", "and/or"])
    ['see https://example.org/a/b', 'results/demo', 'and/or']
    """
    if isinstance(value, str):
        whole = value.startswith(("/", "~")) and "\n" not in value and len(value) > 1
        return public_source(value) if whole and PurePosixPath(value).name else PATH.sub(_named, value)
    if isinstance(value, Mapping):
        return {key: found if key in TEXTS else without_local_paths(found) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return [without_local_paths(found) for found in value]
    return value


def public_source(source: str) -> str:
    """What others would call a model: its hub id, or the name of its folder; any other source as it is.

    >>> public_source("/home/me/models/my-base"), public_source("org/model")
    ('my-base', 'org/model')
    >>> public_source("/root/.cache/huggingface/hub/models--org--model/snapshots/abc123")
    'org/model'
    """
    cached = CACHED.search(source)
    if cached is not None:
        return f"{cached[1]}/{cached[2]}"
    is_path = source.startswith(("/", "~", ".")) or re.match(r"[A-Za-z]:[\\/]", source) or Path(source).exists()
    return _last_part(source) if is_path else source


def _named(match: re.Match[str]) -> str:
    return public_source(match[0])


def _last_part(path: str) -> str:
    return (PureWindowsPath(path) if "\\" in path else PurePosixPath(path)).name or path
