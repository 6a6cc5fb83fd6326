"""A recommendation in plain words: the same sentences in the terminal and on the report's page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from peftscope.analysis.front import Front
from peftscope.analysis.power import POWER
from peftscope.analysis.recommendation import Recommendation, Relative, Tie
from peftscope.analysis.verdict import Pair, Verdict
from peftscope.analysis.within_limits import SCORE
from peftscope.schema.metric import MetricSpec
from peftscope.views.choice import gone_wrong, optimism_lines, risk_of, standing_lines
from peftscope.views.eliminated import eliminated_topic
from peftscope.views.excluded import excluded_topic, nearest_line
from peftscope.views.front import front_topic
from peftscope.views.phrasing import Phrasing
from peftscope.views.price import price_topic
from peftscope.views.report.content import Topic
from peftscope.views.report.quantities import more_seeds_text
from peftscope.views.suspicions import suspicion_lines

__all__ = ["recommendation_topics"]

SHOWN = 8
"""Methods listed one by one; the others are counted."""


def recommendation_topics(found: Recommendation, front: Front | None, metrics: Sequence[MetricSpec]) -> list[Topic]:
    """The answer, what it beats, what is tied with it, what the limits left out, what to try first, the evidence.

    Args:
        found: The recommendation.
        front: Of the score against a cost, to be told of; None where there is none.
        metrics: Specs of the quantities it rests on.
    """
    phrasing = Phrasing(found=found, specs={metric.name: metric for metric in metrics})
    topics = [
        _answer(phrasing),
        _suspicions(found),
        _beaten(phrasing),
        _ties(phrasing),
        price_topic(phrasing),
        excluded_topic(phrasing),
        eliminated_topic(found.verdict.eliminations),
        _relatives(phrasing),
        _evidence(phrasing),
        None if front is None else front_topic(front, found.verdict, left_out=[e.method for e in found.excluded]),
        _failures(found),
        _basis(found.verdict),
    ]
    return [topic for topic in topics if topic is not None]


def _answer(phrasing: Phrasing) -> Topic:
    found = phrasing.found
    if found.choice is None:
        return Topic(title="Nothing here satisfies the limits", lines=[nearest_line(phrasing)])
    if found.base_unbeaten:
        than = "leaving the model alone"
        if found.majority_unbeaten and found.majority is not None:
            than = f"always giving the commonest answer of the training rows ({phrasing.amount(SCORE, found.majority)})"
        which = "that keeps the limits" if found.excluded else "here"
        lines = [f"Nothing {which} is detectably better than {than}."]
        if found.leading is not None and found.base is not None:
            pair = None if found.majority_unbeaten else found.base_pair
            gain = f", {phrasing.difference(pair)} over it" if pair else ""
            lines.append(
                f"The untouched base: {phrasing.score(found.base)}. The best estimate is {found.leading.method}: "
                f"{phrasing.score(found.leading)}{gain}."
            )
        return Topic(title=f"Take {found.choice.method}: leave the model alone", lines=lines)
    return Topic(
        title=f"Take {found.choice.method}{risk_of(found.choice)}",
        lines=[
            *standing_lines(phrasing, found.choice),
            _why(phrasing),
            *optimism_lines(phrasing),
            *_cautions(phrasing),
        ],
    )


def _suspicions(found: Recommendation) -> Topic | None:
    lines = suspicion_lines(found.suspicions)
    return Topic(title="Look at the answers first", lines=lines) if lines else None


def _why(phrasing: Phrasing) -> str:
    found = phrasing.found
    *before, last = found.prefer
    scope = "of those that keep the limits" if found.excluded else "of all"
    if last == SCORE and not before:
        return f"It is the best estimate {scope}.{_alone(found)}"
    parts = [
        "not detectably worse than the best" if name == SCORE and name != last else f"the least {phrasing.label(name)}"
        for name in found.prefer
        if name != SCORE or name != last
    ]
    unknown = [phrasing.label(name) for name in found.prefer if name != SCORE and name not in found.metrics]
    shown = ", then ".join([*parts, *(["the best estimate"] if last == SCORE else [])])
    beating = " and are detectably better than the untouched base" if _is_useful(found) else ""
    text = f"It was chosen by what you prefer: {shown}, among the methods that keep the limits{beating}."
    return f"{text} Nobody measured {', '.join(unknown)}, so that could not count." if unknown else text


def _alone(found: Recommendation) -> str:
    assert found.choice is not None
    if found.choice.tier != 1 or len(found.verdict.tiers[0]) > 1 or len(found.verdict.tiers) == 1:
        return ""
    return f" It is alone in the top tier: the best of all with {100 * found.verdict.level:g} % confidence."


def _is_useful(found: Recommendation) -> bool:
    return found.base_pair is not None and found.base_pair.verdict == "better"


def _cautions(phrasing: Phrasing) -> list[str]:
    """What a reader must not overlook."""
    found, lines = phrasing.found, []
    choice, least = found.choice, found.limits.score
    assert choice is not None
    if least is not None and choice.score is not None and found.verdict.metric.direction != "lower":
        low = choice.score.low
        if low is not None and low < least:
            lines.append(f"The lower end of its interval is below the {phrasing.amount(SCORE, least)} you ask for.")
    if found.base is None:
        lines.append("The untouched base was not measured: whether training gains anything is not known from this.")
    elif found.base_pair is not None and found.base_pair.verdict != "better":
        lines.append("It is not detectably better than leaving the model alone.")
    if choice.single:
        lines.append("Single run: no interval can be given, and another seed could turn the order round.")
    elif choice.num_seeds == 1:
        lines.append("One seed: the intervals are over test examples alone, not over another training.")
    if choice.num_wrong:
        counted = "its score is the mean over all of them, a diverged one counting as the untouched base"
        if choice.num_diverged and found.base is None:
            counted = "its score leaves out those that diverged, since no base was measured to count with"
        lines.append(f"{gone_wrong(choice)}; {counted}. A training may leave you with no more than that.")
    cheaper = _cheaper(phrasing)
    return [*lines, cheaper] if cheaper else lines


def _cheaper(phrasing: Phrasing) -> str | None:
    """Methods that cost less, and how much worse they may be."""
    found = phrasing.found
    assert found.choice is not None
    names = {
        name: method
        for name, method in found.cheapest.items()
        if phrasing.cost(found.verdict.candidate(method), name) != phrasing.cost(found.choice, name)
    }
    if not names:
        return None
    deficits = {method: _most_worse(found, method) for method in names.values()}
    margin = found.verdict.margin
    if found.is_single:
        claim = "within one standard error"
    elif margin is not None and all(d is not None and d <= margin for d in deficits.values()):
        claim = f"worse by less than {phrasing.size(margin)}, if at all"
    else:
        claim = "perhaps worse"
        reach = {m: f"{m} (by up to {phrasing.size(d)})" for m, d in deficits.items() if d is not None}
        names = {name: reach.get(method, method) for name, method in names.items()}
    return f"Cheaper, and {claim}: {_by_method(names, lambda name, _: phrasing.label(name))}; see below."


def _most_worse(found: Recommendation, method: str) -> float | None:
    """Upper end of the interval of what the choice scores more, in the metric's unit."""
    assert found.choice is not None
    pair = found.verdict.pair(found.choice.method, method)
    return None if pair is None or pair.difference.high is None else max(pair.difference.high, 0.0)


def _by_method(names: Mapping[str, str], tell: Callable[[str, str], str]) -> str:
    """Quantity -> method, told a method at a time."""
    parts = []
    for method in dict.fromkeys(names.values()):
        parts.append(f"{method} in {', '.join(tell(name, method) for name, m in names.items() if m == method)}")
    return "; ".join(parts)


def _beaten(phrasing: Phrasing) -> Topic | None:
    found = phrasing.found
    pairs = [p for p in found.beaten if not found.verdict.candidate(p.second).is_base]
    lines = []
    if found.beats_choice and not found.majority_unbeaten:
        shown = ", ".join(f"{p.second} ({phrasing.difference(p, turned=True)})" for p in found.beats_choice[:SHOWN])
        lines.append(f"Detectably better than it, and not chosen for what you prefer or for the limits: {shown}.")
    if not pairs:
        return Topic(title="What scores more", lines=lines) if lines else None
    pairs.sort(key=lambda p: p.difference.low if p.difference.low is not None else p.difference.value)
    rows = [("method", "worse by", "p (all pairs)", "a new training wins")]
    rows += [(p.second, phrasing.difference(p).lstrip("+"), _p_text(p.p_adjusted), _chance(p)) for p in pairs[:SHOWN]]
    if len(pairs) > SHOWN:
        lines.append(f"and {len(pairs) - SHOWN} more, by more than these")
    own = found.choice.score if found.choice is not None else None
    scores = {p.second: found.verdict.candidate(p.second).score for p in pairs}
    alike = [name for name, score in scores.items() if own and score and own.shares_much_with(score)]
    if alike:
        lines.append(
            f"Though intervals of the scores overlap ({', '.join(alike[:SHOWN])}): both answered the same examples, so "
            "that their difference is known better than either score."
        )
    return Topic(title=f"It detectably beats {len(pairs)} of {_num_others(found)}", lines=lines, rows=rows)


def _num_others(found: Recommendation) -> int:
    return sum(not c.is_base for c in found.verdict.in_question) - 1


def _p_text(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _chance(pair: Pair) -> str:
    return (
        "–" if pair.superiority is None else "> 99 %" if pair.superiority > 0.99 else f"{pair.superiority * 100:.0f} %"
    )


def _ties(phrasing: Phrasing) -> Topic | None:
    found = phrasing.found
    if not found.ties or found.base_unbeaten:
        return None
    equal = [tie for tie in found.ties if tie.kind == "equivalent"]
    open_ = [tie for tie in found.ties if tie.kind == "undecided"]
    near = [tie for tie in found.ties if tie.kind == "unknown"]
    lines = []
    if equal:
        lines.append(
            f"The same, inside a margin of {phrasing.size(found.verdict.margin or 0.0)}: {_tied(phrasing, equal)}."
        )
    if open_:
        judged = f"all {len(found.verdict.pairs)} pairs judged at once" if len(found.verdict.pairs) > 1 else "one pair"
        lines.append(f"Undecided, neither better nor shown to be the same ({judged}): {_tied(phrasing, open_)}.")
        lines += _out_of_the_top(found, open_)
    if near:
        lines.append(_within_reach(phrasing, near))
    tied = "the choice and these" if len(found.ties) > 1 else "the two"

    def tell(name: str, method: str) -> str:
        return f"{phrasing.label(name)} ({phrasing.cost(found.verdict.candidate(method), name)})"

    if found.cheapest:
        lines.append(f"The cheapest of {tied}: {_by_method(found.cheapest, tell)}.")
        unsound = [tie for tie in found.ties if not found.is_sound(found.verdict.candidate(tie.method))]
        if unsound:
            shown = ", ".join(tie.method for tie in unsound)
            lines.append(f"Left out of that, since trainings diverged or the base is not detectably beaten: {shown}.")
    return Topic(title="Not detectably different from it", lines=lines)


def _out_of_the_top(found: Recommendation, ties: Sequence[Tie]) -> list[str]:
    """Tied as a pair, and yet not the best: comparing all with the best is the easier question."""
    assert found.choice is not None
    lower = [t.method for t in ties if found.choice.tier == 1 and (found.verdict.candidate(t.method).tier or 1) > 1]
    if not lower:
        return []
    shown = ", ".join(lower[:SHOWN]) + (f" and {len(lower) - SHOWN} more" if len(lower) > SHOWN else "")
    return [f"Asked only which could be the best of all, the top tier, the answer is clearer: not {shown}."]


def _tied(phrasing: Phrasing, ties: Sequence[Tie]) -> str:
    shown = [f"{t.method} ({phrasing.difference(t.pair)})" if t.pair else t.method for t in ties[:SHOWN]]
    return ", ".join(shown) + (f" and {len(ties) - SHOWN} more" if len(ties) > SHOWN else "")


def _within_reach(phrasing: Phrasing, near: Sequence[Tie]) -> str:
    size = phrasing.size(phrasing.found.standard_error or 0.0)
    return (
        f"One standard error of its score is {size}, over test examples alone; one standard error of the "
        f"difference could turn the order round with {_tied(phrasing, near)}."
    )


def _relatives(phrasing: Phrasing) -> Topic | None:
    lines = [_relative_text(relatives) for relatives in phrasing.found.relatives]
    return Topic(title="Cheap to try first", lines=lines) if lines else None


def _relative_text(relative: Relative) -> str:
    who = f"The choice, {relative.method}," if relative.is_choice else f"{relative.method}, tied with the choice,"
    settings = [f"{key}={value}" for key, value in relative.settings.items()]
    changes = []
    if settings:
        count = "one setting" if len(settings) == 1 else f"{len(settings)} settings"
        changes.append(f"{count} changed: {', '.join(settings)}")
    if relative.optimizer is not None:
        changes.append(f"another optimizer: {relative.optimizer}")
    text = f"{who} is {relative.have} with {' and '.join(changes) or 'other settings'}"
    if relative.knobs:
        its, other = (" and ".join(f"{k}={pair[place]}" for k, pair in relative.knobs.items()) for place in (0, 1))
        where = f"{relative.against} with" if relative.against else f"{relative.have}'s card has"
        text += f"; it ran with {its}, {where} {other}"
    if relative.starts_from_data:
        text += "; it starts from a look at the training data"
    if relative.changes_base:
        text += "; it changes the base's own weights"
    return f"{text}."


def _evidence(phrasing: Phrasing) -> Topic | None:
    found, lines = phrasing.found, []
    pairs = [tie.pair for tie in found.ties if tie.pair is not None and tie.kind == "undecided"]
    if found.base_unbeaten:
        pairs = [found.base_pair] if found.base_pair is not None and found.base_pair.verdict == "undecided" else []
    shown = sorted(((p.more_seeds.seeds, p) for p in pairs if p.more_seeds is not None), key=lambda found: found[0])
    for _, pair in shown[:SHOWN]:
        text = more_seeds_text(pair)
        lines.append(f"{text[0].upper()}{text[1:]}, with a probability of about {100 * POWER:.0f} %.")
    never = [pair.second for pair in pairs if pair.more_seeds is None]
    if never and _has_one_seed(found):
        lines.append("With one seed each nobody knows how far seeds scatter, nor how many would do: take 3.")
    elif never:
        names = ", ".join(never[:SHOWN]) + (f" and {len(never) - SHOWN} more" if len(never) > SHOWN else "")
        lines.append(
            f"No affordable number of seeds would likely distinguish {pairs[0].first} from {names}; more test examples "
            "might."
        )
    return Topic(title="Not enough evidence", lines=lines) if lines else None


def _has_one_seed(found: Recommendation) -> bool:
    return all(c.num_seeds <= 1 for c in found.verdict.candidates if not c.is_base)


def _failures(found: Recommendation) -> Topic | None:
    counts = {method: Counter(reasons) for method, reasons in found.failures.items()}
    lines = [
        f"{method}: {reason}" + (f" ({count} runs)" if count > 1 else "")
        for method, reasons in counts.items()
        for reason, count in reasons.items()
    ]
    number = sum(sum(reasons.values()) for reasons in counts.values())
    return Topic(title="1 run failed" if number == 1 else f"{number} runs failed", lines=lines) if lines else None


def _basis(verdict: Verdict) -> Topic | None:
    """What a reader must know of the figures; single runs are counted and not told one by one."""
    single = sum(c.single for c in verdict.candidates)
    lines = [f"{note}." for note in verdict.notes if not (single and note.startswith("single run"))]
    if single:
        lines.append(f"{single} of {len(verdict.candidates)} are single runs without scores per example.")
    return Topic(title="What this rests on", lines=lines) if lines else None
