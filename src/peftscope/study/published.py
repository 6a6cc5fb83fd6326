"""The public benchmark's results as studies: ``published:text-2026-08-21`` stands wherever a study's folder does.

Their records are written once, into the cache, and read from there like those of any other study.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import peftscope
from peftscope.errors import SpecError, StoreError, unknown_name
from peftscope.models.cache import build_once, cache_dir
from peftscope.upstream.published import Release, published, records_of, table_hash
from peftscope.upstream.results_in import store_imported

__all__ = [
    "PREFIX",
    "is_published",
    "place_of",
    "published_about",
    "published_folder",
    "published_key",
    "published_lines",
    "published_name",
    "published_places",
]

PREFIX = "published:"
"""What the place of a published study begins with."""
WORD = "published "
"""What the name of a published study begins with, and of its folder in the cache."""
TEMPORARY = "peftscope-published-"
ADJECTIVES = {"text": "text", "images": "image"}
READS = ("schema", "upstream")
"""Packages that decide what a record holds."""


def is_published(place: Path | str) -> bool:
    """Whether a place names published results.

    >>> is_published("published:text-2026-08-21"), is_published("results/mine")
    (True, False)
    """
    return str(place).startswith(PREFIX)


def published_places() -> list[Path]:
    """The place of every release, texts first, the newest of a task first.

    >>> str(published_places()[0])
    'published:text-2026-08-21'
    """
    newest_first = sorted(published().releases.values(), key=lambda release: release.date, reverse=True)
    return [Path(PREFIX + release.key) for release in sorted(newest_first, key=lambda r: r.task != "text")]


def published_name(place: Path | str) -> str:
    """What people are told it is.

    Raises:
        SpecError: There is no such release; names those there are.

    >>> published_name("published:text-2026-08-21")
    'published text results of 2026-08-21'
    """
    release = _release(place)
    return f"{WORD}{ADJECTIVES[release.task]} results of {release.date}"


def published_key(place: Path | str) -> str:
    """What it is called in addresses and names of folders.

    Raises:
        SpecError: There is no such release; names those there are.

    >>> published_key("published:text-2026-08-21")
    'published-text-2026-08-21'
    """
    return PREFIX.replace(":", "-") + _release(place).key


def published_about(place: Path | str) -> dict[str, Any]:
    """Task and release, for an index of studies.

    Raises:
        SpecError: There is no such release; names those there are.
    """
    release = _release(place)
    return {
        "task": release.task,
        "task_title": release.task_title,
        "release": release.date,
        "released": release.released,
    }


def published_lines(place: Path | str) -> list[str]:
    """Whose results these are, of which day, and what is to be known of them; nothing of any other study's place.

    Raises:
        SpecError: There is no such release; names those there are.
    """
    if not is_published(place):
        return []
    release, source = _release(place), published().source
    whose = f"Results of {source.name} as of {release.released} ({source.address}; {source.license})."
    return [whose, release.about, *release.lines]


def published_folder(place: Path | str) -> Path:
    """The folder of a release's records, written at the first call.

    It lies in the cache; where that cannot be written, in a temporary folder that goes with this process.

    Raises:
        SpecError: There is no such release; names those there are.
        StoreError: Neither the cache nor a temporary folder can be written.
    """
    release, name = _release(place), published_name(place)
    write = partial(_write, release)
    try:
        return build_once(_cached() / _version() / name, write)
    except StoreError:
        return build_once(_temporary() / name, write)


def place_of(folder: Path) -> Path:
    """What people are told where a study lies: the name of published results, of any other study its folder.

    >>> place_of(Path("results/mine")).as_posix()
    'results/mine'
    """
    if not folder.name.startswith(WORD):
        return folder
    above = folder.parent
    if above.parent != _cached() and not above.name.startswith(TEMPORARY):
        return folder
    return next((place for place in published_places() if published_name(place) == folder.name), folder)


def _release(place: Path | str) -> Release:
    given = str(place)
    found = published().releases.get(given.removeprefix(PREFIX))
    if found is None:
        raise SpecError(given, [unknown_name("published results", given, map(str, published_places()))])
    return found


def _cached() -> Path:
    return cache_dir() / "published"


def _write(release: Release, folder: Path) -> None:
    store_imported(folder, records_of(release, _metrics()))


@cache
def _version() -> str:
    """A word that changes with the table and with whatever reads it."""
    digest = hashlib.sha256(f"{table_hash()} {peftscope.__version__} {' '.join(_metrics())}".encode())
    for name in READS:
        for path in sorted((Path(peftscope.__file__).parent / name).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _metrics() -> tuple[str, ...]:
    from peftscope.measures.registry import metric_specs

    return tuple(metric_specs())


@cache
def _temporary() -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY))
    except OSError as error:
        raise StoreError(f"no temporary folder can be made ({error.strerror or error})") from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
