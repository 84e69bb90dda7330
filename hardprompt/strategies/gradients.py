"""The gradient that swaps are ranked by: at a prompt, over tokens of a place, over steps."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.types import Batch, Feedback, FloatArray, IntArray

KEPT = 512  # gradients: of a large model they fill the memory, and old ones hardly come again
Told = TypeVar("Told")


def keep_latest(known: dict[bytes, Told], key: bytes, told: Told) -> Told:
    """Remembers what was told; beyond `KEPT`, what was told first is forgotten."""
    known[key] = told
    if len(known) > KEPT:
        del known[next(iter(known))]
    return told


@dataclass
class Gradients:
    """Gradients `(length, dim)`, each a running mean with those of the steps before: `momentum`
    times the mean so far and the rest of the new one (MAC, Zhang & Wei, 2024).

    With `average`, a gradient is the mean at so many prompts with a random token in the step's
    place, so that it says less of the token that stands there (ARCA, Jones et al., 2023).
    """

    space: SearchSpace
    rng: np.random.Generator
    average: int
    momentum: float
    # A prompt is gone on from more than once, and its gradient costs several rows.
    _known: dict[bytes, FloatArray | None] = field(default_factory=dict, init=False)

    def begin(self) -> None:
        self._mean: FloatArray | None = None

    def at(
        self, parent: IntArray, places: list[int]
    ) -> Generator[Batch, Feedback, FloatArray | None]:
        """None where it cannot be had."""
        new = yield from self._ask(parent, places)
        if new is None:
            return None
        if self._mean is not None:
            new = self.momentum * self._mean + (1 - self.momentum) * new
        self._mean = new
        return new

    def _ask(
        self, parent: IntArray, places: list[int]
    ) -> Generator[Batch, Feedback, FloatArray | None]:
        if not self.average:
            key = parent.tobytes()
            if key not in self._known:
                keep_latest(self._known, key, (yield from self._told(parent[None])))
            return self._known[key]
        n = min(self.average, len(self.space.tokens))
        rows = np.repeat(parent[None], n, axis=0)
        rows[:, places[0]] = self.rng.choice(self.space.tokens, n, replace=False)
        return (yield from self._told(rows))

    def _told(self, rows: IntArray) -> Generator[Batch, Feedback, FloatArray | None]:
        told = yield Batch(ids=rows, wants_gradient=True)
        if told.gradient is None:
            return None
        good = np.isfinite(told.gradient).all(axis=(1, 2))
        return told.gradient[good].mean(axis=0) if good.any() else None
