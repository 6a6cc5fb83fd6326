"""Verdicts on pairs of methods: better, equivalent or undecided, over all pairs at once.

Differences are tested two-sided and corrected over all pairs by the studentized range, stepped down (``familywise``).
Equivalence is two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987) under plain
Holm. The base's pairs are in the same family: where it is clearly beaten they come first and cost nothing, and the
promise covers them where it is not. A method trained once is in no pair: nothing is known of its other trainings.

At several looks (``looks``) each has its share of the error, and p-values are over all of them: the smallest, each
divided by its look's share.

A pair that is surely inside the margin is equivalent, even if its difference is surely not zero: the margin says
what matters to the user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.criteria import Criteria
from peftscope.analysis.crossed import Crossed, Differences, mean_differences
from peftscope.analysis.distributions import normal_below, t_quantile, t_tail
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.familywise import all_pairs, holm
from peftscope.analysis.looks import Look
from peftscope.analysis.outcomes import Outcomes
from peftscope.analysis.pooling import Pooled
from peftscope.analysis.power import more_seeds
from peftscope.analysis.verdict import Pair, PairVerdict
from peftscope.schema.seeds import PLANNED

__all__ = [
    "Tested",
    "compared",
    "difference_estimates",
    "gains_of",
    "pairs_of",
    "superiority",
    "verdicts_of",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Every pair with its tests; each of shape (P,)."""

    of: Differences
    p_values: Floats
    p_adjusted: Floats
    """Over all pairs and all looks."""
    p_equivalent: Floats
    """Likewise; NaN without a margin."""
    by_steady: NDArray[np.bool_]
    """The difference is of the trainings that went right."""


def compared(outcomes: Outcomes, *, sign: float, margin: float | None, looks: Sequence[Look] = ()) -> Tested:
    """Test every pair of comparable methods, the first being the one of the better mean.

    Differences are of all outcomes; of the steady ones where those say more clearly that the first is better, and it
    goes wrong no more often than the second.

    Args:
        outcomes: All there are.
        sign: 1 where more is better, -1 where less is.
        margin: Of equivalence; None for none.
        looks: Those the study is judged by; none for a single planned one.
    """
    tested = _tested(outcomes, sign=sign, margin=margin)
    looks = looks or [Look(outcomes=outcomes, in_play=frozenset(outcomes.whole.names), share=PLANNED)]
    place = {names: i for i, names in enumerate(_named(outcomes, tested.of))}
    p_adjusted, p_equivalent = np.ones(len(place)), np.ones(len(place))
    for look in looks:
        seen = tested if look.outcomes is outcomes else _tested(look.outcomes, sign=sign, margin=margin)
        for index, names in enumerate(_named(look.outcomes, seen.of)):
            kept = place.get(names, place.get(names[::-1], -1))
            if kept < 0 or not look.in_play.issuperset(names):
                continue
            turned = -1.0 if names not in place else 1.0
            same_side = turned * seen.of.centres[index] * tested.of.centres[kept] > 0.0
            if same_side:  # what later looks turned round is not upheld
                p_adjusted[kept] = min(p_adjusted[kept], seen.p_adjusted[index] / look.share)
            if margin is not None and abs(tested.of.centres[kept]) < margin:
                p_equivalent[kept] = min(p_equivalent[kept], seen.p_equivalent[index] / look.share)
    return replace(
        tested, p_adjusted=p_adjusted, p_equivalent=p_equivalent if margin is not None else tested.p_equivalent
    )


def _named(outcomes: Outcomes, of: Differences) -> list[tuple[str, str]]:
    names = outcomes.whole.names
    return [(names[first], names[second]) for first, second in zip(of.first, of.second)]


def _tested(outcomes: Outcomes, *, sign: float, margin: float | None) -> Tested:
    """All pairs at one look, with all of the error."""
    crossed = outcomes.whole
    comparable = outcomes.comparable
    order = comparable[np.argsort(-sign * crossed.means[comparable], kind="stable")]
    above, below = np.triu_indices(len(order), k=1)
    of = mean_differences(crossed, order[above], order[below])
    by_steady = np.zeros(len(above), bool)
    if outcomes.steady is not crossed:
        of, by_steady = _by_steady(
            of, mean_differences(outcomes.steady, order[above], order[below]), outcomes.wrong, sign
        )
    known = of.errors > 0.0
    safe = np.where(known, of.errors, 1.0)
    steps = np.where(known, of.centres / safe, 0.0)
    p_equivalent = np.full(len(above), np.nan)
    if margin is not None:
        outside = np.where(known, t_tail((margin - np.abs(of.centres)) / safe, of.degrees), 1.0)
        p_equivalent = holm(outside)
    return Tested(
        of=of,
        p_values=np.asarray(2.0 * t_tail(np.abs(steps), of.degrees), np.float64),
        p_adjusted=all_pairs(steps, of.degrees, len(order)),
        p_equivalent=p_equivalent,
        by_steady=by_steady,
    )


def verdicts_of(tested: Tested, level: float, sign: float) -> list[PairVerdict]:
    """Of the first against the second, for each pair."""
    alpha = 1.0 - level
    inside, apart = tested.p_equivalent <= alpha, tested.p_adjusted <= alpha
    ahead = sign * tested.of.centres > 0.0
    return [
        "equivalent" if same else ("better" if up else "worse") if differs else "undecided"
        for same, differs, up in zip(inside, apart, ahead)
    ]


def pairs_of(
    outcomes: Outcomes,
    pooled: Pooled,
    criteria: Criteria,
    *,
    sign: float,
    looks: Sequence[Look] = (),
    next_share: float = 1.0,
) -> tuple[Pair, ...]:
    """The verdict on every two comparable methods; intervals are of each pair alone, p-values over all.

    Args:
        outcomes: All there are.
        pooled: Draws of the true scores.
        criteria: Margin, and level of intervals and verdicts.
        sign: 1 where more is better, -1 where less is.
        looks: Those the study is judged by; none for a single planned one.
        next_share: Of the error, for a look after more seeds.
    """
    if len(outcomes.comparable) < 2:
        return ()
    crossed, margin, level = outcomes.whole, criteria.margin, criteria.level
    tested = compared(outcomes, sign=sign, margin=margin, looks=looks)
    of, verdicts = tested.of, verdicts_of(tested, level, sign)
    estimates = difference_estimates(of, sign=sign, level=level, bounded=crossed.bounded)
    chance = superiority(crossed, of, pooled, sign)
    open_pairs = np.array([verdict == "undecided" for verdict in verdicts])
    more = more_seeds(crossed, of, pooled, criteria.at_share(next_share), among=open_pairs)
    result = []
    for index, verdict in enumerate(verdicts):
        known = of.errors[index] > 0.0
        result.append(
            Pair(
                first=crossed.names[of.first[index]],
                second=crossed.names[of.second[index]],
                difference=estimates[index],
                p_value=float(tested.p_values[index]) if known else None,
                p_adjusted=float(tested.p_adjusted[index]) if known else None,
                p_equivalent=float(tested.p_equivalent[index]) if known and margin is not None else None,
                verdict=verdict,
                by_steady=bool(tested.by_steady[index]),
                superiority=None if np.isnan(chance[index]) else float(chance[index]),
                more_seeds=more[index],
            )
        )
    return tuple(result)


def difference_estimates(of: Differences, *, sign: float, level: float, bounded: bool) -> list[Estimate]:
    """Each difference with its interval, turned so that positive means the first is better."""
    half = -t_quantile((1.0 - level) / 2.0, of.degrees) * of.errors
    bound = 1.0 if bounded else np.inf
    low, high = np.maximum(sign * of.centres - half, -bound), np.minimum(sign * of.centres + half, bound)
    return [
        Estimate(float(value), float(lower), float(upper)) if error > 0.0 else Estimate(float(value), None, None)
        for value, lower, upper, error in zip(sign * of.values, low, high, of.errors)
    ]


def gains_of(crossed: Crossed, base: str, *, sign: float, level: float) -> dict[str, Estimate]:
    """Gain of every other method over the base: the same as its pair with it."""
    others = [name for name in crossed.names if name != base]
    first = np.array([crossed.names.index(name) for name in others], dtype=np.int64)
    of = mean_differences(crossed, first, np.full(len(others), crossed.names.index(base)))
    return dict(zip(others, difference_estimates(of, sign=sign, level=level, bounded=crossed.bounded)))


def superiority(crossed: Crossed, of: Differences, pooled: Pooled, sign: float) -> Floats:
    """Probability that a new training of the first scores better than one of the second, shape (P,).

    On the same examples, so that these add no uncertainty: the spread is that of two new trainings, around true means
    as the pooled draws have them. NaN where the seed variance of a trained one is not known.
    """
    residual = np.nan_to_num(np.where(crossed.fixed, 0.0, crossed.residual), nan=_typical_residual(crossed))
    one_training = np.where(crossed.fixed, 0.0, crossed.seed_variance + residual / crossed.num_examples)
    known = (crossed.degrees > 0) | crossed.fixed
    found = np.full(len(of.first), np.nan)
    for index, (first, second) in enumerate(zip(of.first, of.second)):
        if known[first] and known[second]:
            apart = sign * (pooled.draws[:, first] - pooled.draws[:, second])
            spread = np.sqrt(one_training[first] + one_training[second])
            # without any variance a difference is certain, and none is none
            steps = apart / spread if spread > 0.0 else np.where(apart == 0.0, 0.0, np.copysign(np.inf, apart))
            found[index] = normal_below(steps).mean()
    return found


def _typical_residual(crossed: Crossed) -> float:
    known = np.isfinite(crossed.residual) & ~crossed.fixed
    return float(crossed.residual[known].mean()) if known.any() else 0.0


def _by_steady(
    whole: Differences, steady: Differences, wrong: Floats, sign: float
) -> tuple[Differences, NDArray[np.bool_]]:
    """Each difference of all outcomes, or of the steady ones where these say more clearly that one is better; which."""
    clear = [np.divide(of.centres, of.errors, out=np.zeros_like(of.errors), where=of.errors > 0.0)
             for of in (whole, steady)]  # fmt: skip
    ahead = np.where(sign * steady.centres > 0.0, wrong[steady.second] - wrong[steady.first],
                     wrong[steady.first] - wrong[steady.second])  # fmt: skip
    same_side = (np.sign(steady.centres) == np.sign(whole.centres)) | (whole.centres == 0.0)
    gone = (wrong[steady.first] > 0.0) | (wrong[steady.second] > 0.0)
    taken = gone & same_side & (ahead >= 0.0) & (np.abs(clear[1]) > np.abs(clear[0]))
    parts = {name: np.where(taken, getattr(steady, name), getattr(whole, name))
             for name in ("values", "centres", "errors", "degrees")}  # fmt: skip
    return Differences(first=whole.first, second=whole.second, **parts), taken
