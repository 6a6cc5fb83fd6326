"""What a study's last check found, kept so that a study with nothing left to do need not be checked again.

It holds as long as the runs asked for, the files it was found from and the installed packages are the same; files
are told by size and time of their last change. Weights and data of the hub count as they were fetched: whether there
is a newer commit is asked when something is to be trained.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import peftscope
from peftscope.execution.packages import installed_version
from peftscope.plugins import entry_points
from peftscope.schema.base import content_hash
from peftscope.schema.metric import MetricSpec
from peftscope.schema.run import RunSpec
from peftscope.store.files import write_text
from peftscope.tuning.check_result import CheckResult, Machine

__all__ = ["check_notes", "keep_check", "known_check"]

FILE = "checked.json"
FORMAT = 1
PACKAGES = (
    "torch", "transformers", "diffusers", "pillow",
    "tokenizers", "datasets", "peft", "accelerate", "bitsandbytes", "reasoning-gym", "pandas",
    "pyarrow",
)  # fmt: skip
"""What decides how weights and data are read."""
GROUPS = ("peftscope.tasks", "peftscope.kinds", "peftscope.measurements")


def keep_check(folder: Path, runs: Sequence[RunSpec], base: Path, checked: CheckResult) -> None:
    """Keep what a check found, where it is known from which files.

    Args:
        folder: The study's.
        runs: What was checked: a run of each method.
        base: Folder that relative paths are taken from.
        checked: What was found.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    (folder / FILE).unlink(missing_ok=True)
    if checked.read_from is None:
        return
    stamps: dict[str, Any] = {}
    with suppress(OSError):
        stamps = {str(path): _stamp(path) for path in checked.read_from}
    if len(stamps) < len(checked.read_from):  # something went while it was looked at
        return
    content = {
        "asked": _asked(runs, base),
        "stamps": stamps,
        "metric": checked.metric.model_dump(mode="json"),
        "quality": checked.quality,
        "cached": str(checked.cached),
        "machine": asdict(checked.machine),
        "width": checked.width,
        "sizes": dict(checked.sizes),
        "epoch_size": checked.epoch_size,
        "notes": list(checked.notes),
    }
    write_text(folder / FILE, json.dumps(content, indent=1) + "\n")


def known_check(folder: Path, runs: Sequence[RunSpec], base: Path) -> CheckResult | None:
    """What the last check found, without forecasts; None where there was none, or it may not hold any more."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        stamps = content["stamps"]
        if content["asked"] != _asked(runs, base) or any(_stamp(Path(path)) != stamps[path] for path in stamps):
            return None
        return CheckResult(
            metric=MetricSpec.model_validate(content["metric"]),
            quality=content["quality"],
            cached=Path(content["cached"]),
            machine=Machine(**content["machine"]),
            width=content["width"],
            sizes=content["sizes"],
            epoch_size=content["epoch_size"],
            notes=tuple(content["notes"]),
            read_from=tuple(map(Path, stamps)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or not as it was written
        return None


def check_notes(folder: Path) -> tuple[str, ...]:
    """What the last check noted of the data; nothing where there was none."""
    try:
        return tuple(str(note) for note in json.loads((folder / FILE).read_text(encoding="utf-8"))["notes"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _asked(runs: Sequence[RunSpec], base: Path) -> str:
    """Hash of what was asked, where, and of what is installed."""
    return content_hash(
        {
            "format": FORMAT,
            "runs": [run.model_dump(mode="json") for run in runs],
            "base": str(base.absolute()),
            "packages": {name: installed_version(name) for name in PACKAGES},
            "plug-ins": [[p.name, p.value, p.dist and p.dist.version] for g in GROUPS for p in entry_points(group=g)],
            "peftscope": [peftscope.__version__, _stamp(Path(peftscope.__file__).parent)],
        }
    )


def _stamp(path: Path) -> list[Any] | None:
    """Size and time of the last change of a file, or of all in a folder; None of what is not there."""
    if not path.exists():
        return None
    return [[name, file.stat().st_size, file.stat().st_mtime_ns] for name, file in _files(path)]


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            yield file.relative_to(path).as_posix(), file
