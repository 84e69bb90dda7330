"""Simulated annealing: prompts that walk by small edits, uphill too while it is hot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, share
from hardprompt.types import Batch, FloatArray, IntArray

TRIES = 20  # draws of an edit before one that was seen before is let through


@dataclass(kw_only=True)
class Anneal(Strategy):
    """Walk from prompt to prompt by swapping, inserting or deleting a token, without gradients.

    Several `chains` walk side by side, an edit each a step. An edit that raises the loss is taken
    with probability exp(-rise / T) (Metropolis et al., 1953; Kirkpatrick et al., 1983). T begins
    at `heat` times the spread of the first prompts' losses and falls geometrically, to `cold` times
    that when the budget ends; without a budget it stays where it began. A chain that found nothing
    better than it ever had for `patience` steps goes on from the best prompt of all.
    """

    name: ClassVar[str] = "anneal"
    chains: int = 2
    starts: int = 24  # prompts measured first; the chains begin at the best of them
    heat: float = 0.1
    cold: float = 0.01
    patience: int = 8
    resize: float = 0.3  # share of edits that insert or delete, where lengths may vary
    near: float = 0.5  # share of new tokens that are like the old one
    likest: int = 16  # tokens that count as like another, by their embeddings

    def __post_init__(self) -> None:
        at_least(1, chains=self.chains, starts=self.starts, patience=self.patience)
        at_least(1, likest=self.likest)
        at_least(0, heat=self.heat, cold=self.cold)
        share(resize=self.resize, near=self.near)
        counts_with(self, "near above 0", self.near > 0, "likest")

    def search(self) -> Script:
        n = max(self.starts, self.space.own_seeds)
        first = np.unique(self.space.starts(self.rng, n), axis=0)
        self._seen = {row.tobytes() for row in first}
        told = yield Batch(ids=first)
        loss = np.nan_to_num(told.trusted(), nan=np.inf)
        rows, loss = self._chosen(first, loss)
        hot = self.heat * self._spread(told.trusted())
        best, lowest = rows[0], loss[0]
        record, stale = loss.copy(), np.zeros(self.chains, dtype=np.int64)
        while True:
            edited = np.array([self._edit(row) for row in rows])
            now = hot * self.cold ** min(1.0, self.asked / self.space.budget)
            # The chance of acceptance is drawn first: what is above this need not be exact.
            bar = loss + now * self.rng.exponential(size=self.chains)
            told = yield Batch(ids=edited, bar=bar)
            new = told.trusted()
            taken = new <= bar  # NaN is not
            rows, loss = np.where(taken[:, None], edited, rows), np.where(taken, new, loss)
            if loss.min() < lowest:
                best, lowest = rows[loss.argmin()].copy(), loss.min()
            stale = np.where(loss < record, 0, stale + 1)
            record = np.minimum(record, loss)
            back = stale >= self.patience
            rows, loss = np.where(back[:, None], best, rows), np.where(back, lowest, loss)
            record, stale = np.where(back, lowest, record), np.where(back, 0, stale)

    def _chosen(self, rows: IntArray, loss: FloatArray) -> tuple[IntArray, FloatArray]:
        """The best of the first prompts, one for each chain; again from the best if too few."""
        order = np.resize(np.argsort(loss, kind="stable")[: self.chains], self.chains)
        return rows[order], loss[order]

    def _spread(self, loss: FloatArray) -> float:
        measured = loss[np.isfinite(loss)]
        return float(measured.std()) if len(measured) else 0.0

    def _edit(self, row: IntArray) -> IntArray:
        for _ in range(TRIES):
            edited = self._edited(row)
            if edited.tobytes() not in self._seen:
                break
        self._seen.add(edited.tobytes())
        return edited

    def _edited(self, row: IntArray) -> IntArray:
        """The row with one token swapped, inserted or deleted."""
        parts = [list(part) for part in self.space.split(row)]
        filled = [(slot, i) for slot, part in enumerate(parts) for i in range(len(part))]
        gaps = [
            (slot, i)
            for slot, (part, width) in enumerate(zip(parts, self.space.slots, strict=True))
            if len(part) < width
            for i in range(len(part) + 1)
        ]
        may_delete = len(filled) > max(1, self.space.shortest)
        resizes = (gaps or may_delete) and self.rng.random() < self.resize
        if not filled or (resizes and (not may_delete or (gaps and self.rng.random() < 0.5))):
            slot, i = gaps[self.rng.integers(len(gaps))]
            parts[slot].insert(i, int(self.rng.choice(self.space.tokens)))
        else:
            slot, i = filled[self.rng.integers(len(filled))]
            if resizes:
                del parts[slot][i]
            else:
                parts[slot][i] = self._other(parts[slot][i])
        return self.space.join(parts)

    def _other(self, token: int) -> int:
        if self.rng.random() >= self.near:
            return int(self.rng.choice(self.space.tokens))
        k = min(self.likest + 1, len(self.space.tokens))  # the likest of all is the token itself
        return int(self.rng.choice(self.space.nearest(self.space.embeddings[token], k)))
