"""The arithmetic of the yardstick: curves of regret, and what differences are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from hardprompt.gap import Range
from hardprompt.types import FloatArray

RESAMPLES, SEED = 10_000, 20251125
NOTHING = 1.0  # regret before a whole prompt was measured: as of a random one


def regrets(
    curve: Sequence[Sequence[float]], scale: Range, budgets: Sequence[float] | FloatArray
) -> FloatArray:
    """`(budgets,)` regret of the best prompt so far; `curve` are its losses, `[spent, loss]`."""
    spent = np.array([point[0] for point in curve])
    shares = np.array([NOTHING, *(scale.regret(point[1]) for point in curve)])
    # Prices are fractions: a rounding is no reason to come too late.
    return shares[np.searchsorted(spent, np.asarray(budgets) + 1e-6, side="right")]


def quartiles(values: FloatArray) -> FloatArray:
    """`(seeds, ...)` -> `(3, ...)`: lower quartile, median, upper quartile."""
    found: FloatArray = np.percentile(values, [25, 50, 75], axis=0)
    return found


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Mean of first - second, pair by pair, with its 95% interval.

    Paired percentile bootstrap (Efron & Tibshirani, 1993, chapter 13) over the pairs. Of ten pairs
    it covers about 90%, of three 73%: what it calls noise is noise.
    """
    gaps = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    draws = np.random.default_rng(SEED).integers(len(gaps), size=(RESAMPLES, len(gaps)))
    low, high = np.percentile(gaps[draws].mean(axis=1), [2.5, 97.5])
    return float(gaps.mean()), float(low), float(high)


def sign_test(lower: int, n: int) -> float:
    """One-sided p of so many wins or more out of n, were both alike; a tie is no win."""
    return float(binomtest(lower, n, alternative="greater").pvalue)
