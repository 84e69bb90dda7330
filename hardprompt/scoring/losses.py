"""What a search minimises: one number from the class log-probabilities of many examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hardprompt.errors import unknown
from hardprompt.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Loss:
    """`total(log_probs, gold, n)` over the examples seen so far, out of n.

    `log_probs` is `(rows, seen, classes)`, normalised over the classes. Where `bounded`, the
    total of a part never exceeds that of the whole, so that a row may be dropped early. The
    total is the mean of the `(rows, seen)` `terms`, ties aside; `smooth` terms also tell apart
    examples whose terms are equal.
    """

    name: str
    total: Callable[[FloatArray, IntArray, int], FloatArray]
    bounded: bool
    terms: Callable[[FloatArray, IntArray], FloatArray]
    smooth: Callable[[FloatArray, IntArray], FloatArray]


def normalise(scores: FloatArray) -> FloatArray:
    """Label log-probabilities -> log-probabilities of the classes, along the last axis."""
    peak = scores.max(axis=-1, keepdims=True)
    result: FloatArray = scores - peak - np.log(np.exp(scores - peak).sum(axis=-1, keepdims=True))
    return result


def _gold(log_probs: FloatArray, gold: IntArray) -> FloatArray:
    picked: FloatArray = np.take_along_axis(log_probs, gold[None, :, None], axis=2)[..., 0]
    return picked


def _surprises(log_probs: FloatArray, gold: IntArray) -> FloatArray:
    return -_gold(log_probs, gold)


def _errors(log_probs: FloatArray, gold: IntArray) -> FloatArray:
    errors: BoolArray = log_probs.argmax(axis=2) != gold
    return errors.astype(np.float64)


def _deficits(log_probs: FloatArray, gold: IntArray) -> FloatArray:
    others = log_probs.copy()
    np.put_along_axis(
        others, np.broadcast_to(gold[None, :, None], (*log_probs.shape[:2], 1)), -np.inf, axis=2
    )
    lead: FloatArray = _gold(log_probs, gold) - others.max(axis=2)
    return -lead


def _shortfalls(log_probs: FloatArray, gold: IntArray) -> FloatArray:
    """1 - reward / 200 with RLPrompt's reward (Deng et al., 2022), 0 to 1.9.

    The lead of the right class in probability counts 200 where it leads and 180 where it does
    not; a tie is no lead, whichever class is listed first.
    """
    lead = -_deficits(np.exp(log_probs), gold)
    shortfall: FloatArray = 1 - lead * np.where(lead > 0, 1.0, 180 / 200)
    return shortfall


def _nll(log_probs: FloatArray, gold: IntArray, n: int) -> FloatArray:
    total: FloatArray = _surprises(log_probs, gold).sum(axis=1) / n
    return total


def _accuracy(log_probs: FloatArray, gold: IntArray, n: int) -> FloatArray:
    # Ties of whole errors are broken by the likelihood; monotone in both sums.
    errors, nll = _errors(log_probs, gold).sum(axis=1), _nll(log_probs, gold, n)
    total: FloatArray = (errors + nll / (1 + nll)) / n
    return total


def _margin(log_probs: FloatArray, gold: IntArray, n: int) -> FloatArray:
    total: FloatArray = _deficits(log_probs, gold).sum(axis=1) / n
    return total


def _piecewise(log_probs: FloatArray, gold: IntArray, n: int) -> FloatArray:
    total: FloatArray = _shortfalls(log_probs, gold).sum(axis=1) / n
    return total


LOSSES = {
    loss.name: loss
    for loss in (
        # mean negative log-likelihood of the right class
        Loss("nll", _nll, bounded=True, terms=_surprises, smooth=_surprises),
        # share of errors, ties by likelihood
        Loss("accuracy", _accuracy, bounded=True, terms=_errors, smooth=_surprises),
        # mean lead of the right class, negated
        Loss("margin", _margin, bounded=False, terms=_deficits, smooth=_deficits),
        # RLPrompt's reward, turned so that 0 is best and terms are never negative
        Loss("piecewise", _piecewise, bounded=True, terms=_shortfalls, smooth=_shortfalls),
    )
}


def loss_named(name: str) -> Loss:
    """Raises `UsageError` with the nearest name."""
    if name not in LOSSES:
        raise unknown("objective", name, LOSSES)
    return LOSSES[name]
