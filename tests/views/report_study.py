"""A study as a report meets it, made up: eight methods, one failed, one of a single seed, one tuned to an edge."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from judged import failures
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.front import Front
from peftscope.analysis.power import More
from peftscope.analysis.tuning import Trial, Tuning
from peftscope.analysis.verdict import Candidate, MetricSummary, Pair, Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import Attempt, CurvePoint, ExampleOutcome, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.views.report.content import ReportContent, Topic

__all__ = ["ACCURACY", "METRICS", "a_front", "a_study", "many_singles"]

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="mean over the test split")
MEMORY = MetricSpec(name="peak_train_memory_bytes", unit="bytes", direction="lower", window="metered steps")
TIME = MetricSpec(name="train_time_s", unit="s", direction="lower", window="training steps alone")
PARAMS = MetricSpec(name="num_trainable_params", unit="count", direction="lower", window="what is trained")
FILE = MetricSpec(name="checkpoint_bytes", unit="bytes", direction="lower", window="weight files")
DRIFT = MetricSpec(name="drift", unit="nats/token", direction="lower", window="general text")
METRICS = (ACCURACY, MEMORY, TIME, PARAMS, FILE, DRIFT)

# score, memory, time, parameters, file, drift
KNOWN: Mapping[str, tuple[float, ...]] = {
    "lily": (0.565, 1.13e9, 76.4, 6.49e6, 236e6, 0.060),
    "ln-tuning": (0.550, 0.906e9, 41.8, 35.1e3, 149e3, 0.133),
    "rslora": (0.528, 1.19e9, 60.7, 19.5e6, 78.2e6, 0.101),
    "lora": (0.490, 1.07e9, 55.8, 9.77e6, 39.1e6, 0.028),
    "dora": (0.484, 1.30e9, 90.1, 9.9e6, 39.9e6, 0.030),
    "oft": (0.480, 1.05e9, 52.2, 2.32e6, 9.31e6, 0.013),
    "ia3": (0.310, 1.04e9, 45.5, 184e3, 762e3, 0.291),
}
SEEDS = (1, 2, 3)
MORE = More(seeds=4, shows="apart")


def a_study(labels: Mapping[str, str] | None = None, **parts: Any) -> ReportContent:
    """The study's material; ``labels`` calls methods by other names, ``parts`` replace fields."""
    names = {name: (labels or {}).get(name, name) for name in ("base", *KNOWN, "vera")}
    candidates = _candidates(names)
    verdict = Verdict(
        metric=ACCURACY,
        margin=0.02,
        level=0.95,
        candidates=candidates,
        pairs=_pairs(candidates),
        tiers=_tiers(candidates),
        notes=("Intervals are conditional on the frozen configurations: another tuning could choose others.",),
    )
    content = ReportContent(
        name="tickets",
        place="results/tickets",
        records=_records(names),
        verdict=verdict,
        metrics=METRICS,
        fronts=tuple(a_front(candidates, pair) for pair in itertools.combinations(METRICS, 2)),
        tunings=_tunings(names),
        recommendation=(Topic(title="Take ln-tuning", lines=("It scores 55.0 % [45.2, 64.4].", "Tied: rslora.")),),
        warnings=("oft adapts 60 modules, the others 210",),
        fairness=(
            Topic(title="Budget", lines=("4 trials offered to each of 8 methods",)),
            Topic(title="Adapted", rows=(("method", "modules"), ("lora", "210"), ("oft", "60"))),
        ),
    )
    return replace(content, **parts)


def many_singles(count: int = 52) -> ReportContent:
    """Results of others: one training of each method, no scores per example."""
    random = np.random.default_rng(5)
    candidates = tuple(
        Candidate(
            method=f"family-{i % 9}/llama-3.2-3B-rank{2 ** (i % 8)}-variant{i}",
            card=f"family-{i % 9}",
            learning_rate=1e-4,
            num_seeds=1,
            score=Estimate(float(score), None, None),
            metrics={
                MEMORY.name: _figure(2e10 + 2e10 * random.random() ** 2, 1),
                PARAMS.name: _figure(10 ** random.uniform(4, 9.5), 1),
                TIME.name: _figure(1500 + 900 * random.random(), 1),
            },
            single=True,
        )
        for i, score in enumerate(sorted(random.uniform(0.05, 0.55, count), reverse=True))
    )
    verdict = Verdict(
        metric=ACCURACY, margin=0.02, level=0.95, candidates=candidates, pairs=(), tiers=(),
        notes=("Every method is a single run: no interval can be given.",),
    )  # fmt: skip
    metrics = (ACCURACY, MEMORY, PARAMS, TIME)
    records = [_record(c.method, "lora", seed=0, rate=1e-4, score=c.score.value if c.score else 0) for c in candidates]
    return ReportContent(
        name="published",
        place="results/published",
        records=records,
        verdict=verdict,
        metrics=metrics,
        fronts=tuple(a_front(candidates, pair) for pair in itertools.combinations(metrics, 2)),
    )


def a_front(candidates: Sequence[Candidate], metrics: Sequence[MetricSpec]) -> Front:
    """Membership counted on the estimates; a probability that looks like one."""
    points = {}
    for c in candidates:
        values = [_value(c, m) for m in metrics]
        if None not in values:
            points[c.method] = tuple(float(v) for v in values if v is not None)
    signs = [1 if m.direction == "higher" else -1 for m in metrics]

    def beats(a: str, b: str) -> bool:
        gains = [s * (x - y) for s, x, y in zip(signs, points[a], points[b])]
        return min(gains) >= 0 and max(gains) > 0

    members = sorted((m for m in points if not any(beats(o, m) for o in points)), key=lambda m: points[m][-1])
    single = {c.method for c in candidates if c.single or (c.num_seeds == 1 and not c.is_base)}
    return Front(
        metrics=tuple(metrics),
        points=points,
        members=tuple(members),
        membership={m: None if m in single else (0.83 if m in members else 0.11) for m in points},
        removable={members[-1]: ("lora",)} if len(members) > 1 else {},
        hypervolume=0.61,
        reference=tuple(min(v) if s > 0 else max(v) for s, v in zip(signs, zip(*points.values()))),
        notes=("lily is a single run",) if "lily" in members else (),
    )


def _value(candidate: Candidate, metric: MetricSpec) -> float | None:
    if metric is ACCURACY:
        return candidate.score.value if candidate.score else None
    figure = candidate.metrics.get(metric.name)
    return figure.mean if figure else None


def _figure(value: float, num_runs: int) -> MetricSummary:
    spread = 0.0 if num_runs < 2 else 0.03 * value
    return MetricSummary(mean=value, low=value - spread, high=value + 2 * spread, num_runs=num_runs)


def _candidates(names: Mapping[str, str]) -> tuple[Candidate, ...]:
    found = [
        Candidate(
            method=names["base"], card="base", is_base=True, num_seeds=1, num_examples=100, tier=4,
            score=Estimate(0.04, 0.016, 0.098),
            metrics={PARAMS.name: _figure(0.0, 1), DRIFT.name: _figure(0.0, 1), FILE.name: _figure(0.0, 1)},
        )
    ]  # fmt: skip
    tiers = {"lily": 1, "ln-tuning": 1, "rslora": 1, "lora": 2, "dora": 2, "oft": 2, "ia3": 3}
    for name, (score, *costs) in KNOWN.items():
        runs = 1 if name == "lily" else 3
        found.append(
            Candidate(
                method=names[name],
                card=name,
                learning_rate=3e-4,
                num_seeds=runs,
                num_examples=100,
                failures=failures("diverged: the loss became NaN at step 7") if name == "ia3" else (),
                score=Estimate(score, score - 0.045 * (4 - runs), score + 0.045 * (4 - runs)),
                gain=Estimate(score - 0.04, score - 0.12, score + 0.06),
                metrics={m.name: _figure(v, runs) for m, v in zip(METRICS[1:], costs)},
                tier=tiers[name],
                single=False,
            )
        )
    found.append(Candidate(method=names["vera"], card="vera", failures=failures(*["oom: out of memory"] * 3)))
    return tuple(found)


def _pairs(candidates: Sequence[Candidate]) -> tuple[Pair, ...]:
    scored = sorted((c for c in candidates if c.score), key=lambda c: -c.score.value if c.score else 0)
    pairs = []
    for a, b in itertools.combinations(scored, 2):
        assert a.score is not None
        assert b.score is not None
        gap = a.score.value - b.score.value
        verdict = "better" if gap > 0.045 else "equivalent" if gap < 0.007 else "undecided"
        pairs.append(
            Pair(
                first=a.method, second=b.method, difference=Estimate(gap, gap - 0.05, gap + 0.05), p_value=0.01,
                p_adjusted=0.2 if verdict == "undecided" else 0.004, p_equivalent=0.3, verdict=verdict,
                superiority=min(0.99, 0.5 + 5 * gap), more_seeds=MORE if verdict == "undecided" else None,
            )
        )  # fmt: skip
    return tuple(pairs)


def _tiers(candidates: Sequence[Candidate]) -> tuple[tuple[str, ...], ...]:
    numbers = sorted({c.tier for c in candidates if c.tier})
    return tuple(tuple(c.method for c in candidates if c.tier == n) for n in numbers)


RATES = (1e-4, 3e-4, 1e-3, 6e-4)


def _tunings(names: Mapping[str, str]) -> tuple[Tuning, ...]:
    made = []
    for name in (*KNOWN, "vera"):
        best = KNOWN[name][0] if name in KNOWN else 0.0
        trials = []
        for number, rate in enumerate(RATES):
            lost = number == 0 and name != "oft"
            edge = name == "oft"
            score = best - 0.05 * abs(np.log10(rate / (1e-4 if edge else 3e-4)))
            status = "oom" if name == "vera" else "eliminated" if lost else "ok"
            done = status == "ok"
            trials.append(
                Trial(
                    number=number, learning_rate=rate, origin="grid" if number < 3 else "refinement",
                    run_id=f"{name}-{number}", status=status, num_steps=32 if done else 8 if lost else 0,
                    reason=None if done else "out of memory" if status == "oom" else "8 steps: not among the best 2",
                    valid_score=float(score) if done else None, valid_loss=1.2 - float(score) if done else None,
                    rungs=() if status == "oom" else ((8, 1.5 - float(score)), *(((16, 1.3),) if done else ())),
                )
            )  # fmt: skip
        ended = [t for t in trials if t.valid_score is not None]
        chosen = max(ended, key=lambda t: t.valid_score or 0) if ended else None
        made.append(
            Tuning(
                method=names[name], num_offered=4, trials=tuple(trials), chosen=chosen,
                learning_rate=None if chosen is None else chosen.learning_rate,
                edge="lowest" if name == "oft" else None,
            )
        )  # fmt: skip
    return tuple(made)


PROTOCOL = Protocol(
    quality={"weights": "ab" * 32, "task": {"name": "math", "version": 3}, "decoding": "greedy"},
    cost={"cpu": "a processor", "threads × workers": "2 × 1", "packages": {"torch": "2.9.0", "peft": "0.21.2"}},
)


def _records(names: Mapping[str, str]) -> list[RunRecord]:
    records = [_record(names["base"], "base", seed=0, rate=None, score=0.04)]
    for name, (score, *costs) in KNOWN.items():
        metrics = dict(zip([m.name for m in METRICS[1:]], costs))
        for seed in SEEDS[:1] if name == "lily" else SEEDS:
            records.append(_record(names[name], name, seed=seed, rate=3e-4, score=score, metrics=metrics))
    records += [_record(names["vera"], "vera", seed=s, rate=3e-4, status="oom") for s in SEEDS]
    records.append(_record(names["ia3"], "ia3", seed=9, rate=3e-4, status="diverged"))
    return records


def _record(
    label: str, method: str, *, seed: int, rate: float | None, score: float = 0.0, status: str = "ok",
    metrics: Mapping[str, float] | None = None,
) -> RunRecord:  # fmt: skip
    spec = RunSpec(
        model="builtin:nano-lm", task="math", method=MethodSpec(name=method, label=label), learning_rate=rate,
        seed=seed,
    )  # fmt: skip
    good = status == "ok"
    random = np.random.default_rng([seed, *method.encode()])
    right = random.random(60) + np.linspace(-0.3, 0.3, 60) < score  # some examples are harder for all
    answers = [ExampleOutcome(example_id=str(i), score=float(hit)) for i, hit in enumerate(right)]
    steps = range(4, 33, 4) if good and rate else range(4, 9, 4) if status == "diverged" else ()
    curve = tuple(
        CurvePoint(
            step=s, learning_rate=3e-4, train_loss=2.0 * np.exp(-s / 20) + 0.05 * random.random() + 0.6 - score / 2,
            valid_score=score * s / 32 if s % 8 == 0 else None, train_time_s=float(s),
        )
        for s in steps
    )  # fmt: skip
    attempt = Attempt(
        started_at="2026-01-01T00:00:00+00:00", ended_at="2026-01-01T00:01:15+00:00", status=status,
        reason=None if good else f"{status} for a reason",
        traceback=None if good else 'Traceback (most recent call last):\n  File "x.py", line 1\nMemoryError: no room',
        environment={
            "peftscope": "0.1.0", "commit": "f7f94c3", "python": "3.11.2", "packages": {"torch": "2.9.0"},
            "cpu": "a processor", "num_threads": 2, "num_workers": 1,
        },
    )  # fmt: skip
    return RunRecord(
        run_id=spec.run_id, spec=spec, status=status, reason=attempt.reason, attempts=(attempt,),
        metrics={"test_score": score, **(metrics or {})} if good else {"test_score": None},
        curve=curve, metric=ACCURACY, protocol=PROTOCOL, quality_protocol=PROTOCOL.quality_hash,
        cost_protocol=PROTOCOL.cost_hash,
        examples=tuple(answers) if good else (),
    )  # fmt: skip
