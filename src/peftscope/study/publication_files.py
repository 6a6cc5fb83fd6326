"""The files that are published, and nothing beside them: chosen by name, with no path of this machine in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from peftscope.convert.file_names import ADAPTER_FILES
from peftscope.errors import StoreError
from peftscope.methods.portable import ADAPTER_FILE, CONFIG_FILE, portable_config
from peftscope.models.file_names import MODEL_FILES
from peftscope.schema.reader import read_json
from peftscope.schema.record import RunRecord
from peftscope.store.files import new_folder, ordinary_mode
from peftscope.store.local_paths import without_local_paths
from peftscope.study.publication_card import publication_card
from peftscope.study.publishable import CONVERSION, Publishable
from peftscope.study.recommendation import memory_front
from peftscope.study.results import StudyResults
from peftscope.views.documents import json_text
from peftscope.views.report.content import ReportContent
from peftscope.views.report.files import figures

__all__ = ["CARD", "OURS", "RESULTS_FILE", "SCHEMA", "published_files", "put_folder"]

CARD = "README.md"
RESULTS_FILE = "results.json"
SCHEMA = "peftscope.published/1"
"""Of the results file, by which a folder is known as one that was made here."""
PICTURES = ("front.png", "tiers.png")
OURS = (CARD, RESULTS_FILE, CONVERSION, CONFIG_FILE, ADAPTER_FILE, *PICTURES, *sorted(set(ADAPTER_FILES.values())))
"""Every name that is written for an adapter: what is not written any more is taken away from the hub."""
NAMES = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern", "rank_pattern", "alpha_pattern")
"""Settings that hold names of modules, or patterns of them: what looks like a path in them is none."""

Files = Mapping[str, str | bytes | Path]
"""Name -> content, or the file that is copied."""


def published_files(found: Publishable, repository: str) -> dict[str, str | bytes | Path]:
    """What a repository is to hold, by name.

    Raises:
        StoreError: Something cannot be read.
    """
    folder = found.folder
    is_adapter = (folder / CONFIG_FILE).is_file()
    files: dict[str, str | bytes | Path] = {}
    conversion = _json(folder / CONVERSION) if (folder / CONVERSION).is_file() else None
    if is_adapter:
        files[ADAPTER_FILE] = folder / ADAPTER_FILE
        files[CONFIG_FILE] = _config(found)
    else:
        files |= _whole(folder, str((conversion or {}).get("layout")))
    if conversion is not None:
        files[CONVERSION] = json_text(without_local_paths(conversion)) + "\n"
    files |= {} if found.results is None else _pictures(found.results)
    files[RESULTS_FILE] = json_text(_results(found, conversion)) + "\n"
    card = folder / CARD
    files[CARD] = publication_card(
        found,
        repository,
        [name for name in PICTURES if name in files],
        written=card.read_text(encoding="utf-8", errors="replace") if found.record is None and card.is_file() else None,
        is_adapter=is_adapter,
    )
    return files


def put_folder(place: Path, files: Files, *, source: Path | None = None) -> None:
    """Write a folder of files; one that was made here before is replaced.

    Args:
        place: The folder.
        files: By name; a name may begin with folders.
        source: What it is made from, which is never replaced.

    Raises:
        StoreError: Something else is there, or it cannot be written.
    """
    place = place.absolute()
    if place.exists() and source is not None and source.resolve().is_relative_to(place.resolve()):
        raise StoreError(f"{place}: holds what is to be published; nothing was written. Name another folder (--output)")
    if place.exists() and not _was_made_here(place):
        raise StoreError(
            f"{place}: is there already, and was not made by 'peftscope publish'; nothing was written. Name another "
            "folder (--output), or remove it"
        )
    building = place.with_name(f".{place.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    with new_folder(building) as folder:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, path)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            path.chmod(ordinary_mode())
    try:
        if place.exists():
            shutil.rmtree(place)
        building.rename(place)
    except OSError as error:
        raise StoreError(f"{place}: cannot be replaced ({error.strerror or error})") from error


def _was_made_here(place: Path) -> bool:
    if not place.is_dir() or place == Path.cwd():
        return False
    if not any(place.iterdir()):
        return True
    try:
        return bool(_json(place / RESULTS_FILE).get("schema") == SCHEMA)
    except StoreError:
        return False


def _json(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return found if isinstance(found, dict) else {}


def _config(found: Publishable) -> str:
    """The adapter's config, its base by the name others find it under."""
    raw = portable_config(found.folder)
    cleaned = {key: value if key in NAMES else without_local_paths(value) for key, value in raw.items()}
    named = {"base_model_name_or_path": found.base, "revision": found.revision, "inference_mode": True}
    return json.dumps({**cleaned, **named}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _whole(folder: Path, layout: str) -> dict[str, str | bytes | Path]:
    """Files of a conversion that ``peft`` does not load."""
    if layout in ADAPTER_FILES:
        path = folder / ADAPTER_FILES[layout]
        if not path.is_file():
            raise StoreError(f"{path}: not there; {CONVERSION} beside it says that 'peftscope convert' wrote it")
        return {path.name: path}
    written = sorted(path for path in folder.iterdir() if path.is_file())
    chosen = [path for path in written if any(fnmatch(path.name, pattern) for pattern in MODEL_FILES)]
    files: dict[str, str | bytes | Path] = {path.name: path for path in chosen}
    if "config.json" in files:  # it names the place it was loaded from
        files["config.json"] = json.dumps(without_local_paths(_json(folder / "config.json")), indent=2) + "\n"
    return files


def _pictures(results: StudyResults) -> dict[str, str | bytes | Path]:
    """Pictures of the study, without what its whole page shows beside them."""
    front = memory_front(results)
    content = ReportContent(
        name=results.name,
        place="",
        records=results.records,
        verdict=results.verdict,
        metrics=[] if front is None else list(front.metrics),
        names=dict(zip(results.runs["run_id"], results.runs["method"])),
        fronts=() if front is None or not front.points else (front,),
        tunings=results.tunings,
    )
    return {name: picture for name, picture in figures(content).items() if name in PICTURES}


def _results(found: Publishable, conversion: Mapping[str, Any] | None) -> dict[str, Any]:
    """The figures, for programs."""
    study = None
    if found.results is not None:
        document = found.results.document()
        study = {key: value for key, value in document.items() if key not in ("schema", "folder")}
    document = {
        "schema": SCHEMA,
        "base_model": found.base,
        "chosen": found.chosen,
        "run": None if found.record is None else _run(found.record),
        "conversion": None if conversion is None else {k: v for k, v in conversion.items() if k != "schema"},
        "study": study,
    }
    cleaned: dict[str, Any] = without_local_paths(document)
    return cleaned


def _run(record: RunRecord) -> dict[str, Any]:
    """A run without its data, its outputs and the machine it ran on."""
    spec = record.spec
    return {
        "run_id": record.run_id,
        "method": spec.method.name,
        "title": spec.method.title,
        "learning_rate": spec.learning_rate,
        "seed": spec.seed,
        "train": spec.train.model_dump(mode="json"),
        "task": spec.task.name,
        "metric": None if record.metric is None else record.metric.model_dump(mode="json"),
        "metrics": dict(record.metrics),
        "quality_protocol": record.quality_protocol,
        "cost_protocol": record.cost_protocol,
        "weights_sha256": record.weights_sha256,
    }
