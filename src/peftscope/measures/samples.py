"""What a trained model makes, as files for a person to look at."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import torch

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.models.evaluating import evaluating
from peftscope.schema.record import Artefact
from peftscope.store.files import ensure_folder, replacing

__all__ = ["FOLDER", "Samples"]

FOLDER = "samples"
"""In a study's folder: a folder for each run that left something to look at."""


class Samples(Measurement):
    """Writes the task's samples and names them in the record; it measures nothing."""

    stage: ClassVar[str] = "samples"

    def take(self, trained: Trained, measured: Measured) -> None:
        """The files, in a folder of the run's own."""
        model = trained.built.model
        baseline = None if trained.retention is None else trained.retention[1]
        with evaluating(model), torch.no_grad():
            samples = trained.task.samples(model, trained.predictor, baseline, trained.spec.run_id)
        for sample in samples:
            place = trained.folder / FOLDER / trained.spec.run_id / f"{sample.name}{sample.suffix}"
            ensure_folder(place.parent)
            with replacing(place) as temporary:
                temporary.write_bytes(sample.content)
            path = place.relative_to(trained.folder).as_posix()
            digest = hashlib.sha256(sample.content).hexdigest()
            measured.artefacts.append(Artefact(name=sample.name, path=path, about=sample.about, sha256=digest))
