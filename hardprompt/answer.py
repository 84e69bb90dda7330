"""One batch on its way to its answer: which rows to measure, in which pieces, what is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardprompt.ledger import Piece
from hardprompt.scoring.race import smallest
from hardprompt.types import Batch, BoolArray, Feedback, FloatArray, IntArray, Proposals


@dataclass(frozen=True)
class Answer:
    """What was told of a question."""

    loss: float
    exact: bool
    fluency: float | None  # None: it was not asked for

    def joined(self, later: Answer) -> Answer:
        """The most that is known of it, told once more."""
        better = not self.exact and (later.exact or later.loss > self.loss)
        best = later if better else self
        fluency = self.fluency if later.fluency is None else later.fluency
        return Answer(best.loss, best.exact, fluency)


Known = Mapping[bytes, Answer]


@dataclass
class Asked:
    """A batch, what is known of it, and what was measured of it so far."""

    batch: Batch
    ids: IntArray | None  # (n, length) canonical
    keys: list[bytes] | None  # equal keys are one question; None: every row is its own
    price: float  # of a row
    todo: IntArray  # rows to measure, in order
    charged: BoolArray  # (n,) whether a row of `todo` costs its price
    loss: FloatArray  # (n,) as measured; NaN until then
    exact: BoolArray  # (n,)
    gradient: FloatArray | None = None
    proposals: Proposals | None = None
    fluency: FloatArray | None = None  # None: not asked for
    done: int = 0  # how many of `todo` are measured

    @classmethod
    def open(cls, batch: Batch, ids: IntArray | None, price: float, known: Known) -> Asked:
        """Answers what is known; the first row of every other question is left to do."""
        n = len(batch)
        if batch.bar is not None:  # NaN is no bar
            batch = replace(batch, bar=np.where(np.isnan(batch.bar), np.inf, batch.bar))
        everything = np.arange(n), np.ones(n, dtype=bool)
        asked = cls(batch, ids, _keys(batch, ids), price, *everything, np.full(n, np.nan),
                    np.ones(n, dtype=bool))  # fmt: skip
        if batch.wants_fluency:
            asked.fluency = np.full(n, np.nan)
        if asked.keys is not None:
            asked._recall(asked.keys, known)
        return asked

    def _recall(self, keys: list[bytes], known: Known) -> None:
        first: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            old = known.get(key)
            self.charged[row] = old is None
            # A loss known to be above a bar answers again where the bar has not risen.
            bar = np.inf if self.batch.bar is None else self.batch.bar[row]
            if old is None or not (old.exact or old.loss >= bar):
                first.setdefault(key, row)
            elif self.fluency is not None and old.fluency is None:
                first.setdefault(key, row)  # its loss is paid; its fluency costs nothing
            else:
                self.loss[row], self.exact[row] = old.loss, old.exact
                if self.fluency is not None:
                    self.fluency[row] = old.fluency
        self.todo = np.array(list(first.values()), dtype=np.int64)

    def paid(self) -> float:
        """What the rows measured so far cost."""
        return self.price * float(self.charged[self.todo[: self.done]].sum())

    def cut(self, rows: IntArray) -> Batch:
        """The piece of the batch that holds these rows."""
        bar, keep = self._highest_bar(), self.batch.keep
        if bar is not None:
            bar, keep = bar[rows], None
        elif np.isfinite(limit := self._kept()):
            # What was measured before bounds what may still be kept.
            bar, keep = np.full(len(rows), limit), None
        return replace(
            self.batch,
            ids=None if self.batch.ids is None else self.batch.ids[rows],
            embeds=None if self.batch.embeds is None else self.batch.embeds[rows],
            bar=bar,
            keep=keep,
        )

    def take(self, rows: IntArray, feedback: Feedback) -> None:
        """Enters what was measured of these rows, the next of `todo`."""
        n = len(self.batch)
        self.done += len(rows)
        self.loss[rows], self.exact[rows] = feedback.loss, feedback.exact
        if self.fluency is not None and feedback.fluency is not None:
            self.fluency[rows] = feedback.fluency
        if feedback.gradient is not None:
            self.gradient = _spread(self.gradient, rows, feedback.gradient, n)
        if feedback.proposals is not None:
            old, new = self.proposals, feedback.proposals
            self.proposals = Proposals(
                _spread(None if old is None else old.ids, rows, new.ids, n),
                _spread(None if old is None else old.log_probs, rows, new.log_probs, n),
            )

    def measured(self) -> IntArray:
        """Rows whose question was measured now, equal rows included."""
        done = self.todo[: self.done]
        if self.keys is None:
            return done
        questions = {self.keys[row] for row in done.tolist()}
        return np.array([i for i, key in enumerate(self.keys) if key in questions], dtype=np.int64)

    def told(self) -> Feedback:
        """The answer, permissions used in full: a row above its limit is told as the limit."""
        source = self._sources()
        loss, exact = self.loss[source], self.exact[source]
        limit = np.full(len(loss), self._kept()) if self.batch.bar is None else self.batch.bar
        dropped = ~exact | (loss > limit)
        return Feedback(
            np.where(dropped, limit, loss),
            ~dropped,
            self.gradient,
            self.proposals,
            fluency=None if self.fluency is None else self.fluency[source],
        )

    def answer(self, row: int, told: Feedback) -> Answer:
        """What is told of one row."""
        fluency = None if told.fluency is None else float(told.fluency[row])
        return Answer(float(told.loss[row]), bool(told.exact[row]), fluency)

    def _sources(self) -> IntArray:
        """`(n,)` where each row was measured: equal ones were once."""
        source = np.arange(len(self.batch))
        if self.keys is not None:
            first = {self.keys[row]: row for row in self.todo[: self.done].tolist()}
            for row in self.measured().tolist():
                source[row] = first[self.keys[row]]
        return source

    def _highest_bar(self) -> FloatArray | None:
        """`(n,)` bars; equal rows share the highest, since they are measured once."""
        if self.batch.bar is None or self.keys is None:
            return self.batch.bar
        highest: dict[bytes, float] = {}
        for key, bar in zip(self.keys, self.batch.bar.tolist(), strict=True):
            highest[key] = max(bar, highest.get(key, -np.inf))
        return np.array([highest[key] for key in self.keys])

    def _kept(self) -> float:
        """The `keep`-th best loss of the batch so far; inf where there are fewer."""
        loss = {
            row if self.keys is None else self.keys[row]: float(self.loss[row])
            for row in np.flatnonzero(self.exact & np.isfinite(self.loss)).tolist()
        }
        return smallest(np.array(list(loss.values())), self.batch.keep)


def allowed(part: Batch, feedback: Feedback) -> bool:
    """Whether every row that was dropped might be: its bound is not below the limit."""
    dropped = ~feedback.exact
    finite = feedback.loss[feedback.exact & np.isfinite(feedback.loss)]
    limit = np.full(len(part), smallest(finite, part.keep))
    if part.bar is not None:
        limit = np.minimum(limit, part.bar)
    # An infinite limit is no permission, whatever the bound.
    fine = (feedback.loss >= limit) & np.isfinite(limit)
    return bool(fine[dropped].all())


def differing(part: Batch, piece: Piece) -> list[str]:
    """In what a recorded piece is not the one that is asked now."""
    rows = part.ids if part.ids is not None else part.embeds
    assert rows is not None
    same = {
        "shape": rows.shape == piece.shape,
        "ids": _equal(part.ids, piece.ids),
        "examples": _equal(part.examples, piece.examples),
        "gradient": part.wants_gradient == piece.wants_gradient,
        "proposals": part.wants_proposals == piece.wants_proposals,
        "fluency": part.wants_fluency == piece.wants_fluency,
    }
    return [name for name, equal in same.items() if not equal]


def _keys(batch: Batch, ids: IntArray | None) -> list[bytes] | None:
    if ids is None or batch.wants_gradient or batch.wants_proposals:
        return None
    # In any order the examples are the same question.
    examples = () if batch.examples is None else batch.examples
    some = np.sort(np.asarray(examples, dtype=np.int64)).tobytes()
    return [row.tobytes() + some for row in ids]


def _spread(old: NDArray[Any] | None, rows: IntArray, new: NDArray[Any], n: int) -> NDArray[Any]:
    """`new` at these of n rows."""
    whole = np.zeros((n, *new.shape[1:]), dtype=new.dtype) if old is None else old
    whole[rows] = new
    return whole


def _equal(a: IntArray | None, b: IntArray | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)
