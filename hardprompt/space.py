"""All that a strategy may know about a search: no model, no text, no labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np

from hardprompt.strata import even_order
from hardprompt.types import EMPTY, Batch, BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class SearchSpace:
    """Prompts of `min_length` to `length` tokens out of `tokens`, in one or more slots."""

    tokens: IntArray  # (v,) allowed ids, ascending
    slots: tuple[int, ...]  # most tokens of each free slot
    embeddings: FloatArray  # (V, dim) the model's input embeddings
    n_examples: int
    min_length: int | None = None  # fewest tokens in all; None: exactly `length`
    seeds: IntArray | None = None  # (m, length) prompts to begin with; may hold other ids
    own_seeds: int = 0  # how many of these, the first, a user wrote: they are all to be tried
    gradient_price: float = 3.0  # rows that one row with its gradient costs
    budget: float = float("inf")  # rows that may be measured in all
    strata: IntArray | None = None  # (n_examples,) groups of which a sample has each its share

    @property
    def length(self) -> int:
        """Most tokens of a prompt, over all slots."""
        return sum(self.slots)

    @property
    def shortest(self) -> int:
        return self.length if self.min_length is None else self.min_length

    @property
    def n_seeds(self) -> int:
        return 0 if self.seeds is None else len(self.seeds)

    @property
    def size(self) -> int:
        """How many prompts there are."""
        return self._size_of(len(self.tokens))

    def fitting(self, most: float) -> int:
        """Of how many tokens there are at most so many prompts; 1 where there are more anyway."""
        v = int(most ** (1 / self.length)) + 1  # a root is rounded
        while v > 1 and self._size_of(v) > most:
            v -= 1
        return v

    def _size_of(self, v: int) -> int:
        """How many prompts v tokens make, those of a length being shared out over all slots."""
        ways = [1]  # to have 0, 1, ... tokens in the slots so far
        for width in self.slots:
            ways = [sum(ways[max(0, n - width) : n + 1]) for n in range(len(ways) + width)]
        return sum(ways[n] * v**n for n in range(self.shortest, self.length + 1))

    @property
    def size_text(self) -> str:
        """The size for a reader; long prompts have more than a float holds."""
        return f"{Decimal(self.size):.1e}"

    @cached_property
    def _table(self) -> FloatArray:
        return np.ascontiguousarray(self.embeddings[self.tokens], dtype=np.float32)

    @cached_property
    def _directions(self) -> FloatArray:
        norm = np.linalg.norm(self._table, axis=1, keepdims=True)
        directions: FloatArray = self._table / np.maximum(norm, 1e-12)
        return directions

    def canonical(self, ids: IntArray) -> IntArray:
        """`(n, k)` -> `(n, length)`: one spelling a prompt, EMPTY to the right of each slot."""
        out = np.full((len(ids), self.length), EMPTY, dtype=np.int64)
        at = 0
        for width in self.slots:
            part = ids[:, at : at + width]
            order = np.argsort(part == EMPTY, axis=1, kind="stable")
            out[:, at : at + part.shape[1]] = np.take_along_axis(part, order, axis=1)
            at += width
        return out

    def slope(self, gradient: FloatArray) -> FloatArray:
        """`(k, dim)` -> `(k, v)`: first-order change of the loss, up to a constant per position.

        HotFlip (Ebrahimi et al., 2018, eq. 10): the inner product of gradient and embedding.
        """
        slope: FloatArray = gradient @ self._table.T
        return slope

    def nearest(self, points: FloatArray, k: int = 1) -> IntArray:
        """`(..., dim)` -> `(..., k)`: allowed ids by cosine, nearest first (PEZ, algorithm 1)."""
        norm = np.linalg.norm(points, axis=-1, keepdims=True)
        cosine = (points / np.maximum(norm, 1e-12)) @ self._directions.T
        return self.tokens[largest(cosine, k)]

    def random(self, rng: np.random.Generator, n: int) -> IntArray:
        """`(n, length)` prompts drawn token by token, of every allowed length alike."""
        ids = rng.choice(self.tokens, size=(n, self.length))
        if self.shortest < self.length:
            lengths = rng.integers(self.shortest, self.length + 1, size=n)
            ids = self._shorten(rng, ids, lengths)
        return self.canonical(ids)

    def starts(self, rng: np.random.Generator, n: int) -> IntArray:
        """`(n, length)` first prompts: the seeds, holes filled, then random ones."""
        random = self.random(rng, n)
        if self.seeds is None or not self.n_seeds:
            return random
        return np.concatenate([self.complete(rng, self.seeds), random])[:n]

    def complete(self, rng: np.random.Generator, ids: IntArray) -> IntArray:
        """Fills EMPTY with random tokens, to the left inside a slot, until long enough.

        The given words stay where they bear most: at the end of their slot.
        """
        out = self.canonical(ids)
        for row in out:
            for low, high in self._bounds():
                missing = int(self.shortest - (row != EMPTY).sum())
                holes = int((row[low:high] == EMPTY).sum())
                fill = min(max(missing, 0), holes)
                if fill:
                    words = row[low:high][row[low:high] != EMPTY]
                    new = np.concatenate([rng.choice(self.tokens, size=fill), words])
                    row[low : low + len(new)] = new
        return out

    def lengths_allowed(self, ids: IntArray) -> BoolArray:
        """`(n,)` whether each prompt is long enough."""
        long_enough: BoolArray = (ids != EMPTY).sum(axis=1) >= self.shortest
        return long_enough

    def split(self, ids: IntArray) -> tuple[tuple[int, ...], ...]:
        """`(length,)` one prompt -> the tokens of each slot, EMPTY left out."""
        parts = [ids[low:high] for low, high in self._bounds()]
        return tuple(tuple(int(token) for token in part if token != EMPTY) for part in parts)

    def join(self, parts: Sequence[Sequence[int]]) -> IntArray:
        """The tokens of each slot -> `(length,)` one prompt: what `split` takes apart."""
        row = np.full(self.length, EMPTY, dtype=np.int64)
        for part, (low, high) in zip(parts, self._bounds(), strict=True):
            row[low:high][: len(part)] = part
        return row

    def sample(self, rng: np.random.Generator, n: int) -> IntArray:
        """`(n,)` examples, ascending, with its share of every stratum; all where n is more."""
        strata = np.zeros(self.n_examples, dtype=np.int64) if self.strata is None else self.strata
        return np.sort(even_order(strata, rng)[:n])

    def price(self, batch: Batch) -> float:
        """Rows that one row of this batch costs: the one place that knows it."""
        share = 1.0 if batch.examples is None else len(batch.examples) / self.n_examples
        return share * (self.gradient_price if batch.wants_gradient else 1.0)

    def _bounds(self) -> list[tuple[int, int]]:
        ends = np.cumsum(self.slots)
        return [(int(end - width), int(end)) for end, width in zip(ends, self.slots, strict=True)]

    def _shorten(self, rng: np.random.Generator, ids: IntArray, lengths: IntArray) -> IntArray:
        ranks = rng.random(ids.shape).argsort(axis=1).argsort(axis=1)
        return np.where(ranks < lengths[:, None], ids, EMPTY)


def largest(values: FloatArray, k: int) -> IntArray:
    """`(..., v)` -> `(..., k)`: where the largest are, the first of equals first."""
    if k == 1:  # the usual case, for which no order of all is needed
        only: IntArray = values.argmax(axis=-1)[..., None]
        return only
    return np.argsort(-values, axis=-1, kind="stable")[..., :k]
