"""What the conversion of an adapter will take, before it is begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.convert.forecast import Forecast, forecast
from peftscope.schema.request import Request
from peftscope.study.adapters import find_adapter
from peftscope.study.conversion import wish_of
from peftscope.study.conversion_inputs import MOST_BYTES, ROWS
from peftscope.views.shown import Shown, labelled
from peftscope.views.units import bytes_text, seconds_text

__all__ = ["ConversionPlan", "plan_conversion"]


@dataclass(frozen=True, kw_only=True, repr=False)
class ConversionPlan(Shown):
    """A forecast that shows itself."""

    schema: ClassVar[str] = "convert-plan"
    method: str
    forecast: Forecast

    def _content(self) -> Mapping[str, Any]:
        found = self.forecast
        return {"method": self.method, **asdict(found), "peak_bytes": found.peak_bytes}

    def _parts(self) -> Iterator[RenderableType]:
        found = self.forecast
        yield Text(
            f"{self.method}: {found.num_layers} weights to convert; about {bytes_text(found.peak_bytes)} of memory and "
            f"{seconds_text(found.convert_s + found.compare_s)}",
            style="bold",
        )
        yield labelled(
            [
                ("base", bytes_text(found.base_bytes)),
                ("inputs' moments", bytes_text(found.moments_bytes)),
                ("largest weight", f"{bytes_text(found.layer_bytes)}, its copies in double precision"),
                ("outputs", f"{bytes_text(found.outputs_bytes)} kept, {bytes_text(found.batch_bytes)} of a batch"),
                ("to convert", seconds_text(found.convert_s)),
                ("to compare", f"{seconds_text(found.compare_s)}; scoring a task's test examples comes on top"),
            ]
        )


def plan_conversion(
    adapter: str | Path,
    *,
    model: str | None = None,
    study: str | Path | None = None,
    rank: int | None = None,
    energy: float | None = None,
    max_error: float | None = None,
    shared: bool = False,
    request: Request | None = None,
) -> ConversionPlan:
    """Memory and time of a conversion, from the adapter's config and the base's; no weights are read.

    Args:
        adapter: As ``convert`` takes it.
        model: The base, where it is not the one that is named there.
        study: Where a run is looked for.
        rank: Of the LoRA; 64 where nothing else is asked for.
        energy: As ``convert`` takes it.
        max_error: Likewise; the search for the least rank is not counted.
        shared: Whether it is shared out over weights.
        request: Collects what is wrong with the arguments, by the names they are given under.

    Raises:
        SpecError: An argument is out of range, or there is no such adapter.
        MethodRefused: The method does not merge.
        ModelError: Shapes of such a base are not known beforehand.
    """
    request = request or Request("convert")
    wish = replace(wish_of(request, "peft", rank, {"energy": energy, "max_error": max_error}), shared=shared)
    request.end()
    found = find_adapter(str(adapter), model, Path(study) if study is not None else None)
    return ConversionPlan(method=found.card.name, forecast=forecast(found, wish, rows=ROWS, kept_bytes=MOST_BYTES))
