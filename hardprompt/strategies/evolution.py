"""Evolution: prompts that cross and mutate, grow and shrink, the better ones surviving."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of, share
from hardprompt.strategies.fluent import drawn_tokens, first_prompts
from hardprompt.strategies.probe import Probe
from hardprompt.types import EMPTY, Batch, BoolArray, Feedback, FloatArray, IntArray

TRIES = 20  # broods until children that were seen before are given up
CROSSOVERS = ("uniform", "one-point", "two-point")


@dataclass(kw_only=True)
class Evolution(Strategy):
    """Cross and mutate the best prompts found so far; lengths vary where they may.

    A genetic algorithm with tournament selection and no duplicates (Eiben & Smith, 2015,
    chapters 4-5). A change takes a neighbour of the token in the model's embeddings, a token that
    the model itself would write there, or any. Of the children, all measured on `probe` examples,
    the best `keep` are measured on all. They compete with all of the population, or replace it but
    for its `elites`. After `patience` generations without a better prompt, another population
    begins.
    """

    name: ClassVar[str] = "evolution"
    population: int = 12
    children: int = 24  # of a generation
    probe: int = 8  # examples that these are measured on first; 0: all of them on all
    keep: int = 4  # children measured on all examples after the probe
    patience: int = 8  # generations without a better prompt, after which others begin
    elites: int | None = None  # best that outlive a generation; None: whoever is good enough
    tournament: int = 3
    crossover: str = "uniform"  # or one-point, two-point
    mutation: float = 0.1  # chance of a place to change; one does at least
    near: float = 0.4  # share of changes to one of the `neighbours`
    neighbours: int = 16
    fluent: float = 0.3  # share of changes, and of first prompts, that the model writes
    likely: int = 96  # tokens that the model finds likeliest, of which its own are drawn
    resize: float = 0.3  # chance of a child to gain or lose a token, where lengths may vary

    def __post_init__(self) -> None:
        at_least(2, population=self.population)
        at_least(1, children=self.children, tournament=self.tournament)
        at_least(1, keep=self.keep, patience=self.patience)
        at_least(1, neighbours=self.neighbours, likely=self.likely)
        share(mutation=self.mutation, near=self.near, fluent=self.fluent, resize=self.resize)
        at_least(0, probe=self.probe)
        if self.elites is not None:
            at_least(0, elites=self.elites)
        one_of(CROSSOVERS, crossover=self.crossover)
        for name, part in (("keep", "probe"), ("neighbours", "near"), ("likely", "fluent")):
            counts_with(self, f"{part} above 0", getattr(self, part) > 0, name)

    def search(self) -> Script:
        self._seen: set[bytes] = set()
        first = first_prompts(self.space, self.rng, self.population, self.fluent, self.likely)
        ids = np.unique((yield from first), axis=0)
        while True:
            yield from self._evolve(ids)
            ids = np.unique(self.space.random(self.rng, self.population), axis=0)

    def _evolve(self, ids: IntArray) -> Script:
        """Generations from these prompts on, until `patience` of them gained nothing."""
        self._seen.update(row.tobytes() for row in ids)
        told = yield Batch(ids=ids)
        loss, stale = told.trusted(), 0
        probe = Probe(self.space, self.rng, self.probe, self.keep)
        while stale < self.patience:
            bred = yield from self._children(ids, loss)
            children = yield from probe.best(bred)
            # Who was only probed may be born again, when other examples may speak for it.
            self._seen -= {row.tobytes() for row in bred} - {row.tobytes() for row in children}
            before, stale = np.nanmin(loss, initial=np.inf), stale + 1
            if len(children):
                bar = np.full(len(children), self._bar(loss))
                told = yield Batch(ids=children, bar=bar)
                ids, loss = self._survivors(ids, loss, children, told.trusted())
            if np.nanmin(loss, initial=np.inf) < before:
                stale = 0

    def _bar(self, loss: FloatArray) -> float:
        """A child worse than the worst survivor cannot enter, however much worse."""
        full = len(loss) >= self.population and np.isfinite(loss).all()
        return float(loss.max()) if full and self.elites is None else np.inf

    def _survivors(
        self, ids: IntArray, loss: FloatArray, children: IntArray, theirs: FloatArray
    ) -> tuple[IntArray, FloatArray]:
        """The next population: by loss alone, or elites before children before the others."""
        old, new = np.zeros(len(ids)), np.zeros(len(children))
        if self.elites is not None:
            old, new = np.full(len(ids), 2), np.ones(len(children))
            old[np.argsort(loss, kind="stable")[: self.elites]] = 0
        ids, loss = np.concatenate([ids, children]), np.append(loss, theirs)
        order = np.lexsort((loss, np.append(old, new)))[: self.population]  # NaN last
        return ids[order], loss[order]

    def _children(self, ids: IntArray, loss: FloatArray) -> Generator[Batch, Feedback, IntArray]:
        """Prompts never asked before; random ones where nothing new is bred any more."""
        fresh: list[IntArray] = []
        for _ in range(TRIES):
            for row in (yield from self._brood(ids, loss, self.children - len(fresh))):
                if row.tobytes() not in self._seen:
                    self._seen.add(row.tobytes())
                    fresh.append(row)
            if len(fresh) == self.children:
                break
        return np.array(fresh) if fresh else self.space.random(self.rng, self.children)

    def _brood(
        self, ids: IntArray, loss: FloatArray, n: int
    ) -> Generator[Batch, Feedback, IntArray]:
        pairs = [(self._parent(ids, loss), self._parent(ids, loss)) for _ in range(n)]
        crossed = [cross(self.rng, self.crossover, a, b) for a, b in pairs]
        rows = self.space.canonical(np.array(crossed))
        changes = self.rng.random(rows.shape) < self.mutation
        for row, change in zip(rows, changes, strict=True):
            if self.space.shortest < self.space.length and self.rng.random() < self.resize:
                resize(self.rng, self.space, row, change)
            elif (places := np.flatnonzero(row != EMPTY)).size:
                change[self.rng.choice(places)] = True
        rows = yield from self._mutated(rows, changes & (rows != EMPTY))
        # Halves of two prompts may be too short together.
        return self.space.complete(self.rng, rows)

    def _parent(self, ids: IntArray, loss: FloatArray) -> IntArray:
        rivals = self.rng.integers(len(ids), size=self.tournament)
        winner = rivals[np.argsort(loss[rivals], kind="stable")[0]]
        parent: IntArray = ids[winner]
        return parent

    def _mutated(self, rows: IntArray, changes: BoolArray) -> Generator[Batch, Feedback, IntArray]:
        """The rows with other tokens at the places to change."""
        tokens = self.rng.choice(self.space.tokens, size=rows.shape)
        source = self.rng.random(rows.shape)
        near = changes & (source < self.near)
        tokens[near] = self._neighbours(rows[near])
        numbers, places = np.nonzero(changes & ~near & (source < self.near + self.fluent))
        if len(numbers):
            drawn = yield from drawn_tokens(
                self.space, self.rng, rows[numbers], places, 1, self.likely
            )
            tokens[numbers, places] = drawn[:, 0]
        return np.where(changes, tokens, rows)

    def _neighbours(self, tokens: IntArray) -> IntArray:
        """For each token one of its nearest by cosine, itself left out where there are others."""
        lists = self.space.nearest(self.space.embeddings[tokens], self.neighbours + 1)
        width = lists.shape[1]
        column = self.rng.integers(min(1, width - 1), width, size=len(lists))
        drawn: IntArray = lists[np.arange(len(lists)), column]
        return drawn


def cross(rng: np.random.Generator, how: str, a: IntArray, b: IntArray) -> IntArray:
    """`(k,)` places of one prompt and, from the cut on, or between the cuts, or here and there,
    those of another."""
    k = len(a)
    if how == "uniform":
        second = rng.random(k) < 0.5
    elif how == "one-point":
        second = np.arange(k) >= rng.integers(1, max(k, 2))
    else:
        low, high = np.sort(rng.choice(k + 1, size=2, replace=False))
        second = (np.arange(k) >= low) & (np.arange(k) < high)
    return np.where(second, b, a)


def resize(rng: np.random.Generator, space: SearchSpace, row: IntArray, change: BoolArray) -> None:
    """Inserts a token, which shifts what follows in its slot, or deletes one; in place.

    What is inserted is marked in `change`. Nothing happens where lengths forbid it.
    """
    ends = np.cumsum(space.slots)
    open_slots = [slot for slot, end in enumerate(ends) if row[end - 1] == EMPTY]
    filled = np.flatnonzero(row != EMPTY)
    if open_slots and rng.random() < 0.5:
        slot = rng.choice(open_slots)
        start, end = ends[slot] - space.slots[slot], ends[slot]
        place = start + rng.integers((row[start:end] != EMPTY).sum() + 1)
        for part in (row, change):
            part[place + 1 : end] = part[place : end - 1].copy()
        row[place], change[place] = rng.choice(space.tokens), True
    elif len(filled) > space.shortest:
        place = rng.choice(filled)
        end = ends[np.searchsorted(ends, place, side="right")]
        for part in (row, change):
            part[place : end - 1] = part[place + 1 : end].copy()
        row[end - 1], change[end - 1] = EMPTY, False
