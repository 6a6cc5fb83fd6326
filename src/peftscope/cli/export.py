"""``peftscope export``: a study's records for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peftscope.cli.output import print_json
from peftscope.cli.place import study_folder
from peftscope.errors import SpecError, unknown_name

if TYPE_CHECKING:
    from peftscope.schema.record import RunRecord

__all__ = ["export"]

LAYOUTS = ("upstream",)
STDOUT = Path("-")


def export(
    study: Annotated[Path, typer.Argument(help="A folder of results, or the study.yaml they were made from.")],
    layout: Annotated[
        str | None,
        typer.Option(help="Layout of the files in --to: upstream, one JSON per run as the PEFT benchmark's."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for files in that layout.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file with one row per run; - prints it.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Markdown file with the runs' tables; - prints it.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a line.")] = False,
) -> None:
    """Write a study's records as result files of the PEFT benchmark, as CSV or as Markdown.

    Trials, which have no result on the test split, are in the CSV alone.
    """
    _check(layout, to, csv, markdown, json_output=json_output)
    from peftscope.store.files import read_records

    folder = study_folder(study)
    records = read_records(folder)
    if not records:
        raise SpecError(str(study), [f"no records in {folder / 'records'}: nothing to export"])
    finals = [record for record in records if record.spec.purpose == "final"]
    done: dict[str, Any] = {"num_records": len(records)}
    if to is not None:
        from peftscope.upstream.results_out import export_upstream

        done["files"] = [str(path) for path in export_upstream(finals, to)]
    if csv is not None:
        from peftscope.store.tables import csv_of

        done["csv"] = _put(csv, csv_of(records))
    if markdown is not None:
        done["markdown"] = _put(markdown, _markdown(finals))
    if json_output:
        print_json("export", done)
        return
    if to is not None:
        typer.echo(f"wrote {len(done['files'])} result files to {to}", err=STDOUT in (csv, markdown))
    for path, runs in ((csv, records), (markdown, finals)):
        if path not in (None, STDOUT):
            typer.echo(f"wrote {len(runs)} runs to {path}", err=STDOUT in (csv, markdown))


def _check(layout: str | None, to: Path | None, csv: Path | None, markdown: Path | None, *, json_output: bool) -> None:
    """Say everything that is wrong with the request before anything is read or written."""
    problems = []
    if layout is not None and layout not in LAYOUTS:
        problems.append(f"--layout: {unknown_name('layout', layout, LAYOUTS)}")
    if layout is not None and to is None:
        problems.append("--layout: needs --to with a folder for the files")
    if to is None and csv is None and markdown is None and layout is None:
        problems.append("nothing asked for; give --to FOLDER, --csv FILE or --markdown FILE (- prints)")
    printed = [name for name, path in (("--csv -", csv), ("--markdown -", markdown)) if path == STDOUT]
    printed += ["--json"] if json_output else []
    if len(printed) > 1:
        problems.append(f"{' and '.join(printed)} would print into one another; give all but one a file")
    if problems:
        raise SpecError("export", problems)


def _put(path: Path, text: str) -> str:
    from peftscope.store.files import ensure_folder, write_text

    if path == STDOUT:
        typer.echo(text, nl=False)
    else:
        ensure_folder(path.parent)
        write_text(path, text)
    return str(path)


def _markdown(records: list[RunRecord]) -> str:
    from peftscope.cli.figures import known_metrics
    from peftscope.views.runs import run_failures, run_tables
    from peftscope.views.table import markdown_table

    parts = [
        f"**{table.title}**\n\n{markdown_table(table)}" for table in run_tables(records, known_metrics(), narrow=False)
    ]
    failures = run_failures(records)
    if failures:
        parts.append("\n".join(f"- {line}" for line in failures))
    return "\n\n".join(parts) + "\n"
