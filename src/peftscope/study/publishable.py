"""What is to be published: the adapter of a run or of a study's choice, or a folder that lies somewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from peftscope.errors import MethodRefused, SpecError
from peftscope.methods.catalog import BASE, card
from peftscope.methods.portable import CONFIG_FILE, portable_config
from peftscope.schema.record import RunRecord
from peftscope.schema.request import Request
from peftscope.store.base_folder import base_folder
from peftscope.store.files import record_path
from peftscope.store.local_paths import public_source
from peftscope.study.folder import find_record
from peftscope.study.published import is_published
from peftscope.study.recommendation import best_run_of
from peftscope.study.results import StudyResults, results_of
from peftscope.study.run_choice import adapter_folder, choice_text

__all__ = ["Publishable", "find_publishable"]

CONVERSION = "conversion.json"


@dataclass(frozen=True, kw_only=True)
class Publishable:
    """A folder with weights, and what is known of them."""

    folder: Path
    base: str | None
    """What the base is called where others find it; None where the folder says nothing of it."""
    revision: str | None = None
    record: RunRecord | None = None
    """Of the run that left the weights; None for a folder that lies somewhere."""
    results: StudyResults | None = None
    """What the study came to; None where there is none."""
    chosen: str | None = None
    """How it was chosen, where nobody named the run."""


def find_publishable(
    adapter: str | Path, *, method: str | None, model: str | None, study: Path | None, request: Request
) -> Publishable:
    """What somebody wants to publish.

    Args:
        adapter: Folder of an adapter or of what ``convert`` wrote; id of a run or path of its record; a study's file or
            folder.
        method: Of a study, in place of the one it recommends.
        model: What the base is called on the hub.
        study: Where a run is looked for; for a folder, the study whose figures go with it.
        request: Collects what is wrong with the arguments.

    Raises:
        SpecError: There is no such thing, or an argument does not go with it.
        StoreError: A record or a config cannot be read, or the weights are missing.
        MethodRefused: ``peft`` alone does not load the adapter.
    """
    found = _found(Path(adapter), str(adapter), method, study, request)
    request.end()
    return found if model is None else replace(found, base=model, revision=None)


def _found(path: Path, name: str, method: str | None, study: Path | None, request: Request) -> Publishable:
    is_own = path.is_dir() and record_path(path.absolute().parent.parent, path.name).is_file()
    is_folder = not is_own and any((path / file).is_file() for file in (CONFIG_FILE, CONVERSION))
    is_study = not is_own and not is_folder and (path.exists() or is_published(path)) and path.suffix != ".json"
    if is_study and path.is_dir() and not any(path.glob("records")) and not any(path.glob("*/records")):
        what = f"neither the {CONFIG_FILE} of an adapter nor the {CONVERSION} of what 'peftscope convert' wrote"
        raise SpecError(name, [f"this folder holds {what}, nor records of a study"])
    if method is not None and not is_study:
        request.note("method", "chooses from a study, and this is one adapter; leave it out")
    if is_folder:
        config = portable_config(path) if (path / CONFIG_FILE).is_file() else {}
        source = config.get("base_model_name_or_path")
        return Publishable(
            folder=path,
            base=public_source(source) if isinstance(source, str) and source else None,
            revision=config.get("revision"),
            results=None if study is None else results_of(study),
        )
    if is_study:
        if study is not None:
            request.note("study", "says where a run lies, and a study is given already; leave it out")
        return _chosen(path, method, request)
    if is_own:
        return _of_run(str(record_path(path.absolute().parent.parent, path.name)), None)
    return _of_run(name, study)


def _chosen(place: Path, method: str | None, request: Request) -> Publishable:
    """What a study recommends, or the best seed of a method in it."""
    from peftscope.study.study import Study

    opened = Study.find(place)
    if method is None:
        request.end()
        recommended = opened.recommend()
        if recommended.choice is None or not recommended.trains:
            why = "leaving the base alone is what it recommends ('peftscope recommend' says why)"
            raise SpecError(str(place), [f"{why}; name a method or a run"])
        results, method, how = recommended.results, recommended.choice, choice_text(recommended.results)
    else:
        results = opened.results()
        request.check("method", "method", method, [c.method for c in results.verdict.candidates if not c.is_base])
        request.end()
        how = "named by hand; of its seeds the one with the least validation loss"
    run_id, _ = best_run_of(results, method)
    if run_id is None:
        raise SpecError(str(place), [f"{method}: none of its final runs has a result; 'peftscope status' says why"])
    return replace(_of_run(run_id, opened.folder, results), chosen=how)


def _of_run(run: str, study: Path | None, results: StudyResults | None = None) -> Publishable:
    folder, record = find_record(run, study)
    spec, known = record.spec, card(record.spec.method.name)
    if known.name == BASE:
        raise SpecError(record.run_id, ["a run of the untouched base; there is nothing to publish. Name another run"])
    where = adapter_folder(folder, record)
    again = f"'peftscope convert {record.run_id} --study {folder} --output DIR"
    if known.peft_type is None:
        raise MethodRefused(
            f"{spec.method.title} trains the whole model, and there is no adapter: {again} --format merged' writes the "
            "model; publish that folder"
        )
    try:
        portable_config(where)
    except MethodRefused as error:
        raise MethodRefused(f"{error}; {again}' writes a LoRA that it loads: publish that folder") from error
    return Publishable(
        folder=where,
        base=_public_base(spec.model.source, base_folder(folder)),
        revision=spec.model.revision,
        record=record,
        results=results or results_of(folder),
    )


def _public_base(source: str, place: Path) -> str:
    """What others call a base; a path that is relative to the study's file would look like a hub id."""
    path = Path(source).expanduser()
    return path.name if not path.is_absolute() and (place / path).exists() else public_source(source)
