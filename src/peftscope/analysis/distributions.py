"""Student's t, the normal and Fisher's F: tails and quantiles, for arrays too; t with infinite degrees is the normal.

The special functions behind ``scipy.stats``, with the same values: that package alone takes most of a second to
import, and every answer would wait for it.
"""

from __future__ import annotations

from typing import Any

from scipy import special

__all__ = ["f_tail", "normal_below", "normal_quantile", "t_quantile", "t_tail"]


def t_tail(steps: Any, degrees: Any) -> Any:
    """Probability of more than so many standard errors.

    >>> round(float(t_tail(2.0, 10.0)), 4)
    0.0367
    """
    return special.stdtr(degrees, -steps)


def t_quantile(probability: Any, degrees: Any) -> Any:
    """Standard errors below which a probability lies.

    >>> round(float(t_quantile(0.975, 10.0)), 3)
    2.228
    """
    return special.stdtrit(degrees, probability)


def normal_below(steps: Any) -> Any:
    """Probability of less than so many standard errors.

    >>> round(float(normal_below(-1.96)), 3)
    0.025
    """
    return special.ndtr(steps)


def normal_quantile(probability: Any) -> Any:
    """Standard errors below which a probability lies.

    >>> round(float(normal_quantile(0.975)), 2)
    1.96
    """
    return special.ndtri(probability)


def f_tail(ratio: Any, above: Any, below: Any) -> Any:
    """Probability of a larger ratio of variances, with so many degrees above and below.

    >>> round(float(f_tail(4.0, 2.0, 10.0)), 4)
    0.0529
    """
    return special.fdtrc(above, below, ratio)
