"""Everything a report writes: the page, the pictures, the tables."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peftscope.store.files import ensure_folder, replacing, write_text
from peftscope.store.local_paths import without_local_paths
from peftscope.store.tables import FORMULA_STARTS, csv_of
from peftscope.views.report.content import ReportContent
from peftscope.views.report.data import figure_data, report_data
from peftscope.views.report.page import page
from peftscope.views.report.pictures import pictures_of
from peftscope.views.table import TextTable, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figures", "report_page", "summary_text", "verdicts_csv", "write_report"]

FORMATS = ("png", "svg")
KEY = "study"
"""Of the one study of a report."""
MOST_PAIRS = 60
"""Pairs a summary lists."""


def write_report(content: ReportContent, folder: Path, *, runs: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Write the report into a folder, over what an earlier one left there; gives the files by what they are.

    Args:
        content: What is told.
        folder: For the files.
        runs: Documents of its runs, by name: ``runs`` lists them, ``run/ID`` is one.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    ensure_folder(folder)
    data = without_local_paths(report_data(content))
    texts = {
        "report": ("report.html", report_page(data, without_local_paths(dict(runs or {})))),
        "runs": ("runs.csv", csv_of(content.records)),
        "verdicts": ("verdicts.csv", verdicts_csv(content)),
        "summary": ("summary.md", summary_text(data)),
    }
    pictures = _pictures(data)
    written = {}
    for name, (file_name, text) in texts.items():
        written[name] = folder / file_name
        write_text(written[name], text)
    for name, picture in pictures.items():
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            with replacing(path) as temporary:
                _save(picture, temporary, kind)
            written[f"{name}_{kind}"] = path
    return written


def figures(content: ReportContent) -> dict[str, bytes]:
    """Pictures of the front and of the scores as PNG files, by name; the same content gives the same bytes."""
    found = {}
    for name, picture in _pictures(without_local_paths(figure_data(content))).items():
        file = io.BytesIO()
        _save(picture, file, "png")
        found[f"{name}.png"] = file.getvalue()
    return found


def _pictures(data: Mapping[str, Any]) -> dict[str, Figure]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return pictures_of(data)


def _save(picture: Figure, file: Path | io.BytesIO, kind: str) -> None:
    with warnings.catch_warnings():
        # a letter of a name that the font lacks, a label too long for its figure
        warnings.simplefilter("ignore", UserWarning)
        picture.savefig(file, format=kind)


def report_page(data: Mapping[str, Any], runs: Mapping[str, Any]) -> str:
    """The page of one study, with the documents of its runs in it."""
    study = data["study"]
    listed = {"key": KEY, "name": study["name"], "place": study["place"]}
    documents = {
        "index": {"studies": [listed], "version": study["version"], "live": False},
        f"{KEY}/study": data,
        **{f"{KEY}/{name}": document for name, document in runs.items()},
    }
    first = [line for topic in data["recommendation"][:1] for line in (topic["title"], *topic["lines"])]
    return page(f"{study['name']} · peftscope report", documents, plain=first)


def verdicts_csv(content: ReportContent) -> str:
    """One row per pair, in the metric's own unit; what is not known is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("p_value", "p_adjusted", "p_equivalent", "superiority")
    writer.writerow(["first", "second", "verdict", "difference", "low", "high", *names, "more_seeds", "they_show"])
    for pair in content.verdict.pairs:
        difference = pair.difference
        row = [pair.first, pair.second, pair.verdict, difference.value, difference.low, difference.high]
        row += [getattr(pair, name) for name in names]
        row += [None, None] if pair.more_seeds is None else [pair.more_seeds.seeds, pair.more_seeds.shows]
        writer.writerow([_harmless(value) for value in row])
    return out.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet does not run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def summary_text(data: Mapping[str, Any]) -> str:
    """The answer, the tables and what to know about them, as Markdown."""
    study = data["study"]
    parts = [f"# {_flat(study['name'])}", f"{study['made_at']}, peftscope {study['version']}"]
    parts += [f"**Warning: {_flat(line)}**" for line in data["fairness"]["warnings"]]
    for topic in data["recommendation"]:
        parts += [f"## {_flat(topic['title'])}", _items(topic["lines"]), _rows(topic["rows"])]
    parts += ["## Scores", _markdown(data["tiers"]["table"]), _items(data["tiers"]["notes"])]
    pairs = data["pairs"]["table"]
    if pairs["rows"]:
        few = len(pairs["rows"]) <= MOST_PAIRS
        parts += ["## Pairs", _markdown(pairs) if few else f"{len(pairs['rows'])} pairs stand in verdicts.csv."]
    parts += ["## What it does to the model", _markdown(data["quality"]), "## Cost", _markdown(data["costs"])]
    if data["failures"]["runs"]:
        failed = [f"{f['title']}: {f['status']}: {f['reason']}" for f in data["failures"]["runs"]]
        parts += ["## Failures", _items(failed)]
    for topic in data["fairness"]["topics"]:
        parts += [f"## {_flat(topic['title'])}", _items(topic["lines"]), _rows(topic["rows"])]
    if data["conditions"]["differences"]:
        parts += ["## Different conditions", _items(data["conditions"]["differences"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(table: Mapping[str, Any]) -> str:
    return _rows([[c["text"] for c in table["headings"]], *([c["text"] for c in row] for row in table["rows"])])


def _rows(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head, *cells = [[_flat(text) for text in row] for row in rows]
    return markdown_table(TextTable(title="", headings=head, cells=cells))


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_flat(line)}" for line in lines)


def _flat(text: str) -> str:
    """One line in which no text of the user is markup."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;")
