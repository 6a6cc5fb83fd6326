"""How large a net's outputs are, and how often a training was looked at: metrics peftscope has never heard of."""

from __future__ import annotations

from typing import ClassVar

import torch

from peftscope.measures.base import Measured, Measurement, Trained, Watch
from peftscope.methods.build import Built


class Looks(Watch):
    def __init__(self) -> None:
        self.count = 0

    def start(self) -> None: ...

    def pause(self) -> None:
        self.count += 1

    def resume(self) -> None: ...

    def stop(self) -> None: ...

    def put(self, measured: Measured) -> None:
        measured.put("num_looks", self.count)


class Movement(Measurement):
    stage: ClassVar[str] = "movement"

    def watch(self, built: Built) -> Watch:
        return Looks()

    def take(self, trained: Trained, measured: Measured) -> None:
        if trained.kind.name != "regression-net":
            measured.missing["movement"] = "taken of regression nets"
            return
        rows = next(trained.task.eval_batches("valid"))
        with torch.no_grad():
            measured.put("movement", float(trained.built.model(rows["x"]).norm()))
