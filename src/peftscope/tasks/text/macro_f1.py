"""Macro-averaged F1, split into what each example brings to it.

Macro-F1 is no mean of scores of examples: each class's F1 is a quotient of means. To first order it is one, though,
plus the mean of each example's influence (Hampel, Journal of the American Statistical Association 69, 1974)::

    part[example] = F1 + (2 * right - F1 * present) / share      averaged over classes

where ``right`` says that the example is of the class and was called so, ``present`` counts the class in target and
answer, and ``share`` is the mean of ``present``. Parts have the macro-F1 as their mean, and their variance over
examples is that of the macro-F1: whatever holds for scores of examples holds for them, intervals, pairs and groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["macro_f1_parts"]


def macro_f1_parts(targets: Sequence[str], answers: Sequence[str]) -> list[float]:
    """What each example brings to the macro-F1 over the classes among the targets; their mean is the macro-F1.

    An answer that is no class is wrong for the example's own class, and for no other. Parts may lie outside [0, 1].

    >>> parts = macro_f1_parts(["a", "a", "b", "b"], ["a", "a", "a", "b"])
    >>> round(sum(parts) / 4, 4)  # F1 of a 0.8, of b 2/3
    0.7333
    """
    truth, predicted = np.array(targets, dtype=object), np.array(answers, dtype=object)
    parts = np.zeros(len(truth))
    classes = sorted(set(targets))
    for name in classes:
        right = ((truth == name) & (predicted == name)).astype(float)
        present = (truth == name).astype(float) + (predicted == name)
        share = present.mean()
        f1 = 2.0 * right.mean() / share
        parts += f1 + (2.0 * right - f1 * present) / share
    return [float(part) for part in parts / len(classes)]
