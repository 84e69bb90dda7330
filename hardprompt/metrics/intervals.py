"""Confidence intervals of figures and of gains, from the rows that they were measured on."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from hardprompt.metrics.classification import Metric
from hardprompt.metrics.text import TextMetric
from hardprompt.types import FloatArray, IntArray

RESAMPLES, CHUNK, SEED = 2000, 200, 20240607
Z = 1.959964  # two-sided 95%


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95% interval of a share (Wilson, 1927): honest for few rows and near 0 or 1."""
    share, z2 = hits / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def interval(
    metric: Metric, gold: IntArray, predicted: IntArray, n_classes: int
) -> tuple[float, float]:
    """95% interval of a figure: Wilson's for accuracy, else a percentile bootstrap of rows.

    `predicted` is `(n,)`, or `(runs, n)`: then of the mean over the runs, by the bootstrap.
    """
    if metric.name == "accuracy" and predicted.ndim == 1:
        return wilson(int((gold == predicted).sum()), len(gold))
    return _percentiles(_resampled(metric, gold, [predicted], n_classes)[0])


def standard_error(metric: Metric, gold: IntArray, predicted: IntArray, n_classes: int) -> float:
    """Standard deviation of the figure over bootstrap samples of the rows."""
    return float(_resampled(metric, gold, [predicted], n_classes)[0].std())


def paired_gain(
    metric: Metric, gold: IntArray, better: IntArray, worse: IntArray, n_classes: int
) -> tuple[float, float, float]:
    """Difference of two figures on the same rows, with its 95% interval.

    Paired percentile bootstrap (Efron & Tibshirani, 1993, chapter 13): rows are drawn together
    with both predictions, so that what makes a row hard cancels. Predictions are `(n,)`, or
    `(runs, n)`: then it is the difference of the means over the runs.
    """
    first, second = (metric.score(gold, called, n_classes).mean() for called in (better, worse))
    gain = float(first - second)
    drawn = _resampled(metric, gold, [better, worse], n_classes)
    low, high = _percentiles(drawn[0] - drawn[1])
    return gain, low, high


def text_interval(metric: TextMetric, stats: FloatArray) -> tuple[float, float]:
    """95% interval of a figure of generated text, by the percentile bootstrap of its rows.

    `stats` is `(n, s)`, or `(runs, n, s)`: then of the mean over the runs. The weights that NIST
    and CIDEr take from all references stay as they are, however the rows are drawn.
    """
    return _percentiles(_text_resampled(metric, stats))


def text_gain(
    metric: TextMetric, better: FloatArray, worse: FloatArray
) -> tuple[float, float, float]:
    """How much better the first is on the same rows, with its 95% interval, as `paired_gain`.

    Positive is better, whatever the metric: of TER it is by how much the first is lower.
    """
    sign = 1 if metric.higher_is_better else -1
    gain = sign * (metric.figure(better) - metric.figure(worse))
    drawn = sign * (_text_resampled(metric, better) - _text_resampled(metric, worse))
    low, high = _percentiles(drawn)
    return gain, low, high


def text_error(metric: TextMetric, stats: FloatArray) -> float:
    """Standard deviation of the figure over bootstrap samples of the rows."""
    return float(_text_resampled(metric, stats).std())


def _text_resampled(metric: TextMetric, stats: FloatArray) -> FloatArray:
    n = stats.shape[-2]
    values = []
    for rows in _draws(n):
        times = np.stack([np.bincount(drawn, minlength=n) for drawn in rows])
        summed = times @ stats  # (..., draws, s)
        values.append(metric.total(summed).reshape(-1, len(rows)).mean(axis=0))
    return np.concatenate(values)


def _resampled(
    metric: Metric, gold: IntArray, predictions: list[IntArray], n_classes: int
) -> list[FloatArray]:
    values: list[list[FloatArray]] = [[] for _ in predictions]
    for rows in _draws(len(gold)):
        for found, predicted in zip(values, predictions, strict=True):
            scores = metric.score(gold[rows], predicted[..., rows], n_classes)
            found.append(scores.reshape(-1, len(rows)).mean(axis=0))
    return [np.concatenate(found) for found in values]


def _draws(n: int) -> Iterator[IntArray]:
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES // CHUNK):
        yield rng.integers(n, size=(CHUNK, n))


def _percentiles(values: FloatArray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
