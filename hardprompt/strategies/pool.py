"""Where a search of swaps goes on from: the best prompts so far, or one prompt that walks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hardprompt.types import Batch, FloatArray, IntArray

SPREAD = 0.1  # of the first prompts' losses: the temperature that a walk begins with by default


@dataclass
class Buffer:
    """The `size` best prompts; the best goes first, and gives way after `patience` steps without
    a gain. A step with a gain makes all of them fresh again (nanoGCG's buffer)."""

    size: int
    patience: int

    def begin(self, rows: IntArray, loss: FloatArray) -> None:
        self._rows, self._loss = rows, loss
        self._stale = np.zeros(len(rows), dtype=np.int64)
        self._shrink()

    def current(self) -> tuple[IntArray, float] | None:
        """The prompt to take the next step from, and its loss; None: all are exhausted."""
        live = np.flatnonzero(self._stale < self.patience)
        if not live.size:
            return None
        self._at = int(live[np.argsort(self._loss[live], kind="stable")[0]])
        self._stale[self._at] += 1
        self._before = float(self._loss[self._at])
        return self._rows[self._at], self._before

    def give_up(self) -> None:
        """Nothing leads on from the current prompt."""
        self._stale[self._at] = self.patience

    def batch(self, rows: IntArray) -> Batch:
        """Asks for their losses as far as they may enter."""
        full = len(self._loss) >= self.size and np.isfinite(self._loss).all()
        return Batch(ids=rows, bar=np.full(len(rows), self._loss.max() if full else np.inf))

    def enter(self, rows: IntArray, loss: FloatArray) -> None:
        gained = bool((loss < self._before).any())
        fit = np.isfinite(loss)
        self._rows = np.concatenate([self._rows, rows[fit]])
        self._loss = np.append(self._loss, loss[fit])
        self._stale = np.append(self._stale, np.zeros(int(fit.sum()), dtype=np.int64))
        self._shrink()
        if gained:
            self._stale[:] = 0

    def _shrink(self) -> None:
        order = np.argsort(self._loss, kind="stable")[: self.size]  # NaN last
        order = order[np.isfinite(self._loss[order])]
        self._rows, self._loss, self._stale = (
            self._rows[order],
            self._loss[order],
            self._stale[order],
        )


@dataclass
class Walk:
    """One prompt that moves to the best of what a step measured, also where that is worse:
    always (GCG), or with probability `exp(-rise / T)`, where T falls in equal parts to zero over
    so many `steps` (the annealed acceptance of llm-attacks). It ends after `patience` steps that
    measured nothing."""

    rng: np.random.Generator
    always: bool
    temperature: float | None  # None: by the spread of the first prompts' losses
    steps: float
    keep: int  # the best of a batch that must be exact
    patience: int
    taken: int = field(default=0, init=False)

    def begin(self, rows: IntArray, loss: FloatArray) -> None:
        self._loss, self._idle = np.inf, 0
        self._next: tuple[IntArray, float] | None = None
        self.enter(rows, loss)
        if self.temperature is None and self._next is not None:
            self.temperature = SPREAD * float(np.nanstd(loss))

    def current(self) -> tuple[IntArray, float] | None:
        """Moves to where the last step led, unless that is refused; None: the walk ended."""
        if self._next is None:
            self._idle += 1
        else:
            row, loss = self._next
            if self._accepts(loss - self._loss):
                self._row, self._loss = row, loss
            self._idle, self._next = 0, None
        if self._idle >= self.patience or not np.isfinite(self._loss):
            return None
        self.taken += 1
        return self._row, self._loss

    def give_up(self) -> None:
        self._idle = self.patience

    def batch(self, rows: IntArray) -> Batch:
        return Batch(ids=rows, keep=self.keep)

    def enter(self, rows: IntArray, loss: FloatArray) -> None:
        if np.isfinite(loss).any():
            best = int(np.nanargmin(loss))
            if self._next is None or loss[best] < self._next[1]:
                self._next = rows[best], float(loss[best])

    def _accepts(self, rise: float) -> bool:
        if self.always or rise <= 0:
            return True
        now = (self.temperature or 0.0) * max(0.0, 1.0 - self.taken / self.steps)
        return now > 0 and bool(self.rng.random() < np.exp(-rise / now))
