"""How far a mean over repeated runs can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95


def runs_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95% t-interval (Student, 1908) of the mean of one figure a run; None: there is one run.

    What other seeds would change, on the same rows: wide where there are few, and blind to the
    figure's own limits.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return None
    mean, half = float(np.mean(values)), float(t.ppf((1 + LEVEL) / 2, n - 1))
    half *= float(np.std(values, ddof=1)) / n**0.5
    return mean - half, mean + half
