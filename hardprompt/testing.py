"""Tools to test strategies without a model; shipped, so that plug-in authors run our tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray, Proposals


def planted_space(
    vocabulary: int = 60,
    length: int = 4,
    *,
    dim: int = 8,
    n_examples: int = 16,
    min_length: int | None = None,
    slots: tuple[int, ...] | None = None,
    seed: int = 0,
) -> SearchSpace:
    """A space of random embeddings in which half of the ids may be used."""
    rng = np.random.default_rng(seed)
    return SearchSpace(
        tokens=np.arange(0, 2 * vocabulary, 2, dtype=np.int64),
        slots=slots or (length,),
        embeddings=rng.normal(size=(2 * vocabulary, dim)).astype(np.float32),
        n_examples=n_examples,
        min_length=min_length,
    )


@dataclass
class PlantedObjective:
    """A smooth bowl around one hidden prompt, seen through noisy examples; its loss is >= 0.

    The loss of a prompt is the mean over its positions of the squared distance between its
    embeddings and those of the hidden prompt (an EMPTY position counts as the zero vector),
    times a positive weight per example. `broken` is the share of rows that come back as NaN.
    """

    space: SearchSpace
    seed: int = 1
    broken: float = 0.0
    measured: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.hidden = rng.choice(self.space.tokens, size=self.space.length)
        self.weights = rng.uniform(0.5, 1.5, size=self.space.n_examples)

    def measure(self, batch: Batch) -> Feedback:
        points = self._points(batch)
        k = points.shape[1]
        target = self.space.embeddings[self.hidden].astype(np.float64)
        gap = points - target[None, :k]
        rest = (target[k:] ** 2).sum()  # a shorter row counts as EMPTY to the right
        weight = self.weights if batch.examples is None else self.weights[batch.examples]
        scale = weight.mean() / self.space.length
        loss = ((gap**2).sum(axis=(1, 2)) + rest) * scale
        gradient = (2 * gap * scale).astype(np.float32) if batch.wants_gradient else None
        if gradient is not None and batch.ids is not None:
            gradient[batch.ids == EMPTY] = 0.0
        exact = np.ones(len(batch), dtype=bool)
        if batch.bar is not None:
            exact &= ~(loss > batch.bar)
        if batch.keep is not None and len(batch) > batch.keep:
            exact &= loss <= np.sort(loss)[batch.keep - 1]
        broken = self._broken(batch)
        loss = np.where(broken, np.nan, loss)
        if gradient is not None:
            gradient[broken] = np.nan
        self.measured += len(batch)
        return Feedback(loss, exact | broken, gradient, self._proposals(batch))

    def _points(self, batch: Batch) -> FloatArray:
        if batch.embeds is not None:
            return batch.embeds.astype(np.float64)
        assert batch.ids is not None
        points = self.space.embeddings[np.maximum(batch.ids, 0)].astype(np.float64)
        points[batch.ids == EMPTY] = 0.0
        return points

    def _broken(self, batch: Batch) -> np.ndarray:
        rows = batch.ids if batch.ids is not None else batch.embeds
        assert rows is not None
        draws = [np.random.default_rng(list(row.tobytes())).random() for row in rows]
        return np.array(draws) < self.broken

    def _proposals(self, batch: Batch) -> Proposals | None:
        if not batch.wants_proposals or batch.ids is None:
            return None
        ids: IntArray = np.tile(self.space.tokens[: batch.wants_proposals], (len(batch), 1))
        return Proposals(ids, np.tile(-np.log1p(np.arange(ids.shape[1])), (len(batch), 1)))
