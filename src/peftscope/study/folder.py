"""Where the records of a study lie, whether it is named by its file or by its folder."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

import yaml

from peftscope.errors import SpecError, StoreError
from peftscope.schema.reader import load_yaml
from peftscope.schema.record import RunRecord
from peftscope.store.files import read_record
from peftscope.store.run_states import read_states
from peftscope.store.study import STUDY_FILE
from peftscope.study.published import is_published, place_of, published_folder
from peftscope.views.line import one_line

__all__ = ["RESULTS", "find_record", "study_folder"]

RESULTS = Path("results")
"""Folder the studies' own folders lie in, unless ``--out`` says otherwise."""

_LISTED = 12
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ALLOWED = "give a folder with records in it, such as results/NAME, or the study.yaml it was made from"


def study_folder(argument: Path, *, needs_records: bool = True) -> Path:
    """The folder of a study's records.

    Args:
        argument: That folder itself; a study file, whose ``name`` says which folder of ``results`` it is; or the public
            benchmark's results by name, such as ``published:text-2026-08-21``.
        needs_records: Whether a study that has been started and has no records yet will not do.

    Raises:
        SpecError: It is none of these, or there are no records yet.
        StoreError: Published results can be written nowhere.
    """
    if is_published(argument):
        return published_folder(argument)
    if argument.is_dir() or argument.is_file():
        folder = argument if argument.is_dir() else RESULTS / _name_in(argument)
        if not needs_records and any((folder / name).is_file() for name in (STUDY_FILE, ".lock")):
            return folder
        return _with_records(folder, argument)
    raise SpecError(str(argument), [f"no such file or folder; {_near(argument)}{_ALLOWED}"])


def _with_records(folder: Path, argument: Path) -> Path:
    if (folder / "records").is_dir():
        return folder
    if folder == argument:
        inside = sorted(path.parent.name for path in folder.glob("*/records"))
        hint = f"did you mean {folder / inside[0]}? " if inside else ""
        raise SpecError(str(argument), [f"this folder holds no records; {hint}{_ALLOWED}"])
    raise SpecError(str(argument), [f"no records of it in {folder}; 'peftscope compare {argument}' makes them"])


def _name_in(path: Path) -> str:
    """Name of the study in a file; the rest of the file may be wrong, its records are there all the same."""
    try:
        raw = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise SpecError(str(path), [f"not a readable study file ({found}); {_ALLOWED}"]) from None
    name = raw.get("name") if isinstance(raw, dict) else None
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise SpecError(str(path), [f"not a study: it has no 'name' that can be a folder; {_ALLOWED}"])
    return name


def _near(argument: Path) -> str:
    """The nearest thing there is: beside what was given, or a study in ``results``."""
    beside = [p for p in _listed(argument.parent) if (p / "records").is_dir() or p.suffix in (".yaml", ".yml")]
    studies = [p for p in _listed(RESULTS) if (p / "records").is_dir()]
    names = {p.name: p for p in [*studies, *beside]}
    found = get_close_matches(argument.name, names, n=1, cutoff=0.5)
    return f"did you mean {names[found[0]]}? " if found else ""


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def find_record(run: str, study: Path | None = None) -> tuple[Path, RunRecord]:
    """A run's record, and the folder of the study it lies in.

    Args:
        run: Id of the run, the beginning of one, or the path of its record.
        study: The study's folder or file; None looks at every study in ``results``.

    Raises:
        SpecError: There is none, or more than one; the message lists what there is.
        StoreError: The record cannot be read.
    """
    path = Path(run)
    if path.suffix == ".json" and path.is_file():
        folder = path.parent.parent if path.parent.name == "records" else path.resolve().parent.parent
        return folder, read_record(path)
    folders = [study_folder(study)] if study is not None else [p for p in _listed(RESULTS) if (p / "records").is_dir()]
    paths = [p for folder in folders for p in sorted((folder / "records").glob("[!.]*.json"))]
    found = [p for p in paths if p.stem == run] or [p for p in paths if run and p.stem.startswith(run)]
    if len(found) == 1:
        return found[0].parent.parent, read_record(found[0])
    if found:
        same = len({p.stem for p in found}) == 1
        what = "is in several studies; say which with --study" if same else "could be several runs; give more letters"
        raise SpecError(run, [f"{what}:{_described(found)}"])
    raise SpecError(run, [_unknown(run, folders, paths)])


def _unknown(run: str, folders: list[Path], paths: list[Path]) -> str:
    where = f"in {place_of(folders[0])}" if len(folders) == 1 else f"in any study under {RESULTS}/"
    if not paths:
        return f"there are no records {where}; 'peftscope compare' makes them, and --study says where others lie"
    for folder in folders:
        if any(run and state.run_id.startswith(run) for state in read_states(folder)):
            return f"is under way and has no record yet; 'peftscope status {folder}' shows it"
    near = [p for p in paths if p.stem in get_close_matches(run, [q.stem for q in paths], n=3, cutoff=0.6)]
    if near:
        return f"no such run {where}; did you mean{_described(near)}"
    return f"no such run {where}; there are{_described(paths)}"


def _described(paths: list[Path]) -> str:
    """Records as a list to choose from, one a line."""
    lines = []
    for path in paths[:_LISTED]:
        try:
            record = read_record(path)
        except StoreError:
            lines.append(f"{path.stem}  cannot be read ({path})")
            continue
        lines.append(one_line(f"{path.stem}  {record.spec.title}: {record.status} ({place_of(path.parent.parent)})"))
    if len(paths) > _LISTED:
        lines.append(f"… and {len(paths) - _LISTED} more")
    return "".join(f"\n      {line}" for line in lines)
