"""How equally methods were treated: what each was given, and where they differ in more than the method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peftscope.analysis.traits import Traits, setting_of
from peftscope.analysis.tuning import Edge, Tuning
from peftscope.schema.effort import Effort
from peftscope.schema.record import RunRecord
from peftscope.schema.seeds import SeedPlan
from peftscope.schema.study import StudySpec

__all__ = ["Difference", "Fairness", "MethodBudget", "fairness", "listed"]

TIMES = ("train_time_s", "upstream_train_time_s")
"""Seconds of training, the first of these a record has."""
LONG_S, LONG_SHARE = 5.0, 0.1
"""An initialisation is reported from so many seconds and from that share of the training."""
SHOWN = 3
"""Names said one by one; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class MethodBudget:
    """What one method was given."""

    method: str
    card: str
    num_offered: int = 0
    """Trials offered at most; 0 in a study without tuning."""
    effort: Effort | None = None
    """The protocol of tuning; None without, and where a number of trials was given."""
    num_trials: int = 0
    """Trials that were begun."""
    num_eliminated: int = 0
    """Of these, ended early by the search."""
    failed_trials: tuple[str, ...] = ()
    """``status: reason`` of each."""
    tuning_steps: int = 0
    tuning_time_s: float = 0.0
    learning_rates: tuple[float, ...] = ()
    """Tried, in trials or else in final runs; rising."""
    chosen_rate: float | None = None
    edge: Edge | None = None
    """Side on which the chosen learning rate has no worse or diverged neighbour."""
    bracket: tuple[float | None, float | None] = (None, None)
    """The next lower and the next higher learning rate that turned out worse."""
    by_score: bool = False
    """Validation scores contradicted the losses beyond their noise, and decided on the learning rate."""
    seeds: tuple[int, ...] = ()
    """Of final runs with a result."""
    final_steps: int = 0
    final_time_s: float = 0.0
    failed_finals: tuple[str, ...] = ()
    modules: Mapping[str, int] = field(default_factory=dict)
    """Kind of module -> how many are adapted; 0 where results of others name the kind alone."""
    num_trainable_params: int | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Methods differ in more than the method."""

    what: str
    """One word for programs: ``modules``, ``optimizer``, ``config``, ``knobs``, ``seeds``, ``rates``, ``steps``,
    ``protocol``, ``initialisation``."""
    claim: str
    methods: tuple[str, ...]
    """Those that stand apart from most."""
    detail: str = ""
    """Who, and in what."""

    @property
    def text(self) -> str:
        """The whole of it in a line."""
        return f"{self.claim}: {self.detail}" if self.detail else self.claim


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """The whole of it."""

    shares: tuple[MethodBudget, ...]
    """The untouched base has none: nothing is spent on it."""
    differences: tuple[Difference, ...]
    """Each a warning."""
    num_protocols: int
    """Conditions of quality among the final runs."""
    foreign: bool = False
    """Results of others: what was tried beside them is not known."""


def fairness(
    records: Sequence[RunRecord],
    tunings: Sequence[Tuning],
    study: StudySpec | None,
    *,
    traits: Mapping[str, Traits],
    eliminated: Collection[str] = (),
) -> Fairness:
    """Compare what methods were given.

    Args:
        records: Every run of the study, trials and failures among them.
        tunings: What tuning came to; empty without.
        study: None where it is not known.
        traits: By the names of methods.
        eliminated: Ids of runs of candidates that a race ended: these have fewer seeds by the study's own rule.
    """
    trained = [r for r in records if r.spec.learning_rate is not None]
    finals = [r for r in trained if r.spec.purpose == "final"]
    offered = _offered(study)
    by_method = {tuning.method: tuning for tuning in tunings}
    titles = dict.fromkeys(r.spec.method.title for r in trained)
    groups = {title: [r for r in trained if r.spec.method.title == title] for title in titles}
    shares = [_share(title, group, by_method.get(title), offered) for title, group in groups.items()]
    latest = {title: _latest_record(group) for title, group in groups.items()}
    checks = (
        _modules(shares, latest, traits),
        _optimizers(latest, traits),
        _configs(latest),
        *_knobs(latest, traits),
        _rates(shares, latest),
        _seeds([share for share in shares if not _has_ended(groups[share.method], eliminated)], study),
        _steps(finals),
        _protocols(finals),
        _initialisations(finals),
    )
    return Fairness(
        shares=tuple(shares),
        differences=tuple(check for check in checks if check is not None),
        num_protocols=len({r.quality_protocol for r in finals if r.quality_protocol is not None}),
        foreign=bool(finals) and all(r.origin == "foreign" for r in finals),
    )


def _has_ended(group: Sequence[RunRecord], eliminated: Collection[str]) -> bool:
    """Whether a race ended a method at each of its learning rates."""
    finals = [r for r in group if r.spec.purpose == "final"]
    ended = {r.spec.learning_rate for r in finals if r.run_id in eliminated}
    return bool(finals) and ended == {r.spec.learning_rate for r in finals}


def _offered(study: StudySpec | None) -> int:
    if study is None or study.tuning is None:
        return 0
    effort = study.tuning.protocol
    return study.tuning.trials or 0 if effort is None else effort.num_short + effort.num_full


def _latest_record(group: Sequence[RunRecord]) -> RunRecord:
    """The record that says most of how a method was built: one that was built, a final run at best."""
    return max(group, key=lambda r: (r.method_facts is not None, r.spec.purpose == "final", r.status == "ok"))


def _share(title: str, group: Sequence[RunRecord], tuning: Tuning | None, offered: int) -> MethodBudget:
    trials = [r for r in group if r.spec.purpose == "trial"]
    finals = [r for r in group if r.spec.purpose == "final"]
    latest = _latest_record(group)
    params = [r.metrics.get("num_trainable_params") for r in [latest, *finals]]
    return MethodBudget(
        method=title,
        card=latest.spec.method.name,
        num_offered=tuning.num_offered if tuning is not None else offered,
        effort=tuning.effort if tuning is not None else None,
        num_trials=len(trials),
        num_eliminated=sum(r.status == "eliminated" for r in trials),
        failed_trials=tuple(f"{r.status}: {r.reason}" for r in trials if r.status not in ("ok", "eliminated")),
        tuning_steps=_steps_of(trials),
        tuning_time_s=_time_of(trials),
        learning_rates=tuple(sorted({r.spec.learning_rate for r in trials or finals if r.spec.learning_rate})),
        chosen_rate=tuning.learning_rate if tuning is not None else None,
        edge=tuning.edge if tuning is not None else None,
        bracket=tuning.bracket if tuning is not None else (None, None),
        by_score=tuning is not None and tuning.by_score,
        seeds=tuple(sorted({r.spec.seed for r in finals if r.status == "ok"})),
        final_steps=_steps_of(finals),
        final_time_s=_time_of(finals),
        failed_finals=tuple(f"{r.status}: {r.reason}" for r in finals if r.status != "ok"),
        modules=_module_kinds(latest),
        num_trainable_params=next((int(p) for p in params if p is not None), None),
    )


def _steps_of(records: Iterable[RunRecord]) -> int:
    return sum(int(r.metrics.get("num_steps") or 0) for r in records)


def _time_of(records: Iterable[RunRecord]) -> float:
    known = [[r.metrics[name] for name in TIMES if r.metrics.get(name) is not None] for r in records]
    return float(sum(times[0] or 0.0 for times in known if times))


def _module_kinds(record: RunRecord) -> dict[str, int]:
    if record.method_facts is not None:
        return dict(Counter(name.rsplit(".", 1)[-1] for name in record.method_facts.adapted_modules))
    targets = (record.spec.method.peft_config or {}).get("target_modules")
    return dict.fromkeys(sorted(targets), 0) if isinstance(targets, list) else {}


def _modules(
    shares: Sequence[MethodBudget], latest: Mapping[str, RunRecord], traits: Mapping[str, Traits]
) -> Difference | None:
    """Other modules than most, unless the method is about those modules."""
    free = [s for s in shares if s.modules and _is_free(latest[s.method], traits)]
    return _apart("modules", "not all adapt the same modules", {s.method: ", ".join(sorted(s.modules)) for s in free})


def _is_free(record: RunRecord, traits: Mapping[str, Traits]) -> bool:
    """Whether a method adapts what it is told to; what a user said for one that does not counts as told."""
    known = traits.get(record.spec.method.name)
    return record.spec.method.targets is not None or known is None or known.targets == "linear"


def _optimizers(latest: Mapping[str, RunRecord], traits: Mapping[str, Traits]) -> Difference | None:
    found = {}
    for title, record in latest.items():
        method, known = record.spec.method, traits.get(record.spec.method.name)
        parts = [f"an optimizer of its own ({known.optimizer})"] if known is not None and known.optimizer else []
        # results of others tell an optimizer the adapter's own settings, too
        given = [f"{key}={value}" for key, value in method.optimizer.items() if known is None or key not in known.knobs]
        found[title] = ", ".join([*parts, *given]) or "the study's"
    return _apart("optimizer", "not all are trained by the same optimizer", found)


def _configs(latest: Mapping[str, RunRecord]) -> Difference | None:
    """A config taken as it is among others that follow the study's policy; results of others have no policy."""
    own = {title: r for title, r in latest.items() if r.origin == "own"}
    whole = tuple(title for title, r in own.items() if r.spec.method.peft_config is not None)
    if not whole or len(whole) == len(own):
        return None
    claim = "not all follow one policy: a config is taken as it is, modules and all"
    return Difference(what="config", claim=claim, detail=listed(whole), methods=whole)


def _knobs(latest: Mapping[str, RunRecord], traits: Mapping[str, Traits]) -> list[Difference | None]:
    """Settings in which variants of one method differ beside what makes them variants, such as the rank."""
    families: dict[str, list[str]] = {}
    for title, record in latest.items():
        known = traits.get(record.spec.method.name)
        if known is not None:
            families.setdefault(known.variant_of or known.name, []).append(title)
    found = []
    for root, titles in families.items():
        members = [traits[latest[title].spec.method.name] for title in titles]
        fixed = {key for member in members for key in member.settings}
        shared = [k for k in members[0].knobs if k not in fixed and all(k in member.knobs for member in members)]
        values = {key: {title: _plain(setting_of(latest[title], traits, key)) for title in titles} for key in shared}
        apart = [key for key in shared if None not in values[key].values() and len(set(values[key].values())) > 1]
        texts = {title: ", ".join(f"{key}={values[key][title]}" for key in apart) for title in titles}
        found.append(_apart("knobs", f"variants of {root} differ in {' and '.join(apart)}", texts))
    return found


def _plain(value: Any) -> str | None:
    return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, int | str) else None


def _rates(shares: Sequence[MethodBudget], latest: Mapping[str, RunRecord]) -> Difference | None:
    tried = {s.method: str(len(s.learning_rates)) for s in shares}
    if any(s.effort is not None for s in shares):
        return None  # the offer is equal, and who needs fewer trials uses fewer
    if any(s.num_offered for s in shares):
        # a method that does not fit the model is refused at its first trials, and has no more
        asked = [s for s in shares if not all(f.startswith("refused") for f in s.failed_trials) or not s.failed_trials]
        return _apart("rates", "not all had the same number of trials", {s.method: str(s.num_trials) for s in asked})
    by_method = Counter(record.spec.method.name for record in latest.values())
    if all(record.origin == "foreign" for record in latest.values()) and len(set(by_method.values())) > 1:
        most = ", ".join(f"{name} {count} times" for name, count in by_method.most_common(SHOWN))
        several = tuple(t for t, r in latest.items() if by_method[r.spec.method.name] > 1)
        claim = "not all methods were tried as often, and the best of several is no single run's score"
        return Difference(what="rates", claim=claim, detail=f"{most}, …", methods=several)
    if len(shares) > 1 and set(tried.values()) == {"1"}:
        claim = "no learning rate was searched: each method had one, and another could suit it better"
        return Difference(what="rates", claim=claim, methods=tuple(tried))
    return _apart("rates", "not all were tried at the same number of learning rates", tried)


def _seeds(shares: Sequence[MethodBudget], study: StudySpec | None) -> Difference | None:
    """Seeds that are not the same by anything but the study's own plan."""
    if (
        study is not None
        and isinstance(study.seeds, SeedPlan)
        and all(len(s.seeds) >= study.seeds.first for s in shares)
    ):
        return None
    seeds = {s.method: ", ".join(map(str, s.seeds)) or "none" for s in shares}
    return _apart("seeds", "not all have results of the same seeds", seeds)


def _steps(finals: Sequence[RunRecord]) -> Difference | None:
    steps = {r.spec.method.title: str(r.metrics["num_steps"]) for r in finals if r.metrics.get("num_steps")}
    return _apart("steps", "not all were trained for the same number of steps", steps)


def _protocols(finals: Sequence[RunRecord]) -> Difference | None:
    found = {r.spec.method.title: str(r.quality_protocol)[:8] for r in finals if r.quality_protocol is not None}
    return _apart("protocol", "not all were measured under the same conditions", found)


def _initialisations(finals: Sequence[RunRecord]) -> Difference | None:
    """Methods that take long before the first step, which their training time does not hold."""
    found: dict[str, str] = {}
    for record in finals:
        first, train = (record.metrics.get(name) for name in ("init_time_s", "train_time_s"))
        if first is not None and train is not None and first >= max(LONG_S, LONG_SHARE * train):
            found.setdefault(record.spec.method.title, f"{first:.0f} s beside {train:.0f} s of training")
    if not found:
        return None
    parts = [f"{title}: {text}" for title, text in list(found.items())[:SHOWN]]
    parts += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    claim = "training times do not hold what some do before the first step"
    return Difference(what="initialisation", claim=claim, detail="; ".join(parts), methods=tuple(found))


def _apart(what: str, claim: str, values: Mapping[str, str]) -> Difference | None:
    """The methods whose value is not that of most; None where all share one."""
    counts = Counter(values.values())
    if len(counts) < 2:
        return None
    common = counts.most_common(1)[0][0]
    others = [value for value in counts if value != common]
    parts = [f"{listed([m for m, v in values.items() if v == value])}: {value}" for value in others[:SHOWN]]
    if len(others) > SHOWN:
        parts.append(f"others: {len(others) - SHOWN} more")
    rest = listed([m for m, v in values.items() if v == common])
    return Difference(
        what=what,
        claim=claim,
        detail=f"{'; '.join(parts)}; {rest}: {common}",
        methods=tuple(m for m, v in values.items() if v != common),
    )


def listed(names: Sequence[str]) -> str:
    """Names in a line, the first few of many.

    >>> listed(["lora", "oft", "ia3", "dora"])
    'lora, oft and 2 more'
    """
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: SHOWN - 1])} and {len(names) - SHOWN + 1} more"
