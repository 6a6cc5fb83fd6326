"""What each method was given, as topics of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from peftscope.analysis.fairness import Fairness, MethodBudget
from peftscope.views.report.content import Topic
from peftscope.views.units import DASH, bracket_text, count_text, rate_text, seconds_text

__all__ = ["fairness_topics"]

Column = tuple[str, Callable[[MethodBudget], str]]


def fairness_topics(fairness: Fairness) -> list[Topic]:
    """Budget, what came of it, and what was adapted; columns nothing is known of are left out."""
    shares = fairness.shares
    if not shares:
        return []
    topics = [Topic(title="Tuning", lines=_tuning_lines(shares), rows=_rows(shares, TUNING))] if _tuned(shares) else []
    topics.append(Topic(title="Final runs", lines=_final_lines(fairness), rows=_rows(shares, FINALS)))
    adapted = _rows(shares, ADAPTED)
    if len(adapted[0]) > 1:
        topics.append(Topic(title="What is adapted", rows=adapted))
    return topics


def _tuned(shares: Sequence[MethodBudget]) -> bool:
    return any(share.num_offered for share in shares)


def _tuning_lines(shares: Sequence[MethodBudget]) -> list[str]:
    offers = sorted({share.num_offered for share in shares})
    efforts = {share.effort.name: share.effort for share in shares if share.effort is not None}
    if len(efforts) == 1:
        (effort,) = efforts.values()
        lines = [
            f"Effort '{effort.name}': up to {effort.num_short} short and {effort.num_full} full trials, with "
            f"{effort.num_seeds} {'seed' if effort.num_seeds == 1 else 'seeds'}, offered to each method, and every "
            "one billed; a method that needs fewer uses fewer."
        ]
    elif len(offers) == 1:
        lines = [f"{offers[0]} {'trial' if offers[0] == 1 else 'trials'} offered to each method, and every one billed."]
    else:
        lines = [f"Trials offered: from {offers[0]} to {offers[-1]}."]
    edges = [f"{share.method} ({share.edge})" for share in shares if share.edge]
    if edges:
        lines.append(
            f"The chosen learning rate is not bracketed: {', '.join(edges)}. A better one may lie beyond, so such a "
            "method is never called worse."
        )
    return lines


def _final_lines(fairness: Fairness) -> list[str]:
    if fairness.foreign:
        return ["Results of others: how much was tried beside them is not known."]
    if fairness.num_protocols == 1:
        return ["All were measured under the same conditions of quality."]
    return [f"{fairness.num_protocols} different conditions of quality."] if fairness.num_protocols else []


def _rows(shares: Sequence[MethodBudget], columns: Sequence[Column]) -> list[list[str]]:
    cells = {heading: [text(share) for share in shares] for heading, text in columns}
    shown = [heading for heading, texts in cells.items() if heading == "method" or set(texts) - {DASH}]
    return [shown, *([cells[heading][row] for heading in shown] for row in range(len(shares)))]


def _number(value: int) -> str:
    return f"{value:,}" if value else DASH


def _failed(reasons: Sequence[str]) -> str:
    if not reasons:
        return DASH
    statuses = [reason.split(":")[0] for reason in reasons]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


def _modules(share: MethodBudget) -> str:
    """Kinds of modules, with their number where it is known."""
    return ", ".join(f"{kind} ({n})" if n else kind for kind, n in share.modules.items()) or DASH


TUNING: tuple[Column, ...] = (
    ("method", lambda s: s.method),
    ("trials", lambda s: f"{s.num_trials} of {s.num_offered}"),
    ("stopped early", lambda s: _number(s.num_eliminated)),
    ("failed", lambda s: _failed(s.failed_trials)),
    ("learning rates", lambda s: ", ".join(map(rate_text, s.learning_rates)) or DASH),
    ("chosen", lambda s: rate_text(s.chosen_rate)),
    ("its place", lambda s: (bracket_text(s.edge, s.bracket) or DASH) + (", by score" if s.by_score else "")),
    ("steps", lambda s: _number(s.tuning_steps)),
    ("training time", lambda s: seconds_text(s.tuning_time_s) if s.tuning_time_s else DASH),
)
FINALS: tuple[Column, ...] = (
    ("method", lambda s: s.method),
    ("seeds", lambda s: ", ".join(map(str, s.seeds)) or DASH),
    ("failed", lambda s: _failed(s.failed_finals)),
    ("steps", lambda s: _number(s.final_steps)),
    ("training time", lambda s: seconds_text(s.final_time_s) if s.final_time_s else DASH),
)
ADAPTED: tuple[Column, ...] = (
    ("method", lambda s: s.method),
    ("trained", lambda s: count_text(s.num_trainable_params)),
    ("modules", _modules),
)
