"""What the first examples of a common order say about a prompt's mean loss over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from hardprompt.strata import even_order
from hardprompt.types import FloatArray, IntArray

LEVEL = 0.05  # chance, at most and at each look, that a row exactly at its bar is given up
REFERENCES = 8  # random prompts, measured in full, that show which examples go together
PATTERNS = 3  # of the references that a prompt's losses are explained by
PRIOR = 4.0  # degrees of freedom that the references' scatter adds to a prompt's own
FIRST, GROWTH = 8, 2**0.5  # examples at the first look, and how they grow from look to look
FEWEST = 16  # examples below which there is nothing to forecast
ORDERS = 100  # drawn, to take the most even


@dataclass(frozen=True)
class Forecast:
    """A prompt's losses as its numbers times common patterns, plus noise.

    How hard an example is, and how it answers to a shift towards a label, are patterns that many
    prompts share; the references show them. Least squares over the examples seen gives a prompt's
    numbers, and with them what the others will be. The noise is what the prompt's own residuals
    show, steadied by those of the references (a moderated t; Smyth, 2004), because eight residuals
    may be small by chance.
    """

    order: IntArray  # (n,) examples, the first to be seen first
    basis: FloatArray  # (n, 1 + patterns) in that order
    variance: float  # of what the basis leaves unexplained in a loss of the references

    @classmethod
    def learn(
        cls, losses: FloatArray, smooth: FloatArray, gold: IntArray, rng: np.random.Generator
    ) -> Forecast:
        """From `(m, n)` losses of references, and the same in a form that is never flat."""
        m, n = losses.shape
        _, size, found = np.linalg.svd(
            smooth - smooth.mean(axis=1, keepdims=True), full_matrices=False
        )
        count = min(PATTERNS, m - 1, int((size > 1e-9 * size[0]).sum()))
        patterns = found[:count].T * np.sqrt(n)
        basis = np.column_stack([np.ones(n), patterns])
        rest = losses.T - basis @ (np.linalg.pinv(basis) @ losses.T)
        # The patterns were fitted to the same losses: so many rows fewer are left to err.
        freedom = (m - count) * (n - 1 - count)
        order = common_order(gold, patterns, rng)
        return cls(order, basis[order], float((rest**2).sum() / freedom))

    def within(self, examples: IntArray | None) -> Forecast:
        """The same for some of the examples."""
        if examples is None:
            return self
        kept = np.isin(self.order, examples)
        return replace(self, order=self.order[kept], basis=self.basis[kept])

    def blocks(self) -> list[IntArray]:
        """The examples to see between one look and the next."""
        return np.split(self.order, looks(len(self.order)))

    def limits(self, losses: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
        """From `(r, seen)` losses: what the mean of each row lies above but for a chance of
        `level`, and its estimate plus one standard error."""
        n, seen = len(self.order), losses.shape[1]
        known = self.basis[:seen]
        inverse = np.linalg.pinv(known)
        weights = self.basis[seen:].sum(axis=0) @ inverse
        residuals = losses - losses @ inverse.T @ known.T
        freedom = seen - np.linalg.matrix_rank(known) + PRIOR
        variance = ((residuals**2).sum(axis=1) + PRIOR * self.variance) / freedom
        mean = (losses.sum(axis=1) + losses @ weights) / n
        error = np.sqrt(variance * (n - seen + weights @ weights)) / n
        # A prompt that is given up at the first looks is lost for little: more caution there.
        level *= min(1.0, 4 * seen / n)
        return mean + stdtrit(freedom, level) * error, mean + error


def looks(n: int) -> list[int]:
    """After how many of n examples the rows are looked at."""
    found, seen = [], float(FIRST)
    while round(seen) < n:
        found.append(round(seen))
        seen *= GROWTH
    return found


def common_order(gold: IntArray, patterns: FloatArray, rng: np.random.Generator) -> IntArray:
    """All examples in a random order, every beginning of which has its share of each class, and
    is like the whole in the `(n, k)` patterns (rerandomisation; Morgan & Rubin, 2012)."""
    orders = [even_order(gold, rng) for _ in range(ORDERS)]
    return min(orders, key=lambda order: _unevenness(patterns[order]))


def _unevenness(patterns: FloatArray) -> float:
    """How far the sums of the beginnings are from those of the whole, which are zero."""
    at = np.array(looks(len(patterns)), dtype=np.int64)
    sums = np.cumsum(patterns, axis=0)[at - 1]
    return float(((sums**2).sum(axis=1) / at).sum())
