"""Variances of many small groups, each leaning on the others as far as they look alike.

Two or three seeds say little of a method's seed variance; those of all methods together say much, if they are
equal, and wrong things if they are not. Each variance is therefore the mean of its own and of all, weighted by
degrees of freedom: its own, and as many for what all say as the variances' likeness supports (Smyth, Statistical
Applications in Genetics and Molecular Biology 3, 2004). Three things differ from there, each decided by what verdicts
came to in simulated studies (``benchmarks/uncertainty.md``):

- all count at most ``CAP`` degrees: eight methods of three seeds cannot show that their variances are equal, only
  fail to show the contrary;
- what all say is the plain mean, unsteady ones included, and not a typical value;
- one leans the less the more it scatters beyond the others (``DOUBT``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from peftscope.analysis.distributions import f_tail

__all__ = ["Moderated", "moderated"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CAP = 5.0
DOUBT = 0.3
"""P-value of a variance like the others' below which a method leans on them less, in proportion."""
CLEAR = 0.01
"""Level, over all methods, at which one is said to be unsteady."""


@dataclass(frozen=True, kw_only=True)
class Moderated:
    """Variances of some groups; each of shape (T,)."""

    variances: Floats
    degrees: Floats
    """Of freedom; 0 where no group has any."""
    total: float
    """Degrees of freedom behind what all say: none that leans knows more."""
    unsteady: Bools
    """Varies detectably more than the others."""


def moderated(own: Floats, degrees: Floats, *, alone: Bools | None = None) -> Moderated:
    """Variances of groups of which each has few degrees of freedom, shape (T,).

    Args:
        own: Estimates of each group by itself; not looked at where there are no degrees of freedom.
        degrees: Of freedom of each; 0 where a group says nothing.
        alone: Groups of another kind: they neither lend nor lean, as far as they have degrees of their own.
    """
    alone = np.zeros(len(own), bool) if alone is None else alone
    known = (degrees > 0) & np.isfinite(own)
    lending = known & ~alone
    own, degrees = np.where(known, own, 0.0), np.where(known, degrees, 0.0)
    total = float(degrees[lending].sum())
    if not total:
        none = np.zeros(len(own), bool)
        return Moderated(variances=own, degrees=degrees, total=float(degrees.sum()), unsteady=none)
    of_all = float(np.sum((degrees * own)[lending]) / total)
    p_values = np.where(lending, _excess(own, degrees, lending), 1.0)
    lean = np.full(len(own), min(_likeness(own[lending], degrees[lending], of_all), CAP))
    lean = lean * np.minimum(p_values / DOUBT, 1.0)
    lean[known & alone] = 0.0
    together = lean + degrees
    variances = (lean * of_all + degrees * own) / together
    most = np.where(known & alone, np.inf, total)
    return Moderated(
        variances=variances,
        degrees=np.minimum(together, most),
        total=total,
        unsteady=p_values < CLEAR / max(int(lending.sum()), 1),
    )


def _excess(own: Floats, degrees: Floats, lending: Bools) -> Floats:
    """P-values of a variance like that of the others, against a larger one; shape (T,)."""
    weighted, lent = np.where(lending, degrees * own, 0.0), np.where(lending, degrees, 0.0)
    left = lent.sum() - lent
    others = (weighted.sum() - weighted) / np.maximum(left, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(others > 0.0, own / others, np.where(own > 0.0, np.inf, 0.0))
    tails = f_tail(ratio, np.maximum(degrees, 1.0), np.maximum(left, 1.0))
    return np.where(left > 0.0, tails, 1.0)


def _likeness(own: Floats, degrees: Floats, of_all: float) -> float:
    """Degrees of freedom that the others' word is worth: many where logarithms of variances scatter by chance only."""
    if len(own) < 3 or of_all == 0.0:
        return CAP
    logs = np.log(np.maximum(own, 1e-3 * of_all)) - special.digamma(degrees / 2.0) + np.log(degrees / 2.0)
    beyond = float(logs.var(ddof=1) - special.polygamma(1, degrees / 2.0).mean())
    if beyond <= special.polygamma(1, CAP / 2.0):
        return CAP
    half = 0.5 + 1.0 / beyond  # Newton's steps for the inverse of the trigamma function
    for _ in range(20):
        value = special.polygamma(1, half)
        half += value * (1.0 - value / beyond) / special.polygamma(2, half)
    return float(2.0 * half)
