"""What is said of the choice itself: score, cost, risk, and what is left of it once it is known to be picked."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.analysis.verdict import Candidate
from peftscope.schema.metric import MetricSpec
from peftscope.upstream.metrics import UPSTREAM_METRICS
from peftscope.views.phrasing import Phrasing
from peftscope.views.report.quantities import estimate_text
from peftscope.views.units import bracket_text, rate_text

__all__ = ["confirmed_lines", "gone_wrong", "optimism_lines", "risk_of", "standing_lines"]


def risk_of(choice: Candidate) -> str:
    """What a heading must not hide."""
    return f": {gone_wrong(choice)}" if choice.num_wrong else ""


def gone_wrong(candidate: Candidate) -> str:
    """How many of its trainings diverged and collapsed."""
    counts = {"diverged": candidate.num_diverged, "collapsed": candidate.num_collapsed}
    listed = [f"{count} of {candidate.num_trainings} trainings {what}" for what, count in counts.items() if count]
    return " and ".join(listed)


def standing_lines(phrasing: Phrasing, choice: Candidate) -> list[str]:
    """Score, gain and costs of the choice, and what they rest on."""
    found = phrasing.found
    gain = ""
    if found.base_pair is not None:
        gain = f", {phrasing.difference(found.base_pair)} over the untouched base"
    rate = f", learning rate {rate_text(choice.learning_rate)}" if choice.learning_rate is not None else ""
    sure = bracket_text(choice.edge, choice.bracket)
    rate += f", {sure}" if sure else ""
    basis = "a single run" if choice.single else "1 seed" if choice.num_seeds == 1 else f"{choice.num_seeds} seeds"
    if choice.num_examples:
        basis += f", {choice.num_examples:,} test examples"
    costs = [
        f"{phrasing.label(name)} {text}" for name in found.metrics if (text := phrasing.cost(choice, name)) is not None
    ]
    lines = [f"{phrasing.score(choice)}{gain} ({basis}{rate})."]
    if costs:
        lines.append(f"It costs: {', '.join(costs)}.")
    theirs = [
        f"{phrasing.label(name)}: {phrasing.specs[m].window}"
        for name, m in found.metrics.items()
        if m in UPSTREAM_METRICS
    ]
    return [*lines, f"As others measured it: {'; '.join(theirs)}."] if theirs else lines


def optimism_lines(phrasing: Phrasing) -> list[str]:
    """What the choice is worth, given that the best of many is partly the luckiest."""
    found = phrasing.found
    choice = found.choice
    assert choice is not None
    if choice.pooled is None or choice.best_chance is None or found.leading is not choice:
        return []
    count = sum(not c.is_base for c in found.verdict.in_question)
    worth = estimate_text(found.verdict.metric, choice.pooled)
    return [
        f"The best of {count} is in part the luckiest: with that allowed for, expect {worth}; it is the best of all "
        f"with a probability of {100 * choice.best_chance:.0f} %. Pairs are compared as measured."
    ]


def confirmed_lines(metric: MetricSpec, choice: Candidate, fresh: Candidate, seeds: Sequence[int]) -> list[str]:
    """What fresh seeds of the choice alone came to, beside what the study said.

    Args:
        metric: The task's score.
        choice: As the study found it.
        fresh: The same method with the fresh seeds alone.
        seeds: Those.
    """
    named = f"{choice.method} with {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    name = metric.name.replace("_", " ")
    lines = [f"{named}: no {name}" if fresh.score is None else f"{named}: {name} {estimate_text(metric, fresh.score)}."]
    if fresh.num_wrong:
        lines.append(f"Of these, {gone_wrong(fresh)}.")
    if choice.score is not None:
        said = f"The study said {estimate_text(metric, choice.score)}"
        if choice.pooled is not None:
            said += f"; with its having been picked allowed for, {estimate_text(metric, choice.pooled)}"
        lines.append(f"{said}.")
    return lines
