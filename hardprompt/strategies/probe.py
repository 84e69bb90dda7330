"""A first look at many candidates on few examples, so that only the best cost a measurement."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.types import Batch, Feedback, IntArray


@dataclass(frozen=True)
class Probe:
    """Candidates are measured on a sample of `examples`; the best `keep` go on.

    One round of successive halving (Karnin et al., 2013, algorithm 1), every time with another
    sample: no sample can be learned by heart, and what goes on is measured on all examples. Where
    a sample is half of them or more, or is 0, all candidates go on at once.
    """

    space: SearchSpace
    rng: np.random.Generator
    examples: int
    keep: int

    def price(self, n: int) -> float:
        """Rows that n candidates cost, those that go on on all examples included."""
        if not self._serves(n):
            return n
        return n * self.examples / self.space.n_examples + self.keep

    def best(self, rows: IntArray) -> Generator[Batch, Feedback, IntArray]:
        """`(n, length)` candidates -> those that go on, in their order."""
        if not self._serves(len(rows)):
            return rows
        sample = self.space.sample(self.rng, self.examples)
        told = yield Batch(ids=rows, examples=sample, keep=self.keep)
        best = np.sort(told.order()[: self.keep])
        return rows[best[np.isfinite(told.loss[best])]]

    def _serves(self, n: int) -> bool:
        return n > self.keep and 0 < 2 * self.examples < self.space.n_examples
