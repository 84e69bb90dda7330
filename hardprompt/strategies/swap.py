"""Gradient-guided token swaps: HotFlip, AutoPrompt and GCG by their fields."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.strategies.fluent import likely_tokens, write_prompts
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

TRIES = 20  # draws before a swap that was tried before is let through


@dataclass(kw_only=True)
class Swap(Strategy):
    """Replace tokens where the gradient promises most, several at once, from several starts.

    A step takes the gradient of the loss at the best prompt, ranks every token of every place
    by its first-order change (HotFlip, Ebrahimi et al., 2018, eq. 10; AutoPrompt, Shin et al.,
    2020, eq. 2), and measures `width` prompts with swaps drawn from the `top_k` of a place (GCG,
    Zou et al., 2023, algorithm 1). A share of the swaps, `fluent`, is drawn from shorter lists: of
    the `likely` tokens that the model itself would write in a place, those of the best slope. The
    best single swaps of a step are then joined one after the other (I-GCG, Jia et al., 2024,
    section 3.3). Prompts without a gain for `patience` steps give way to the next of the `buffer`,
    and that to a new start.

    HotFlip: `width=1, top_k=1, starts=1`; AutoPrompt: `width=100, top_k=100, one_place=True`;
    GCG: `width=512, top_k=256, buffer=1`; all with `fluent=0, explore=0, merge=0, replace=1`.
    """

    name: ClassVar[str] = "swap"
    width: int = 12  # prompts measured a step
    top_k: int = 32  # tokens of a place that may come
    replace: int = 2  # most tokens changed at once
    buffer: int = 6  # prompts worth going on from
    starts: int = 16  # prompts measured before the first step
    momentum: float = 0.0  # of the gradient over steps (MAC, Zhang & Wei, 2024)
    merge: int = 3  # joined swaps measured a step
    explore: float = 0.1  # share of swaps drawn from the whole vocabulary
    fluent: float = 0.5  # share of swaps, and of first prompts, that the model itself would write
    likely: int = 96  # tokens of a place that the model finds likeliest
    patience: int = 2
    one_place: bool = False  # all swaps of a step at one random place

    def __post_init__(self) -> None:
        at_least(1, width=self.width, top_k=self.top_k, replace=self.replace, buffer=self.buffer)
        at_least(1, starts=self.starts, patience=self.patience)
        at_least(1, likely=self.likely)
        at_least(0, momentum=self.momentum, merge=self.merge, explore=self.explore)
        at_least(0, fluent=self.fluent)

    def search(self) -> Script:
        self._seen: set[bytes] = set()
        while True:
            pool = np.unique((yield from self._first()), axis=0)
            self._seen.update(row.tobytes() for row in pool)
            told = yield Batch(ids=pool)
            self._pool, self._loss = pool, told.trusted()
            self._stale = np.zeros(len(pool), dtype=np.int64)
            self._shrink()
            yield from self._climb()

    def _first(self) -> Generator[Batch, Feedback, IntArray]:
        """The seeds, then prompts that the model writes and random ones."""
        first = self.space.starts(self.rng, self.starts)
        n_seeds = 0 if self.space.seeds is None else len(self.space.seeds)
        n = round(self.fluent * max(0, self.starts - n_seeds))
        if not n:
            return first
        written = yield from write_prompts(self.space, self.rng, n, self.likely)
        return np.concatenate([first[: len(first) - n], written])

    def _climb(self) -> Script:
        """Steps until every prompt of the buffer is exhausted."""
        average: FloatArray | None = None
        while (live := np.flatnonzero(self._stale < self.patience)).size:
            best = live[np.argsort(self._loss[live], kind="stable")[0]]
            parent, before = self._pool[best], self._loss[best]
            self._stale[best] += 1
            told = yield Batch(ids=parent[None], wants_gradient=True)
            if told.gradient is None or not np.isfinite(told.gradient).all():
                continue
            gradient = told.gradient[0]
            if average is not None and average.shape == gradient.shape:
                gradient = self.momentum * average + (1 - self.momentum) * gradient
            average = gradient
            gained = yield from self._step(parent, before, self.space.slope(gradient))
            if gained:
                self._stale[:] = 0

    def _step(
        self, parent: IntArray, before: float, slope: FloatArray
    ) -> Generator[Batch, Feedback, bool]:
        top = np.argsort(slope, axis=1, kind="stable")[:, : self.top_k]
        lists = [self.space.tokens[order] for order in top]
        readable = (yield from self._readable(parent, slope)) if self.fluent else lists
        rows = self._swaps(parent, lists, readable)
        told = yield Batch(ids=rows, bar=self._bar(len(rows)))
        loss = told.trusted()
        joined = self._joined(parent, before, rows, loss)
        self._enter(rows, loss)
        if len(joined):
            told = yield Batch(ids=joined, bar=self._bar(len(joined)))
            loss = np.append(loss, told.trusted())
            self._enter(joined, told.trusted())
        return bool(np.nanmin(np.append(loss, np.inf)) < before)

    def _readable(
        self, parent: IntArray, slope: FloatArray
    ) -> Generator[Batch, Feedback, list[IntArray]]:
        """For each place, the best by slope of the tokens that the model would write there."""
        lists = []
        for place in range(self.space.length):
            ids, _ = yield from likely_tokens(self.space, parent[None], place, self.likely)
            values = slope[place, np.searchsorted(self.space.tokens, ids[0])]
            few = max(1, self.top_k // 2)  # already a choice: half as many as of all tokens
            lists.append(ids[0, np.argsort(values, kind="stable")[:few]])
        return lists

    def _swaps(self, parent: IntArray, lists: list[IntArray], readable: list[IntArray]) -> IntArray:
        places = np.flatnonzero(parent != EMPTY)
        if self.one_place:
            places = places[[self.rng.integers(len(places))]]
        rows = []
        for number in range(self.width):
            for _ in range(TRIES):
                row = self._swap(parent, lists, readable, places, number)
                if row.tobytes() not in self._seen:
                    break
            self._seen.add(row.tobytes())
            rows.append(row)
        return np.unique(np.array(rows, dtype=np.int64), axis=0)

    def _swap(
        self,
        parent: IntArray,
        lists: list[IntArray],
        readable: list[IntArray],
        places: IntArray,
        number: int,
    ) -> IntArray:
        most = min(self.replace, len(places))
        # Half of the rows change one place, the rest up to `replace`.
        count = 1 if number % 2 == 0 else int(self.rng.integers(1, most + 1))
        row = parent.copy()
        for place in self.rng.choice(places, size=count, replace=False):
            draw = self.rng.random()
            if draw < self.explore:
                row[place] = self.rng.choice(self.space.tokens)
            elif draw < self.explore + self.fluent:
                row[place] = self.rng.choice(readable[place])
            else:
                row[place] = self.rng.choice(lists[place])
        return row

    def _joined(
        self, parent: IntArray, before: float, rows: IntArray, loss: FloatArray
    ) -> IntArray:
        """The best swaps of this step applied one after the other, best first."""
        single = (rows != parent).sum(axis=1) == 1
        better = np.flatnonzero(single & (loss < before))
        row, joined = parent.copy(), []
        for number in better[np.argsort(loss[better], kind="stable")]:
            place = int(np.flatnonzero(rows[number] != parent)[0])
            if row[place] != parent[place]:
                continue
            row = row.copy()
            row[place] = rows[number, place]
            joined.append(row)
        fresh = [row for row in joined[1 : self.merge + 1] if row.tobytes() not in self._seen]
        self._seen.update(row.tobytes() for row in fresh)
        return np.array(fresh, dtype=np.int64).reshape(len(fresh), self.space.length)

    def _bar(self, n: int) -> FloatArray:
        full = len(self._loss) >= self.buffer and np.isfinite(self._loss).all()
        return np.full(n, self._loss.max() if full else np.inf)

    def _enter(self, rows: IntArray, loss: FloatArray) -> None:
        fit = np.isfinite(loss)
        self._pool = np.concatenate([self._pool, rows[fit]])
        self._loss = np.append(self._loss, loss[fit])
        self._stale = np.append(self._stale, np.zeros(int(fit.sum()), dtype=np.int64))
        self._shrink()

    def _shrink(self) -> None:
        order = np.argsort(self._loss, kind="stable")[: self.buffer]  # NaN last
        order = order[np.isfinite(self._loss[order])]
        self._pool, self._loss, self._stale = (
            self._pool[order],
            self._loss[order],
            self._stale[order],
        )
