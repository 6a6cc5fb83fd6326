"""``peftscope import-results``: what others published, as records that say whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from peftscope.cli.figures import known_metrics
from peftscope.cli.output import print_json, show_warnings
from peftscope.cli.place import RESULTS

if TYPE_CHECKING:
    from peftscope.upstream.results_in import Imported, Names

__all__ = ["import_results"]


def import_results(
    folder: Annotated[Path, typer.Argument(help="Result files of the PEFT benchmark, or a folder of such folders.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the records; results/NAME OF DIR by default.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Read result files of the public PEFT benchmark, or exported ones; a second import adds nothing."""
    # Imported late: the names of techniques come from peft, which takes seconds.
    from peftscope.upstream.results_in import keep_imported, read_upstream

    with Console(stderr=True).status("reading results"):
        found = read_upstream(folder, _names())
    place = out or RESULTS / (folder.resolve().name or "imported")
    written = keep_imported(place, found.records)
    if json_output:
        _print_document(found, place, written)
    else:
        _print_tables(found, place, written)
    show_warnings([*found.skipped, *(line for record in found.records for line in record.warnings)])


def _names() -> Names:
    from peftscope.measures.registry import metric_specs
    from peftscope.methods.adapter_config import method_name
    from peftscope.upstream.results_in import Names

    return Names(method_name=method_name, metrics=tuple(metric_specs()))


def _print_document(found: Imported, place: Path, written: int) -> None:
    kept = {"examples", "curve", "foreign"}
    print_json(
        "import-results",
        {
            "folder": str(place),
            "num_records": len(found.records),
            "num_written": written,
            "counts": found.counts,
            "skipped": found.skipped,
            "runs": [r.model_dump(mode="json", by_alias=True, exclude=kept) for r in found.records],
        },
    )


def _print_tables(found: Imported, place: Path, written: int) -> None:
    from peftscope.views.runs import run_failures, run_tables
    from peftscope.views.table import terminal_table

    console = Console()
    counts = ", ".join(f"{count} of {name}" for name, count in found.counts.items())
    for table in run_tables(found.records, known_metrics(), narrow=True):
        console.print(table.title, style="bold", markup=False, highlight=False, soft_wrap=True)
        console.print(terminal_table(table))
    for line in run_failures(found.records):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if any(record.single for record in found.records):
        console.print(
            "One training each, no score per example: no intervals, and small gaps mean nothing. "
            "Runs are ranked under equal conditions only. 'res.' is reserved memory: the peak of training, "
            "or of the whole process where only that is known.",
            markup=False,
            highlight=False,
        )
    news = "all there already" if written == 0 else f"{written} written"
    console.print(
        f"{len(found.records)} records ({counts}), {news}: {place}", markup=False, highlight=False, soft_wrap=True
    )
