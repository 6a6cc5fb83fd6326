"""How well one published figure foretells the figure of a second run; writes ``reruns.md`` beside this.

    python benchmarks/reruns.py DATA     DATA holds published/ and published-2026-08-21/ of the benchmark; seconds

The public benchmark's text experiments ran twice, months apart, with newer libraries, the same seed and the same test
examples. One method, fixed before the single figures were looked at (mean, SD and largest of the differences were
known); what others would have come to is on the page beside it:

- Scale: the arcsine of the root of the accuracy, on which a noise proportional to p(1 - p) has one size everywhere.
- Noise: the root mean square of the differences of the *other* pairs, about zero. A shift between releases thus counts
  as noise: who reads one figure does not know which way the next libraries will move it.
- Interval: the first figure ± the t quantile with as many degrees of freedom as there are other pairs, times that.
- Nothing is added for the test examples: both figures are of the same 1,319, so their luck is in both and cancels.
  What answers change from run to run is in the differences. It is no interval for other examples.
- Left out is only a pair whose settings differ, never one for its figures. A setting that the first release did not
  have yet counts as equal where the second one has it at the library's default, and what training itself wrote into a
  config (the ranks AdaLoRA cut) is no setting.

On a front a shift common to all moves nothing, so the chances to be on it are drawn with the standard deviation of the
other pairs about their mean. Memory is drawn from the other pairs' own ratios: all but one are within some per cent of
1, and no bell curve fits that.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from scipy import stats

from peftscope.analysis.front import Front
from peftscope.methods.adapter_config import method_name
from peftscope.schema.difference import differences
from peftscope.schema.record import RunRecord
from peftscope.study.recommendation import memory_front
from peftscope.study.results import StudyResults
from peftscope.study.study import Study
from peftscope.upstream.results_in import LATER_SETTINGS, Names, read_upstream, store_imported

HERE = Path(__file__).resolve().parent
RELEASES = ("published", "published-2026-08-21")
TASK = "MetaMathQA"
LEVEL = 0.95
GOAL = (0.90, 0.98)
LEVELS = (0.5, 0.8, 0.95, 0.99)
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
DRAWS = 10_000
PROVENANCE = ("peft_version", "auto_mapping", "inference_mode", "revision")
WRITTEN_BY_TRAINING = {"ADALORA": ("rank_pattern",)}

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Experiments that ran in both releases with the same settings; arrays are of shape (pairs,)."""

    names: tuple[str, ...]
    first: Floats
    """Accuracy on the test split."""
    second: Floats
    libraries: tuple[str, ...]
    """Those of the first run."""
    later_libraries: tuple[str, ...]
    memory: Floats
    """Peak of the first run, bytes."""
    later_memory: Floats
    fronts: tuple[Front, Front]
    left_out: Mapping[str, Sequence[str]]
    """Experiments in both releases that are not the same one, with what differs."""
    alone: tuple[str, ...]
    """Experiments in one release only."""
    examples: int

    @property
    def change(self) -> Floats:
        """Second minus first on the scale of equal noise."""
        return angle(self.second) - angle(self.first)


def angle(share: Floats | float) -> Floats:
    """Onto the scale on which noise has one size: 0 to π/2; about one half a point is a hundredth there, too."""
    return np.asarray(np.arcsin(np.sqrt(share)))


def share_at(place: Floats) -> Floats:
    """Back from that scale; beyond an end lies the end."""
    return np.asarray(np.sin(np.clip(place, 0.0, np.pi / 2)) ** 2)


def others(values: Floats) -> Floats:
    """All values but one, for each: shape (n,) -> (n, n - 1)."""
    count = len(values)
    return np.broadcast_to(values, (count, count))[~np.eye(count, dtype=bool)].reshape(count, count - 1)


# reading


def read_release(folder: Path) -> dict[str, RunRecord]:
    """A release's runs by the name of the experiment."""
    found = read_upstream(folder, Names(method_name=method_name, metrics=()))
    return {record.spec.method.title: record for record in found.records}


def read_pairs(data: Path) -> Pairs:
    """Both releases, their common experiments compared by their settings."""
    releases = [read_release(data / release / TASK) for release in RELEASES]
    both = [name for name in releases[0] if name in releases[1]]
    differing = {name: unlike(*(release[name] for release in releases)) for name in both}
    same = [name for name in both if not differing[name]]
    found = [_found([release[name] for name in same]) for release in releases]
    fronts = [memory_front(each) for each in found]
    assert fronts[0] is not None
    assert fronts[1] is not None
    points = [np.array([front.points[name] for name in same]) for front in fronts if front is not None]
    return Pairs(
        names=tuple(same),
        first=points[0][:, 0],
        second=points[1][:, 0],
        libraries=tuple(_libraries(releases[0][name]) for name in same),
        later_libraries=tuple(_libraries(releases[1][name]) for name in same),
        memory=points[0][:, 1],
        later_memory=points[1][:, 1],
        fronts=(fronts[0], fronts[1]),
        left_out={name: lines for name, lines in differing.items() if lines},
        alone=tuple(sorted(releases[0].keys() ^ releases[1].keys())),
        examples=found[0].verdict.candidates[0].num_examples or 0,
    )


def _found(records: Sequence[RunRecord]) -> StudyResults:
    with tempfile.TemporaryDirectory() as place:
        store_imported(Path(place), records)
        return Study.load(place).results(across=True)


def _libraries(record: RunRecord) -> str:
    packages = record.attempts[-1].environment["packages"]
    return f"torch {packages['torch'].split('+')[0]}, transformers {packages['transformers']}"


def unlike(before: RunRecord, after: RunRecord) -> list[str]:
    """The settings in which two runs of an experiment differ, one line each."""
    first, second = (record.foreign["run_info"] for record in (before, after) if record.foreign is not None)
    settings = differences({**LATER_SETTINGS, **first["train_config"]}, {**LATER_SETTINGS, **second["train_config"]})
    models = [(r.protocol.quality["model"] if r.protocol else None) for r in (before, after)]
    return [*settings, *differences(_config(first), _config(second)), *differences(models[0], models[1])]


def _config(info: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's settings with the library's defaults for those it was written without."""
    given = info["peft_config"]
    if given is None:
        return {}
    kind = next(c for key, c in PEFT_TYPE_TO_CONFIG_MAPPING.items() if key.value == given["peft_type"])
    config = {f.name: _plain(f.default) for f in fields(kind)} | {key: _plain(value) for key, value in given.items()}
    for key in (*PROVENANCE, *WRITTEN_BY_TRAINING.get(given["peft_type"], ())):
        config.pop(key, None)
    return config


def _plain(value: Any) -> Any:
    """Names of modules are a set, which is written in any order; a default that is made anew has no value here."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return sorted(value)
    return value if isinstance(value, str | int | float | list | dict) else None


# intervals


def intervals(first: Floats, second: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Ends of the interval for each second figure, from the first and from the other pairs."""
    rest = others(angle(second) - angle(first))
    noise = np.sqrt((rest**2).mean(axis=1)) * stats.t.ppf((1 + level) / 2, rest.shape[1])
    place = angle(first)
    return share_at(place - noise), share_at(place + noise)


def shifted(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """The same, moved by the others' mean difference, with their SD about it: for who knows what the release did."""
    rest = others(angle(second) - angle(first))
    count = rest.shape[1]
    noise = rest.std(axis=1, ddof=1) * stats.t.ppf((1 + LEVEL) / 2, count - 1) * np.sqrt(1 + 1 / count)
    place = angle(first) + rest.mean(axis=1)
    return share_at(place - noise), share_at(place + noise)


def unshifted(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """About the first figure with the SD about the mean: as if there were no shift."""
    rest = others(angle(second) - angle(first))
    noise = rest.std(axis=1, ddof=1) * stats.t.ppf((1 + LEVEL) / 2, rest.shape[1] - 1)
    place = angle(first)
    return share_at(place - noise), share_at(place + noise)


def in_points(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """As the chosen one, without the change of scale."""
    rest = others(second - first)
    noise = np.sqrt((rest**2).mean(axis=1)) * stats.t.ppf((1 + LEVEL) / 2, rest.shape[1])
    return np.maximum(first - noise, 0.0), np.minimum(first + noise, 1.0)


def by_rank(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """As the chosen one, with the others' own quantile of the size in place of a law (split conformal)."""
    rest = np.sort(np.abs(others(angle(second) - angle(first))), axis=1)
    count = rest.shape[1]
    noise = rest[:, min(int(np.ceil((count + 1) * LEVEL)), count) - 1]
    place = angle(first)
    return share_at(place - noise), share_at(place + noise)


CHOICES: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "**chosen: about the first figure, root mean square**": intervals,
    "moved by the others' mean, SD about it": shifted,
    "about the first figure, SD about the mean (no shift allowed for)": unshifted,
    "as chosen, on the scale of points": in_points,
    "as chosen, quantile by rank instead of t": by_rank,
}


def held_by(ends: tuple[Floats, Floats], second: Floats) -> NDArray[np.bool_]:
    """Which second figures lie in their interval; equal to an end up to rounding is in it."""
    slack = 1e-12
    return np.asarray((ends[0] - slack <= second) & (second <= ends[1] + slack))


def inside(first: Floats, second: Floats, level: float = LEVEL) -> NDArray[np.bool_]:
    """Which second figures lie in the chosen interval."""
    return held_by(intervals(first, second, level), second)


# fronts


def chances(pairs: Pairs, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Probability of each experiment to be on the front of a second release, told from the first figures."""
    generator = np.random.default_rng(seed)
    count = len(pairs.names)
    rest, ratios = others(pairs.change), others(np.log(pairs.later_memory / pairs.memory))
    sd = rest.std(axis=1, ddof=1) * np.sqrt(1 + 1 / (count - 1))
    score = share_at(angle(pairs.first) + sd * generator.standard_t(count - 2, (draws, count)))
    picked = generator.integers(0, count - 1, (draws, count))
    memory = pairs.memory * np.exp(ratios[np.arange(count), picked])
    on = np.zeros(count)
    for line in np.stack([-score, memory], axis=2):
        on += np.asarray(moocore.is_nondominated(line, keep_weakly=True), float)
    return on / draws


# the page


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f}"


def wilson(hits: int, count: int) -> str:
    """95 % interval of a share, in per cent."""
    ends = stats.binomtest(hits, count).proportion_ci(method="wilson")
    return f"[{percent(ends.low)}, {percent(ends.high)}]"


def head(pairs: Pairs) -> list[str]:
    """What was compared, and how much of it the interval holds."""
    held = inside(pairs.first, pairs.second)
    count, hits = len(pairs.names), int(held.sum())
    low, high = intervals(pairs.first, pairs.second)
    excluded = [f"- left out, {name}: {'; '.join(lines)}." for name, lines in pairs.left_out.items()]
    missed = [i for i in range(count) if not held[i]]
    later = " and ".join(sorted(set(pairs.later_libraries)))
    return [
        f"{count} experiments of the public benchmark (Llama-3.2-3B, MetaMathQA, GSM8K's {pairs.examples:,} test "
        f"problems, one L40S) ran twice: January to May 2026 and July 2026 ({later}). "
        "Written by `python benchmarks/reruns.py DATA`; the method is in the script's first lines.",
        "",
        f"In both releases: {count + len(pairs.left_out)}; the same settings (training, adapter, revision of the "
        f"model): {count}; left out: {len(pairs.left_out)}. In one release only: {', '.join(pairs.alone)}.",
        *excluded,
        "",
        f"**{hits} of {count} second figures ({100 * hits / count:.2f} %) lie inside the intended 95 % interval**, "
        f"{_against_goal(hits, count)} Were pairs independent, the 95 % interval of that share would be "
        f"{wilson(hits, count)} %. Median width: "
        f"{percent(float(np.median(high - low)))} points. Outside: "
        + ("; ".join(
            f"{pairs.names[i]} ({percent(pairs.first[i])} → {percent(pairs.second[i])}, interval "
            f"{percent(low[i])}–{percent(high[i])})" for i in missed
        ) or "none")
        + ".",
        "",
        "All pairs share one change of libraries, so they are one draw of what such a change does: another one may "
        "shift more. Both runs have seed 0: another seed may scatter more. The interval is for the same test problems.",
        "",
        "| intended % | inside % | 95 % of that |",
        "| ---: | ---: | ---: |",
        *[_level_line(pairs, level) for level in LEVELS],
        "",
        "What other choices would have come to:",
        "",
        "| interval | inside | % | median width, points | missed below / above |",
        "| --- | ---: | ---: | ---: | ---: |",
        *[_choice_line(pairs, label, choice(pairs.first, pairs.second)) for label, choice in CHOICES.items()],
    ]  # fmt: skip


def _against_goal(hits: int, count: int) -> str:
    fewest, most = int(np.ceil(GOAL[0] * count)), int(np.floor(GOAL[1] * count))
    goal = f"the goal of {100 * GOAL[0]:.0f}–{100 * GOAL[1]:.0f} %, which is {fewest} to {most} pairs"
    if fewest <= hits <= most:
        return f"within {goal}."
    if hits < fewest:
        return f"NOT within {goal}: {fewest - hits} too few, the interval is too narrow."
    return f"NOT within {goal}: {hits - most} too many, the interval is rather too wide than too narrow."


def _level_line(pairs: Pairs, level: float) -> str:
    hits = int(inside(pairs.first, pairs.second, level).sum())
    return f"| {100 * level:.0f} | {percent(hits / len(pairs.names))} | {wilson(hits, len(pairs.names))} |"


def _choice_line(pairs: Pairs, label: str, ends: tuple[Floats, Floats]) -> str:
    held = held_by(ends, pairs.second)
    below = int((~held & (pairs.second < ends[0])).sum())
    return (
        f"| {label} | {int(held.sum())} of {len(held)} | {percent(float(held.mean()))} | "
        f"{percent(float(np.median(ends[1] - ends[0])))} | {below} / {int((~held).sum()) - below} |"
    )


def shift(pairs: Pairs) -> list[str]:
    """What the releases moved in common, by the libraries of the first run."""
    points = 100 * (pairs.second - pairs.first)
    groups = sorted(set(pairs.libraries))
    where = {group: np.array([each == group for each in pairs.libraries]) for group in groups}
    parts = [points[rows] for rows in where.values()]
    apart = stats.ttest_ind(*parts, equal_var=False).pvalue if len(parts) == 2 else None
    freedom = sum(len(part) - 1 for part in parts)
    pooled = np.sqrt(sum(((part - part.mean()) ** 2).sum() for part in parts) / freedom)
    share = float(np.mean(points) ** 2 / np.mean(points**2))
    return [
        "## The shift between releases",
        "",
        "| libraries of the first run | pairs | mean difference, points | 95 % | SD | lower / equal / higher |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        _shift_line("all", points),
        *[_shift_line(group, points[rows]) for group, rows in where.items()],
        "",
        f"The shift is {100 * share:.0f} % of the mean square of the differences, and the interval allows for it: its "
        "noise is taken about zero, not about the mean. It is not centred on it.",
        "",
        "Seen afterwards, not used above: the shift is that of the experiments whose first run had transformers 4"
        + (f" (Welch's test between the two groups: p = {apart:.1g})" if apart is not None else "")
        + ", and those with transformers 5 at both times did not shift detectably. Which of the changes (transformers, "
        "peft, the newest GSM8K revision at the hub, or the kind of method that was added later) made it, these files "
        "do not tell; torch went from 2.9 to 2.13 in both groups. Within the groups the SD of a difference is "
        f"{pooled:.2f} points.",
    ]


def _shift_line(label: str, points: Floats) -> str:
    mean, sd, count = float(points.mean()), float(points.std(ddof=1)), len(points)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * sd / np.sqrt(count)
    signs = " / ".join(str(int(side.sum())) for side in (points < 0, points == 0, points > 0))
    return f"| {label} | {count} | {mean:+.2f} | [{mean - half:+.2f}, {mean + half:+.2f}] | {sd:.2f} | {signs} |"


def worth(pairs: Pairs) -> list[str]:
    """What one figure is good for, and how far apart two must be."""
    change, count = pairs.change, len(pairs.names)
    sd, size = float(change.std(ddof=1)), float(np.sqrt((change**2).mean()))
    gap = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * sd
    rows = []
    for accuracy in (0.5, 0.35, 0.2):
        slope = 200 * np.sqrt(accuracy * (1 - accuracy))
        luck = 100 * np.sqrt(accuracy * (1 - accuracy) / pairs.examples)
        metrics = (sd / np.sqrt(2), size / np.sqrt(2), gap)
        rows.append(
            f"| {100 * accuracy:.0f} | " + " | ".join(f"{slope * value:.2f}" for value in metrics) + f" | {luck:.2f} |"
        )
    plain = float((pairs.second - pairs.first).std(ddof=1)) * 100
    near, far = _turned(pairs, gap)
    return [
        "## What a single run's figure is worth",
        "",
        "| accuracy % | SD of one run, shift left out | SD of one run, shift as noise | gap that tells two runs of one "
        "release apart (95 %) | for comparison: SD by drawing other test problems |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        f"In points; the SD of a difference over √2 ({plain:.2f} / √2 = {plain / np.sqrt(2):.2f} points without change "
        "of scale, where runs near 0 % count for less). What libraries do to single methods is in it, so that a run "
        "again with the same libraries and seed should scatter less. The gap is for one pair of methods that was named "
        "beforehand, on these test problems; for a choice among many it is larger, and for other problems their luck "
        "comes on top.",
        "",
        f"Of pairs of experiments nearer than the gap in the first release, {near} were in the other order in the "
        f"second; of pairs further apart, {far}.",
    ]


def _turned(pairs: Pairs, gap: float) -> tuple[str, str]:
    upper = np.triu_indices(len(pairs.names), 1)
    before, after = ((place[:, None] - place[None, :])[upper] for place in (angle(pairs.first), angle(pairs.second)))
    turned, near = before * after < 0, np.abs(before) <= gap
    return _turned_text(turned[near]), _turned_text(turned[~near])


def _turned_text(turned: NDArray[np.bool_]) -> str:
    return f"{int(turned.sum()):,} of {len(turned):,} ({percent(float(turned.mean()))} %)"


def fronts(pairs: Pairs) -> list[str]:
    """Who is on the front in each release, and how well chances told it."""
    chance = chances(pairs)
    first, second = (np.array([name in front.members for name in pairs.names]) for front in pairs.fronts)
    spread, naive = (chance - second) ** 2, (first.astype(float) - second) ** 2
    gain = naive - spread
    shown = sorted(np.flatnonzero(first | second | (chance >= 0.1)), key=lambda i: pairs.memory[i])
    stay = int((first & second).sum())
    ratio = 100 * (pairs.later_memory / pairs.memory - 1)
    largest = int(np.abs(ratio).argmax())
    return [
        "## Fronts of accuracy against peak memory",
        "",
        f"On the front of the first release: {int(first.sum())}; of the second: {int(second.sum())}; of both: {stay}. "
        f"Expected on it, by the chances: {chance.sum():.1f}. Peak memory changed by "
        f"{float(np.median(np.abs(ratio))):.2f} % in the median; most by {ratio[largest]:+.1f} % "
        f"({pairs.names[largest]}), all others by at most {np.delete(np.abs(ratio), largest).max():.1f} %.",
        "",
        "| experiment | GB, first / second | accuracy %, first / second | first front | second front | chance % |",
        "| --- | ---: | ---: | --- | --- | ---: |",
        *[
            f"| {pairs.names[i]} | {pairs.memory[i] / 1e9:.2f} / {pairs.later_memory[i] / 1e9:.2f} | "
            f"{percent(pairs.first[i])} / {percent(pairs.second[i])} | {'yes' if first[i] else 'no'} | "
            f"{'yes' if second[i] else 'no'} | {100 * chance[i]:.0f} |"
            for i in shown
        ],
        "",
        "Listed: who is on either front or has a chance of 10 % or more.",
        "",
        "| chance % | experiments | mean chance % | on the second front |",
        "| ---: | ---: | ---: | ---: |",
        *_bin_lines(chance, second),
        "",
        f"Brier score over {len(chance)} experiments: **{spread.mean():.3f}** by the chances, **{naive.mean():.3f}** "
        f"by taking the first front as certain (difference {gain.mean():+.3f}, standard error "
        f"{gain.std(ddof=1) / np.sqrt(len(gain)):.3f} as if experiments were independent: one pair of releases does "
        f"not tell the two apart). {DRAWS:,} draws: a chance is within 1 point.",
    ]


def _bin_lines(chance: Floats, second: NDArray[np.bool_]) -> list[str]:
    lines = []
    for low, high in pairwise(BINS):
        rows = (low <= chance) & ((chance < high) | (high == 1.0))
        mean = percent(float(chance[rows].mean())) if rows.any() else "–"
        lines.append(f"| {100 * low:.0f}–{100 * high:.0f} | {int(rows.sum())} | {mean} | {int(second[rows].sum())} |")
    return lines


def everything(pairs: Pairs) -> list[str]:
    """Every pair with its interval."""
    low, high = intervals(pairs.first, pairs.second)
    held = inside(pairs.first, pairs.second)
    return [
        "## All pairs",
        "",
        "| experiment | first % | second % | difference | interval for the second % | inside |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *[
            f"| {name} | {percent(pairs.first[i])} | {percent(pairs.second[i])} | "
            f"{100 * (pairs.second[i] - pairs.first[i]):+.2f} | {percent(low[i])}–{percent(high[i])} | "
            f"{'yes' if held[i] else '**no**'} |"
            for i, name in enumerate(pairs.names)
        ],
    ]


def page(data: Path) -> str:
    """The whole page."""
    pairs = read_pairs(data)
    parts = (head(pairs), shift(pairs), worth(pairs), fronts(pairs), everything(pairs))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main() -> None:
    """Read, compare, write."""
    text = page(Path(sys.argv[1]))
    (HERE / "reruns.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
