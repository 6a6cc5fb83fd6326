"""What more trials would have given: the best validation score against the number of trials."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.special import comb

from peftscope.analysis.tuning import Tuning

__all__ = ["best_so_far"]


def best_so_far(tunings: Iterable[Tuning], *, higher_is_better: bool = True) -> pd.DataFrame:
    """What a method's best validation score comes to against the number of trials spent on it.

    The best of the first trials depends on the order they were offered in; so the expected best of ``n`` of them
    drawn without replacement is given, averaged over all subsets exactly (Dodge et al., Show Your Work, EMNLP 2019,
    with the unbiased estimator of Tang et al., ACL 2020). A trial that failed or was stopped counts as one without
    a score, the worst outcome there is.

    Returns:
        ``method``, ``num_trials`` (1 to those that ended), ``expected_best`` (NaN while some subset of that size has
        no score at all) and ``best_in_order`` (of the trials as they were offered).
    """
    rows: list[tuple[str, int, float | None, float | None]] = []
    for tuning in tunings:
        ended = [trial for trial in tuning.trials if trial.status != "planned"]
        scores = np.array([np.nan if t.valid_score is None else t.valid_score for t in ended], np.float64)
        best_first = np.sort(scores[np.isfinite(scores)])
        best_first = best_first[::-1] if higher_is_better else best_first
        for size in range(1, len(ended) + 1):
            # the i-th best is the best of a subset where the others are among those behind it
            behind = len(ended) - 1 - np.arange(len(best_first))
            weights = comb(behind, size - 1) / comb(len(ended), size)
            certain = len(ended) - len(best_first) < size
            seen = scores[:size][np.isfinite(scores[:size])]
            best = None if not len(seen) else float(seen.max() if higher_is_better else seen.min())
            rows.append((tuning.method, size, float(weights @ best_first) if certain else None, best))
    return pd.DataFrame(rows, columns=["method", "num_trials", "expected_best", "best_in_order"])
