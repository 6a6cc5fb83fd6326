"""Where an adapter to be converted is: in a folder, in a run, or what a study recommends."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from peftscope.convert.result import Adapter
from peftscope.errors import SpecError, StoreError
from peftscope.methods.adapter_config import method_name
from peftscope.methods.catalog import card
from peftscope.models.kinds.registry import KINDS, choose
from peftscope.models.source import anchored, fetch_adapter
from peftscope.schema.reader import read_json
from peftscope.schema.record import RunRecord
from peftscope.schema.study import ModelSpec
from peftscope.store.base_folder import base_folder
from peftscope.store.files import record_path
from peftscope.store.local_paths import public_source
from peftscope.study.folder import find_record
from peftscope.study.run_choice import adapter_folder, best_run, choice_text
from peftscope.tasks.registry import kind_of

__all__ = ["FoundAdapter", "find_adapter"]

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class FoundAdapter(Adapter):
    """An adapter with the record of the run it comes from."""

    record: RunRecord | None = None
    study_base: Path = Path()
    """Folder that relative paths of the study are taken from."""
    chosen: str | None = None
    """How it was chosen, where a study recommends it."""


def find_adapter(adapter: str, model: str | None, study: Path | None) -> FoundAdapter:
    """The adapter somebody means.

    Args:
        adapter: Folder of one, or its id on the hub; id of a run or path of its record; a study's file or folder, which
            means what it recommends.
        model: The base, where it is not the one that is named there.
        study: Where a run is looked for; None looks at all studies.

    Raises:
        SpecError: There is none, or its base is not known.
        StoreError: Its config or record cannot be read.
        ModelError: The base is of no known kind.
    """
    folder = Path(adapter)
    record = record_path(folder.absolute().parent.parent, folder.name)  # were it the folder of a run's adapter
    if folder.is_dir() and record.is_file():
        return _of_run(str(record), None, model)
    if (folder / "adapter_config.json").is_file():
        return _foreign(folder, model)
    if HUB_ID.fullmatch(adapter) and not folder.parent.exists() and folder.suffix not in (".yaml", ".yml", ".json"):
        return _foreign(fetch_adapter(adapter), model)
    if folder.exists() and folder.suffix != ".json":
        from peftscope.study.study import Study

        opened = Study.load(folder)
        return replace(_of_run(best_run(opened), opened.folder, model), chosen=choice_text(opened.results()))
    return _of_run(adapter, study, model)


def _of_run(run: str, study: Path | None, model: str | None) -> FoundAdapter:
    folder, record = find_record(run, study)
    place = base_folder(folder)
    base = anchored(record.spec.model, place)
    if model is not None:  # the record's hash says whether it is the same
        base = base.model_copy(update={"source": model, "revision": None, "quantization": None})
    return FoundAdapter(
        folder=adapter_folder(folder, record),
        card=card(record.spec.method.name),
        base=base,
        kind=kind_of(base, record.spec.task),
        weights_sha256=record.weights_sha256,
        base_name=public_source(record.spec.model.source),
        revision=record.spec.model.revision,
        record=record,
        study_base=place,
    )


def _foreign(folder: Path, model: str | None) -> FoundAdapter:
    raw = read_json(folder / "adapter_config.json")
    if not isinstance(raw, dict):
        raise StoreError(f"{folder / 'adapter_config.json'}: holds no settings")
    source = model or raw.get("base_model_name_or_path")
    if not isinstance(source, str) or not source:
        raise SpecError(str(folder), ["its config names no base; say which with --model"])
    base = ModelSpec(source=source, revision=None if model else raw.get("revision"))
    return FoundAdapter(
        folder=folder,
        card=card(method_name(raw, {})),
        base=base,
        kind=choose(base, KINDS.names()),
        base_name=public_source(source),
        revision=base.revision,
    )
