"""What a study came to, as Markdown, from the records it left; writes ``demo_table.md`` and its kind beside this file.

Of a study of pictures it also sets side by side what the methods drew, in ``docs/images``.

python benchmarks/study_table.py demo          # after make demo
python benchmarks/study_table.py nano-t2i      # after peftscope compare studies/nano-t2i.yaml
"""

from __future__ import annotations

import argparse
import base64
import io
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import peftscope as ps
from peftscope.study.comparison import comparison_of
from peftscope.study.metrics import known_metrics
from peftscope.study.results import StudyResults
from peftscope.tasks.images.grids import GridRow, grid_png
from peftscope.views.report.samples import PictureTable, picture_tables
from peftscope.views.table import markdown_table, quality_and_cost

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
IMAGES = HERE.parent / "docs" / "images"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the study, as its folder under results/ is called")
    write(parser.parse_args().name)


def write(name: str) -> None:
    """Write the tables and the recommendation."""
    folder = RESULTS / name
    study = ps.Study.load(folder)
    found = study.results()
    compared = comparison_of(found.records, found.metric, folder=folder, title=found.name, study=study.spec)
    tables = quality_and_cost(compared.summary, found.metric, known_metrics())
    shown = "\n\n".join(markdown_table(table) for table in tables)
    text = f"{_note(found, name)}\n\n{shown}\n\n```text\n{study.recommend().text()}\n```\n"
    (HERE / f"{name.replace('-', '_')}_table.md").write_text(text, encoding="utf-8")
    drawn = picture_tables(found.records, {}, folder)
    if drawn:
        (IMAGES / f"{name}-methods.png").write_bytes(side_by_side(drawn[0]))


def side_by_side(table: PictureTable) -> bytes:
    """Every other prompt of a table, each method in a column."""
    rows = [
        GridRow(prompt=prompt, pictures=[_tile(address) for address in addresses]) for prompt, addresses in table.rows
    ]
    return grid_png(rows[::2], table.headings, {})


def _tile(address: str) -> torch.Tensor:
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB")))


def _note(found: StudyResults, name: str) -> str:
    attempts = [attempt for record in found.records for attempt in record.attempts]
    environment = attempts[-1].environment
    packages = environment["packages"]
    first = min(datetime.fromisoformat(attempt.started_at) for attempt in attempts)
    last = max(datetime.fromisoformat(attempt.ended_at) for attempt in attempts)
    steps = sum(tuning.num_steps for tuning in found.tunings)
    return (
        f"Written by `python benchmarks/study_table.py {name}` after the study: {environment['num_cores']} cores "
        f"({environment['cpu']}), no accelerator, torch {packages['torch']}, peft {packages['peft']}; "
        f"{len(found.records)} runs, {steps:,} steps of tuning, {(last - first).total_seconds() / 60:.1f} minutes from "
        "the first start to the last end."
    )


if __name__ == "__main__":
    main()
