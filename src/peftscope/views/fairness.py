"""How equally methods were treated, in a few lines under a comparison; the report shows all of it."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.analysis.fairness import Difference, Fairness, MethodBudget
from peftscope.views.units import rate_text

__all__ = ["LOUD", "fairness_lines", "unfinished_lines"]

LOUD = "WARNING: methods differ in more than the method:"
NAMED = 3
"""Methods called by their names in a short line."""


def fairness_lines(found: Fairness) -> list[str]:
    """Budget, edges, what was lost, and a warning where not only the method differs."""
    lines = [_budget(found), *_edges(found.shares), *_lost(found.shares)]
    claims = _claims(found.differences)
    return [*lines, LOUD, *(f"- {claim}" for claim in claims)] if claims else lines


def unfinished_lines(found: Fairness) -> list[str]:
    """Methods that have no final run, so that no verdict knows of them, and why."""
    shares = [s for s in found.shares if not s.seeds and not s.failed_finals]
    return [
        f"{s.method}: no trial ended well, so nothing was frozen: {'; '.join(dict.fromkeys(s.failed_trials))}"
        if s.failed_trials and len(s.failed_trials) + s.num_eliminated == s.num_trials
        else f"{s.method}: its tuning has not ended"
        for s in shares
    ]


def _claims(differences: Sequence[Difference]) -> list[str]:
    """One line each; settings of many kinds of variants are told of in one."""
    knobs = [d for d in differences if d.what == "knobs"]
    claims = [_claim(d) for d in differences if d.what != "knobs" or len(knobs) <= NAMED]
    if len(knobs) > NAMED:
        count = sum(len(d.methods) for d in knobs)
        claims.append(f"settings such as the rank differ among variants of {len(knobs)} methods ({count} runs)")
    return claims


def _claim(difference: Difference) -> str:
    methods = difference.methods
    if not difference.detail:
        return difference.claim
    who = ", ".join(methods) if len(methods) <= NAMED else f"{len(methods)} stand apart"
    return f"{difference.claim} ({who})"


def _budget(found: Fairness) -> str:
    shares = found.shares
    if not shares:
        return "No method was trained."
    count = _counted(len(shares), "method")
    offered = sorted({s.num_offered for s in shares})
    seeds = sorted({len(s.seeds) for s in shares})
    of_seeds = "1 seed" if seeds == [1] else f"{_span(seeds)} seeds"
    finals = f"{sum(s.final_steps for s in shares):,} steps of final runs with {of_seeds} each"
    if found.foreign:
        return f"Results of others: {count}, {of_seeds} each; what was tried beside them is not known."
    if offered == [0]:
        return f"{count} without tuning; {finals}."
    trials, steps = sum(s.num_trials for s in shares), sum(s.tuning_steps for s in shares)
    ended = sum(s.num_eliminated for s in shares)
    efforts = {s.effort.name: s.effort for s in shares if s.effort is not None}
    if len(efforts) == 1:
        (effort,) = efforts.values()
        return (
            f"Tuning '{effort.name}': up to {effort.num_short} short and {effort.num_full} full trials offered to each "
            f"of {count}; {trials} made, {ended} of them short; {steps:,} steps of tuning{_price(shares)}, {finals}."
        )
    return (
        f"{_span(offered)} {'trial' if offered == [1] else 'trials'} offered to each of {count}; {trials} made, "
        f"{ended} of them ended early; {steps:,} steps of tuning, {finals}."
    )


def _price(shares: Sequence[MethodBudget]) -> str:
    """Full trainings that tuning took, where final runs tell how long one is."""
    spent = [s.tuning_steps / (s.final_steps / len(s.seeds)) for s in shares if s.seeds and s.final_steps]
    if not spent:
        return ""
    return f" ({sum(spent) / len(spent):.1f} full trainings a method, at most {max(spent):.1f})"


def _edges(shares: Sequence[MethodBudget]) -> list[str]:
    found = [f"{s.method} ({s.edge}, {rate_text(s.chosen_rate)})" for s in shares if s.edge is not None]
    lines = [f"Learning rate not bracketed, a better one may lie beyond: {', '.join(found)}."] if found else []
    scored = [s.method for s in shares if s.by_score]
    if scored:
        lines.append(
            f"Learning rate chosen by score, which contradicted the loss beyond its noise: {', '.join(scored)}."
        )
    return lines


def _lost(shares: Sequence[MethodBudget]) -> list[str]:
    trials, finals = sum(len(s.failed_trials) for s in shares), sum(len(s.failed_finals) for s in shares)
    parts = [_counted(n, word) for n, word in ((trials, "trial"), (finals, "final run")) if n]
    return [f"Failed: {' and '.join(parts)}."] if parts else []


def _span(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _counted(number: int, word: str) -> str:
    return f"1 {word}" if number == 1 else f"{number} {word}s"
