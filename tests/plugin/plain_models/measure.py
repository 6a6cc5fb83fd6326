"""How large a net's outputs are: a metric that peftscope has never heard of."""

from __future__ import annotations

from typing import ClassVar

import torch

from peftscope.measures.base import Measured, Measurement, Trained


class Movement(Measurement):
    stage: ClassVar[str] = "movement"

    def take(self, trained: Trained, measured: Measured) -> None:
        if trained.kind.name != "regression-net":
            measured.missing["movement"] = "taken of regression nets"
            return
        rows = next(trained.task.eval_batches("valid"))
        with torch.no_grad():
            measured.put("movement", float(trained.built.model(rows["x"]).norm()))
