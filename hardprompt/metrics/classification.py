"""Accuracy, macro-F1 and Matthews' correlation, over any leading axes at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hardprompt.errors import unknown
from hardprompt.types import FloatArray, IntArray


@dataclass(frozen=True)
class Metric:
    """`score(gold, predicted, n_classes)`: `(..., n)` classes -> `(...)`; higher is better."""

    name: str
    score: Callable[[IntArray, IntArray, int], FloatArray]


def confusion(gold: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """`(..., n)` -> `(..., classes, classes)` counts, gold by predicted."""
    gold, predicted = np.broadcast_arrays(gold, predicted)
    lead = gold.shape[:-1]
    flat = (gold * n_classes + predicted).reshape(-1, gold.shape[-1])
    size = n_classes * n_classes
    offset = np.arange(len(flat))[:, None] * size
    counts = np.bincount((flat + offset).ravel(), minlength=len(flat) * size)
    return counts.reshape(*lead, n_classes, n_classes)


def _accuracy(gold: IntArray, predicted: IntArray, n_classes: int) -> FloatArray:
    share: FloatArray = (gold == predicted).mean(axis=-1)
    return share


def _f1(counts: IntArray) -> FloatArray:
    """`(..., classes)`; 0 of a class that is neither there nor predicted."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    total = counts.sum(axis=-1) + counts.sum(axis=-2)
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 0.0)


def _macro_f1(gold: IntArray, predicted: IntArray, n_classes: int) -> FloatArray:
    """The mean over the classes that are there or predicted, as in scikit-learn: with any other,
    samples of rows that miss a rare class would say more of it than of the predictions."""
    counts = confusion(gold, predicted, n_classes)
    n_known = ((counts.sum(axis=-1) + counts.sum(axis=-2)) > 0).sum(axis=-1)
    mean: FloatArray = _f1(counts).sum(axis=-1) / n_known
    return mean


def _mcc(gold: IntArray, predicted: IntArray, n_classes: int) -> FloatArray:
    """Gorodkin (2004), equation 8; 0 where either side is of one class only."""
    counts = confusion(gold, predicted, n_classes).astype(np.float64)
    n = counts.sum(axis=(-2, -1))
    hits = np.trace(counts, axis1=-2, axis2=-1)
    true, called = counts.sum(axis=-1), counts.sum(axis=-2)
    above = hits * n - (true * called).sum(axis=-1)
    below = np.sqrt((n**2 - (called**2).sum(-1)) * (n**2 - (true**2).sum(-1)))
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _accuracy),
        Metric("macro-f1", _macro_f1),
        Metric("mcc", _mcc),
    )
}


def metric_names() -> list[str]:
    return list(METRICS)


def metric_named(name: str) -> Metric:
    """Raises `UsageError` with the nearest name."""
    found = METRICS.get(name.replace("_", "-"))
    if found is None:
        raise unknown("metric", name, METRICS)
    return found


def per_class(gold: IntArray, predicted: IntArray, n_classes: int) -> list[dict[str, float]]:
    """Precision, recall, F1 and number of rows of each class; 0 where nothing was predicted."""
    counts = confusion(gold, predicted, n_classes)
    hits, true, called = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    f1 = _f1(counts)
    return [
        {
            "precision": float(hits[c] / called[c]) if called[c] else 0.0,
            "recall": float(hits[c] / true[c]) if true[c] else 0.0,
            "f1": float(f1[c]),
            "rows": int(true[c]),
        }
        for c in range(n_classes)
    ]
