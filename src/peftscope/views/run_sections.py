"""A record as a person reads it: sections of labelled lines."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peftscope.execution.eta import wall_time
from peftscope.measures.registry import metric_specs
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import Attempt, ExampleOutcome, MethodFacts, RunRecord
from peftscope.upstream.metrics import UPSTREAM_METRICS
from peftscope.views.line import one_line, shorten, span_text, sparkline, value_text
from peftscope.views.units import bytes_text, seconds_text

__all__ = ["Section", "module_patterns", "run_sections", "worst_first"]

LONGEST = 100
"""Characters of a setting."""
TRACEBACK_LINES = 6
CRASH = "most recent call first"
OUTPUTS = 3
OUTPUT_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Section:
    """Lines of one matter."""

    title: str
    lines: Sequence[tuple[str, str]]
    """Label and text."""


def run_sections(record: RunRecord) -> list[Section]:
    """Everything a person wants to know of a run, section by section; empty ones are left out."""
    sections = [
        Section(title="what it was", lines=_what(record)),
        Section(title="how it ended", lines=_attempts(record)),
        Section(title="quality", lines=_figures(record, cost=False)),
        Section(title="cost", lines=_figures(record, cost=True)),
        Section(title="not measured", lines=_missing(record)),
        Section(title="learning curve", lines=_curve(record)),
        Section(title="outputs", lines=_outputs(record)),
        Section(title="to look at", lines=[(artefact.path, artefact.about) for artefact in record.artefacts]),
        Section(title="conditions", lines=_conditions(record)),
        Section(title="notes", lines=[("", one_line(text)) for text in record.warnings]),
        Section(title="traceback, where it happened", lines=_traceback(record)),
    ]
    return [section for section in sections if section.lines]


def module_patterns(names: Iterable[str]) -> list[str]:
    """Module names with layer numbers made one, and how often each stands.

    >>> module_patterns(["layers.0.q_proj", "layers.1.q_proj", "lm_head"])
    ['layers.*.q_proj (2)', 'lm_head']
    """
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    return [f"{pattern} ({count})" if count > 1 else pattern for pattern, count in counts.items()]


def _what(record: RunRecord) -> list[tuple[str, str]]:
    spec, facts, method = record.spec, record.method_facts, record.spec.method
    model, train = spec.model, spec.train
    label = f", here called {method.label}" if method.label else ""
    rate = "" if spec.learning_rate is None else f"{spec.learning_rate:g}"
    if rate and facts and facts.learning_rate_source:
        rate += f", {facts.learning_rate_source}"
    weights = f"; weights {record.weights_sha256[:12]}" if record.weights_sha256 else ""
    names = [model.source, model.revision and f"revision {model.revision}", model.dtype, _value(model.quantization)]
    steps = f"{train.max_steps} steps of {train.batch_size} × {train.accumulation} samples"
    lines = [
        ("method", f"{method.name}{label}" + (f"; built by {facts.tuner_class}" if facts else "")),
        ("knobs", _pairs(method.knobs)),
        ("its peft config", _pairs({k: v for k, v in (method.peft_config or {}).items() if v not in (None, {}, [])})),
        ("targets", _value(method.targets)),
        ("adapts", _adapted(facts) if facts else ""),
        ("leaves out", _left_out(facts.left_out) if facts else ""),
        ("learning rate", rate),
        ("optimizer", _pairs(method.optimizer)),
        ("model", ", ".join(name for name in names if name) + weights),
        ("task", spec.task.name + (f": {_pairs(spec.task.options)}" if spec.task.options else "")),
        ("data", _pairs(record.data.get("sizes") or {})),
        ("seed", str(spec.seed)),
        ("training", f"{steps}, {train.schedule} schedule"),
        ("origin", "imported from results that others made" if record.origin == "foreign" else ""),
    ]
    return [(name, one_line(text)) for name, text in lines if text]


def _adapted(facts: MethodFacts) -> str:
    names, share = facts.adapted_modules, facts.adapted_share
    if not names:
        return ""
    weights = "" if share is None else f", {100 * share:.1f} % of the weights"
    return f"{len(names)} module{'s' if len(names) > 1 else ''}{weights}: {', '.join(module_patterns(names))}"


def _left_out(shares: Mapping[str, float]) -> str:
    return "; ".join(f"{what}, {100 * share:.1f} % of the weights" for what, share in shares.items())


def _attempts(record: RunRecord) -> list[tuple[str, str]]:
    lines = [("status", record.status), ("reason", one_line(record.reason or ""))]
    for number, attempt in enumerate(record.attempts, start=1):
        lines.append((f"attempt {number}", _attempt(attempt, record)))
    return [(name, text) for name, text in lines if text]


def _attempt(attempt: Attempt, record: RunRecord) -> str:
    alone = record.model_copy(update={"attempts": (attempt,), "metrics": {}})
    seconds = wall_time(alone.model_copy(update={"attempts": (attempt.model_copy(update={"kind": "run"}),)}))
    parts = [
        "repetition" if attempt.kind == "rerun" else "",
        attempt.status,
        attempt.started_at.replace("T", " ").replace("+00:00", " UTC"),
        "" if seconds is None else span_text(seconds),
        f"came to {attempt.reached}" if attempt.reached else "",
        {True: "gave the same figures", False: "gave other figures", None: ""}[attempt.agrees],
        shorten(attempt.reason or "", LONGEST) if (attempt.reason or "") not in (record.reason or "") else "",
    ]
    return one_line(", ".join(part for part in parts if part))


def _figures(record: RunRecord, *, cost: bool) -> list[tuple[str, str]]:
    known = {name: value for name, value in record.metrics.items() if value is not None}
    specs = {name: _spec(name) for name in known}
    return [
        (specs[name].title, _figure(specs[name].unit, value))
        for name, value in known.items()
        if (specs[name].group == "cost") == cost
    ]


def _spec(name: str) -> MetricSpec:
    """What a metric is; others' figures have no spec, and names that end as ours do."""
    suffix = name.rpartition("_")[2]
    unit = suffix if suffix in ("s", "bytes") else ""
    other = MetricSpec(name=name, unit=unit, direction="neutral", window="", group="cost" if unit else "quality")
    return {**metric_specs(), **UPSTREAM_METRICS}.get(name, other)


def _figure(unit: str, value: float) -> str:
    if unit == "s":
        return seconds_text(value)
    if unit == "bytes":
        return bytes_text(value)
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "share":
        return f"{value * 100:.1f} %"
    return f"{value:.4g}" + ("" if unit in ("", "task") else f" {unit.removeprefix('task ')}")


def _missing(record: RunRecord) -> list[tuple[str, str]]:
    """Reasons, each once, with what is missing for it."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in record.missing.items():
        by_reason.setdefault(one_line(reason), []).append(_spec(name).title)
    return [("", f"{', '.join(names)}: {shorten(reason, 3 * LONGEST)}") for reason, names in by_reason.items()]


def _curve(record: RunRecord) -> list[tuple[str, str]]:
    points = record.curve
    if not points:
        return []
    losses = [point.train_loss for point in points]
    lines = [("loss", f"{losses[0]:.3f} {sparkline(losses)} {losses[-1]:.3f}, to step {points[-1].step}")]
    scores = [point.valid_score for point in points if point.valid_score is not None]
    if scores:
        first, last = (value_text(score, record.metric) for score in (scores[0], scores[-1]))
        lines.append(("valid score", f"{first} {sparkline(scores)} {last}"))
    return lines


def worst_first(record: RunRecord) -> list[ExampleOutcome]:
    """Examples whose outputs were kept, the worst first."""
    sign = -1.0 if record.metric is not None and record.metric.direction == "lower" else 1.0
    return sorted((e for e in record.examples if e.output is not None), key=lambda e: sign * e.score)


def _outputs(record: RunRecord) -> list[tuple[str, str]]:
    """Prompt, target and output of some examples, the worst first."""
    kept = worst_first(record)
    lines = []
    for example in kept[:OUTPUTS]:
        scored = f"scored {example.score:g}" + (", cut off" if example.truncated else "")
        lines.append((scored, one_line(example.example_id)))
        texts = (("prompt", example.prompt), ("target", example.target), ("output", example.output))
        lines += [(f"  {name}", _quoted(text, from_end=name == "prompt")) for name, text in texts if text is not None]
    more = len(kept) - OUTPUTS
    return [*lines, ("", f"{more} more in the record")] if more > 0 else lines


def _quoted(text: str, *, from_end: bool) -> str:
    """A text with its line breaks written out, shortened; of a prompt the end, next to the answer."""
    if from_end and len(text) > OUTPUT_CHARS:
        text = "…" + text[-OUTPUT_CHARS:]
    return one_line(shorten(json.dumps(text, ensure_ascii=False), OUTPUT_CHARS + 10))


def _conditions(record: RunRecord) -> list[tuple[str, str]]:
    lines = []
    protocol = record.protocol
    for kind, name, parts in (
        ("quality", record.quality_protocol, protocol.quality if protocol else {}),
        ("cost", record.cost_protocol, protocol.cost if protocol else {}),
    ):
        if name is None:
            continue
        lines.append((kind, f"{name} ranks within the same one alone"))
        lines += [("", one_line(f"{key}: {_value(value)}")) for key, value in parts.items() if value is not None]
    return lines


def _traceback(record: RunRecord) -> list[tuple[str, str]]:
    texts = [attempt.traceback for attempt in record.attempts if attempt.traceback and attempt.kind == "run"]
    if not texts or record.status == "ok":
        return []
    lines = [line for line in texts[-1].splitlines() if line.strip()]
    # One that Python writes of a crash begins where it happened, others end there.
    listed = lines[:TRACEBACK_LINES] if any(CRASH in line for line in lines) else lines[-TRACEBACK_LINES:]
    return [("", "".join(c if c.isprintable() else " " for c in line).rstrip()) for line in listed]


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if value is None:
        return ""
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), LONGEST)
