"""Paths of this machine taken out of what leaves it: of a path there stays its last part."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

__all__ = ["public_source", "without_local_paths"]

NAME = r"[^\s/\\:;,'\"<>|()\[\]{}]+"
PATH = re.compile(
    rf"(?:file://|(?<![\w/.\\<~]))~?/(?:{NAME}/)+{NAME}"  # not what follows https:/, and no closing tag
    rf"|(?<!\w)[A-Za-z]:[\\/](?:{NAME}[\\/])+{NAME}"
    rf"|(?<![\\\w])\\\\{NAME}(?:\\{NAME})+"
)
"""An absolute path of two parts at least, without white space: of POSIX, of Windows, of a server there."""
QUOTED = re.compile(r"(['\"])((?:~?/|[A-Za-z]:[\\/]|\\\\)[^'\"\n]*[\\/][^'\"\n]*)\1")
"""One that stands between quotes, with white space or without."""
START = re.compile(r"~?/|[A-Za-z]:[\\/]|\\\\|file://")
SENTENCE = re.compile(r"[:,;!?] |\s[/~]|\n|[{}]")
"""What a path alone has not."""
CACHED = re.compile(r"(?:models|datasets)--([\w.-]+?)(?:--([\w.-]+))?(?=/|$)")
"""A repository's folder in the hub's cache."""
TEXTS = ("examples", "prompt", "pattern", "system", "query_template", "stop")
"""What holds the user's texts, which are no business of ours."""


def without_local_paths(value: Any) -> Any:
    """The same without absolute paths, whatever it is made of: mappings, sequences, texts.

    >>> without_local_paths({"train": "/srv/me/data/rows.csv", "why": "File '/srv/me/x/y.py', line 2"})
    {'train': 'rows.csv', 'why': "File 'y.py', line 2"}
    >>> without_local_paths(["see https://example.org/a/b", "results/demo", "and/or", "/srv/me/a.csv: no such file"])
    ['see https://example.org/a/b', 'results/demo', 'and/or', 'a.csv: no such file']
    """
    if isinstance(value, str):
        return _cleaned(value)
    if isinstance(value, Mapping):
        return {_key(key): found if key in TEXTS else without_local_paths(found) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return [without_local_paths(found) for found in value]
    return value


def public_source(source: str) -> str:
    """What others would call a model: its hub id, or the name of its folder; any other source as it is.

    >>> public_source("/srv/me/models/my-base"), public_source("org/model")
    ('my-base', 'org/model')
    >>> public_source("/srv/.cache/huggingface/hub/models--org--model/snapshots/abc123")
    'org/model'
    """
    cached = CACHED.search(source)
    if cached is not None:
        return "/".join(part for part in cached.groups() if part)
    is_path = source.startswith(".") or START.match(source) or Path(source).exists()
    return _last_part(source) if is_path else source


def _cleaned(text: str) -> str:
    separators = text.count("/") + text.count("\\")
    if separators > 1 and START.match(text) and not SENTENCE.search(text):
        return public_source(text)
    text = QUOTED.sub(lambda match: f"{match[1]}{public_source(match[2])}{match[1]}", text)
    return PATH.sub(lambda match: public_source(match[0]), text)


def _key(key: Any) -> Any:
    return _cleaned(key) if isinstance(key, str) else key


def _last_part(path: str) -> str:
    return (PureWindowsPath(path) if "\\" in path else PurePosixPath(path)).name or path
