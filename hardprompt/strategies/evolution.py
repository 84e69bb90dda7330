"""Evolution: prompts that mutate and cross, the better half surviving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.types import EMPTY, Batch, FloatArray, IntArray

TRIES = 20  # draws before a child that was seen before is let through


@dataclass(kw_only=True)
class Evolution(Strategy):
    """Cross and mutate the best prompts found so far; lengths vary where they may.

    A steady-state genetic algorithm with tournament selection and uniform crossover
    (Eiben & Smith, 2015, chapters 4-5), without duplicates.
    """

    name: ClassVar[str] = "evolution"
    population: int = 24
    children: int = 12
    mutation: float = 0.25  # chance of a place to change
    tournament: int = 3

    def __post_init__(self) -> None:
        at_least(2, population=self.population)
        at_least(1, children=self.children, tournament=self.tournament)
        at_least(0, mutation=self.mutation)

    def search(self) -> Script:
        ids = np.unique(self.space.starts(self.rng, self.population), axis=0)
        self._seen = {row.tobytes() for row in ids}
        told = yield Batch(ids=ids)
        loss = told.trusted()
        while True:
            children = self._children(ids, loss)
            # A child worse than the worst survivor cannot enter, however much worse.
            full = len(ids) >= self.population and np.isfinite(loss).all()
            bar = np.full(len(children), loss.max() if full else np.inf)
            told = yield Batch(ids=children, bar=bar)
            ids = np.concatenate([ids, children])
            loss = np.append(loss, told.trusted())
            ids, first = np.unique(ids, axis=0, return_index=True)
            order = np.argsort(loss[first], kind="stable")[: self.population]  # NaN last
            ids, loss = ids[order], loss[first][order]

    def _children(self, ids: IntArray, loss: FloatArray) -> IntArray:
        rows = []
        for _ in range(self.children):
            for _ in range(TRIES):
                child = self._child(ids, loss)
                if child.tobytes() not in self._seen:
                    break
            self._seen.add(child.tobytes())
            rows.append(child)
        return np.array(rows, dtype=np.int64)

    def _child(self, ids: IntArray, loss: FloatArray) -> IntArray:
        a, b = (self._parent(ids, loss) for _ in range(2))
        child = np.where(self.rng.random(self.space.length) < 0.5, a, b)
        changes = self.rng.random(self.space.length) < self.mutation
        changes[self.rng.integers(self.space.length)] = True
        tokens = self.rng.choice(self.space.tokens, size=self.space.length)
        if self.space.shortest < self.space.length:
            tokens[self.rng.random(self.space.length) < 0.3] = EMPTY
        child = np.where(changes, tokens, child)[None]
        if not self.space.lengths_allowed(child)[0]:
            child = self.space.complete(self.rng, child)
        row: IntArray = self.space.canonical(child)[0]
        return row

    def _parent(self, ids: IntArray, loss: FloatArray) -> IntArray:
        rivals = self.rng.integers(len(ids), size=self.tournament)
        winner = rivals[np.argsort(loss[rivals], kind="stable")[0]]
        parent: IntArray = ids[winner]
        return parent
