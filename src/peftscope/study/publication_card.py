"""The card of what is published: a new one for the adapter of a run, the one that is there for a folder.

In the form of the hub's model cards, with the study it comes from. It holds no path of this machine, and no date: the
same adapter has the same card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from peftscope.schema.record import RunRecord
from peftscope.store.local_paths import public_source, without_local_paths
from peftscope.study.card_lines import USES, data_name, training_lines
from peftscope.study.hub import is_hub_id
from peftscope.study.publishable import Publishable
from peftscope.study.results import StudyResults
from peftscope.views.line import one_line
from peftscope.views.report.quantities import difference_text, reading
from peftscope.views.report.tables import score_table
from peftscope.views.table import TextTable, markdown_table
from peftscope.views.units import metric_text

__all__ = ["publication_card"]

FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
PLACE = "THIS_FOLDER"
"""What cards call the folder they lie in."""
CAPTIONS = {
    "front.png": "Score against training memory, with intervals; the line is the front",
    "tiers.png": "Scores with intervals",
}


def publication_card(
    found: Publishable, repository: str, pictures: Sequence[str], *, written: str | None, is_adapter: bool
) -> str:
    """The card as Markdown.

    Args:
        found: What is published.
        repository: Where to.
        pictures: Names of the pictures that lie beside it.
        written: The card that lies in the folder; None where there is none, or it is not to be taken.
        is_adapter: Whether ``peft`` loads the folder.
    """
    theirs, body = _read(written or "")
    if written is None:
        body = "\n\n".join(_own(found, is_adapter))
    parts = [body.strip(), *(_study(found.results, pictures) if found.results is not None else ())]
    text = without_local_paths("\n\n".join(part for part in parts if part)).replace(PLACE, repository)
    matter = without_local_paths(_matter(found, theirs, is_adapter))
    return f"---\n{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)}---\n\n{text}\n"


def _read(text: str) -> tuple[dict[str, Any], str]:
    """What a card says for programs, and the rest of it."""
    match = FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    try:
        matter = yaml.safe_load(match[1])
    except yaml.YAMLError:  # the hub would refuse it
        matter = None
    return (matter if isinstance(matter, dict) else {}), text[match.end() :]


def _matter(found: Publishable, theirs: Mapping[str, Any], is_adapter: bool) -> dict[str, Any]:
    """What the card says for programs: what is known here, beside what it said before."""
    said = theirs.get("base_model")
    base = found.base or (public_source(said) if isinstance(said, str) else None)
    record = found.record
    tags = theirs.get("tags")
    data = ModelCardData(
        # the hub refuses a card whose base is no repository
        base_model=base if is_hub_id(base) else None,
        library_name=theirs.get("library_name") or ("peft" if is_adapter else None),
        tags=[*(tags if isinstance(tags, list) else []), "peftscope", *([record.spec.method.name] if record else [])],
        **_scores(record),
    )
    known = data.to_dict()  # type: ignore[no-untyped-call]
    if is_adapter and "base_model" in known:
        known["base_model_relation"] = "adapter"
    return {**known, **{key: value for key, value in theirs.items() if key not in known and key != "base_model"}}


def _scores(record: RunRecord | None) -> dict[str, Any]:
    """The run's score in the hub's form."""
    value = None if record is None else record.metrics.get("test_score")
    if record is None or record.metric is None or value is None:
        return {}
    task, metric = record.spec.task, record.metric
    result = EvalResult(
        task_type=task.name,
        dataset_type="own",
        dataset_name=data_name(task),
        dataset_split="test",
        metric_type=metric.name,
        metric_value=round(float(value), 6),
    )
    return {"metrics": [metric.name], "model_name": record.spec.method.title, "eval_results": [result]}


def _own(found: Publishable, is_adapter: bool) -> Iterator[str]:
    """The card of an adapter that has none."""
    record, base = found.record, f"`{found.base}`" if found.base else "its base"
    what = "An adapter" if record is None else f"An adapter trained with `{record.spec.method.name}`"
    yield f"# {one_line(record.spec.method.title) if record else 'Adapter'} of {found.base or 'a base model'}"
    yield f"{what} on {base}, published with peftscope."
    if record is not None:
        yield from _quality(record, found.results)
        yield "## How it was trained"
        yield "\n".join(training_lines(record, found.chosen))
    if is_adapter:
        yield f"## Use\n\n{USES['peft alone']}"


def _quality(record: RunRecord, results: StudyResults | None) -> Iterator[str]:
    value, metric = record.metrics.get("test_score"), record.metric
    if value is None or metric is None:
        return
    yield "## How good it is"
    lines = [f"- {metric.name}, {metric.window}: {metric_text(metric, value)}"]
    names = {} if results is None else dict(zip(results.runs["run_id"], results.runs["method"]))
    if results is not None and record.run_id in names:
        candidate = results.verdict.candidate(names[record.run_id])
        read = reading(candidate, results.metric, score=results.metric)
        if read is not None and candidate.num_seeds > 1:
            lines.append(f"- the method, over {candidate.num_seeds} seeds [95 %]: {read.text}")
        if candidate.gain is not None:
            lines.append(f"- its gain over the base alone [95 %]: {difference_text(results.metric, candidate.gain)}")
    yield "\n".join(lines)


def _study(results: StudyResults, pictures: Sequence[str]) -> Iterator[str]:
    table = score_table(results.verdict)
    cells = [[one_line(cell["text"]) for cell in row] for row in table["rows"]]
    headings = [one_line(cell["text"]) for cell in table["headings"]]
    yield "## What it was compared with"
    tuned = "tuned with the same budget and " if results.tunings else ""
    yield (
        f"Methods {tuned}trained under the same conditions. In brackets: 95 % intervals. Methods of one tier are not "
        "detectably different. The same for programs, and more: `results.json`."
    )
    yield markdown_table(TextTable(title="", headings=headings, cells=cells)).strip()
    for name in pictures:
        yield f"![{CAPTIONS.get(name, name)}]({name})"
