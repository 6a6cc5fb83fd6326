"""A study drafted from data: looked at by its content, with what is odd in it, written so that it runs as it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.errors import DataError
from peftscope.methods.catalog import FIRST_TO_TRY
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.study.draft_text import study_text
from peftscope.study.study import Study
from peftscope.study.template import write_new
from peftscope.tasks.images.drafting import draft_concept, holds_pictures
from peftscope.tasks.registry import PICTURES_TASK, ROWS_TASK, kind_of
from peftscope.tasks.text.drafting import draft_task
from peftscope.tasks.text.examples import SPLITS
from peftscope.tasks.text.findings import IN_TRAINING, look_at, near_keys_of, shared_rows
from peftscope.tasks.text.layouts import Texts, recognise
from peftscope.tasks.text.places import Places, find_places
from peftscope.tasks.text.rows import Table, read_file, read_hub
from peftscope.views.shown import Shown

__all__ = ["Draft", "draft"]

DEFAULT_MODEL = "builtin:smollm2-135m"
PICTURES_MODEL = "black-forest-labs/FLUX.2-klein-base-4B"
PICTURES_TRAINING = {"max_steps": 400, "batch_size": 2, "checkpointing": True}
BATCH_SIZE = 8
EPOCHS = 3
TRAINED_SHARE = 0.8
"""Of the rows, where validation and test are cut off them."""
FEWEST_STEPS, MOST_STEPS = 30, 300


@dataclass(frozen=True, kw_only=True, repr=False)
class Draft(Shown):
    """A study for some data, and what was found in them."""

    data: str
    spec: Mapping[str, Any]
    """The study, with the keys of a study.yaml."""
    found: tuple[str, ...]
    """What the data are, how they are read and scored, and why."""
    oddities: tuple[str, ...]
    """What is odd in them, with counts and rows."""
    comments: Mapping[str, str]
    """What its file says of settings, by their names."""
    path: Path | None = None
    """Where it was written; None where it was not."""

    schema: ClassVar[str] = "draft"

    @property
    def study(self) -> Study:
        """The study, ready to run."""
        return Study(self.spec) if self.path is None else Study.load(self.path)

    @property
    def yaml(self) -> str:
        """The same as a commented file."""
        return study_text(self.spec, self.comments, self.found, (self.path or self._default_path).name)

    @property
    def _default_path(self) -> Path:
        return Path(f"{self.spec['name']}.yaml")

    def write(self, path: str | Path | None = None, *, force: bool = False) -> Draft:
        """Write it as a study.yaml.

        Args:
            path: The file; named after the data where None.
            force: Write over a file that is there.

        Raises:
            SpecError: It is there already.
            StoreError: It cannot be written.
        """
        file = Path(path) if path is not None else self._default_path
        before = Path() if self.path is None else self.path.parent
        moved = replace(self, spec=_seen_from(self.spec, before, file.parent), path=file)
        write_new(file, moved.yaml, force=force)
        return moved

    def _content(self) -> Mapping[str, Any]:
        return {
            "data": self.data,
            "study": dict(self.spec),
            "found": list(self.found),
            "oddities": list(self.oddities),
            "path": None if self.path is None else str(self.path),
        }

    def _parts(self) -> Iterator[RenderableType]:
        yield Text(self.data, style="bold")
        yield from (Text(f"  {line}") for line in self.found)
        yield Text(
            "\nOdd in it" if self.oddities else "\nNothing odd in it", style="bold yellow" if self.oddities else ""
        )
        yield from (Text(f"  {line}") for line in self.oddities)
        if self.path is not None:
            yield Text(f"\nwrote {self.path}; look it over, then: peftscope compare {self.path}")


def draft(data: str | Path, *, model: str | None = None) -> Draft:
    """Look at data and draft a study for them.

    Args:
        data: A file, a folder of files or of pictures, or the id of a data set of the hub.
        model: The base: a hub id, a folder, a GGUF file or a built-in one; lengths are counted in its tokens. One that
            fits the data where None.

    Raises:
        DataError: There are no such data, they cannot be read, or their columns do not tell prompt and answer.
        ModelError: The model cannot be found, or cannot be read.
    """
    if holds_pictures(data):
        return _of_pictures(Path(data), model or PICTURES_MODEL)
    model = model or DEFAULT_MODEL
    places = find_places(str(data))
    table = _read(places, places.train)
    layout = recognise(table)
    texts = Texts(table, layout)
    seen = look_at(texts, is_plain_text=layout.is_plain_text)
    if seen.num_targets == 0:
        raise DataError(f"{table.source}: {layout.name}: no row has an answer")
    task = draft_task(texts, layout, seen, _processor(model))
    oddities = [*table.notes, *(finding.text(seen.num_rows) for finding in seen.findings), *task.oddities]
    sizes = [f"{seen.num_rows:,} rows to train on"]
    given = {"validation": places.valid, "test": places.test}
    cut = [split for split, place in given.items() if place is None]
    if cut:
        sizes.append(f"{' and '.join(cut)} rows are cut off them by a seed")
    options = {**places.options, **task.options}
    near = near_keys_of(texts) if len(cut) < len(given) else frozenset()
    for split, place in given.items():
        if place is None:
            continue
        held_out = _read(places, place)
        sizes.append(f"{len(held_out.rows):,} {split} rows")
        shared = shared_rows(Texts(held_out, layout), seen.keys, near)
        oddities += [f"{split}: {finding.text(len(held_out.rows))}" for finding in shared]
        if split == "test" and any(finding.what == IN_TRAINING for finding in shared):
            options["overlap"] = "allow"
    spec: dict[str, Any] = {
        "name": places.name,
        "model": model,
        "task": {"name": ROWS_TASK, **options},
        "methods": list(FIRST_TO_TRY),
        "tuning": {"effort": "quick"},
        "seeds": [0, 1, 2],
        "train": {**_length(seen.num_targets), "batch_size": BATCH_SIZE, "memory": "fast"},
    }
    labels = seen.labels()
    head = f"{layout.name}; {'; '.join(sizes)}"
    found = (head, *([] if labels is None else [labels]), *task.reasons)
    return Draft(data=str(data), spec=spec, found=found, oddities=tuple(oddities), comments=task.comments)


def _of_pictures(folder: Path, model: str) -> Draft:
    """A study for a folder of pictures; the model is not asked for."""
    task = draft_concept(folder)
    spec: dict[str, Any] = {
        "name": folder.resolve().name,
        "model": model,
        "task": {"name": PICTURES_TASK, **task.options},
        "methods": list(FIRST_TO_TRY),
        "tuning": {"effort": "quick"},
        "seeds": [0, 1, 2],
        "train": PICTURES_TRAINING,
    }
    return Draft(
        data=str(folder),
        spec=spec,
        found=(f"{task.num_pictures} pictures, split by a seed", *task.reasons),
        oddities=task.oddities,
        comments=task.comments,
    )


def _seen_from(spec: Mapping[str, Any], before: Path, folder: Path) -> Mapping[str, Any]:
    """The study with the paths in it, as seen from one folder, as they are seen from the folder of its file."""
    task = spec["task"]
    keys = ("dataset",) if "dataset" in task else (*SPLITS, "source")  # a data set's splits have names, not paths
    named = {key: task[key] for key in keys if key in task}
    return {
        **spec,
        "model": _path_from(spec["model"], before, folder),
        "task": {**task, **{key: _path_from(place, before, folder) for key, place in named.items()}},
    }


def _path_from(place: str, before: Path, folder: Path) -> str:
    """A path to what is there, as seen from a folder; anything else, such as a hub id, as it is."""
    path = before / place
    if Path(place).is_absolute() or not path.exists():
        return place
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return str(path.absolute())


def _read(places: Places, place: str) -> Table:
    return read_file(place) if places.dataset is None else read_hub(places.dataset, split=place)


def _processor(model: str) -> Any:
    """That of a base model, which is fetched where it is not here yet."""
    spec = ModelSpec(source=model)
    return kind_of(spec, TaskSpec(name=ROWS_TASK)).inspect(spec).processor


def _length(num_rows: int) -> dict[str, Any]:
    """How long to train: some epochs, or as many steps as a first comparison should take."""
    steps = round(EPOCHS * TRAINED_SHARE * num_rows / BATCH_SIZE)
    if FEWEST_STEPS <= steps <= MOST_STEPS:
        return {"epochs": EPOCHS}
    return {"max_steps": min(MOST_STEPS, max(FEWEST_STEPS, steps))}
