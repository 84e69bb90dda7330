"""The loop of a search: ask, measure what is new, record, tell; budget, duplicates, resume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.ledger import Ledger, Piece
from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Strategy
from hardprompt.types import Batch, BoolArray, Feedback, FloatArray, IntArray, Proposals

STALLED = 20  # asked rows per row of budget, from which on a search only repeats itself
HOPELESS = 64  # rows without one loss, after which nothing will come


class Measures(Protocol):
    def measure(self, batch: Batch) -> Feedback: ...


@dataclass(frozen=True)
class Progress:
    """How far a search is, for a progress bar."""

    spent: float
    budget: float
    loss: float  # the best so far; NaN: none yet
    ids: IntArray | None


@dataclass(frozen=True)
class Found:
    """A prompt measured on all examples."""

    ids: IntArray  # (length,) canonical
    loss: float
    number: int  # in order of first measurement


class _OutOfBudget(Exception):
    """The study ends inside a batch: what is paid is recorded, nothing more is told."""


@dataclass
class Study:
    """Runs a strategy against an objective within a budget of rows.

    A row on all examples costs 1, on a share of them that share, with its gradient the space's
    `gradient_price`. It is charged by what is asked, never by what was computed, so that batch
    sizes, early dropping and caches cannot change a search; a row known from this run is free.

    A row that was dropped early is told the bar that it failed, whatever its partial sum was,
    for the same reason. With a ledger that already holds pieces, these are told again without any
    model work after each was compared with what the strategy asks.
    """

    objective: Measures
    strategy: Strategy
    space: SearchSpace
    ledger: Ledger
    budget: float
    seed: int = 0
    piece: int = 64  # rows measured between two commits
    patience: float | None = None  # rows without a better prompt, after which to end
    deadline: Callable[[], bool] = lambda: False
    on_piece: Callable[[Progress], None] = lambda progress: None

    spent: float = field(default=0.0, init=False)
    asked: int = field(default=0, init=False)
    replayed: int = field(default=0, init=False)  # pieces told from the ledger
    curve: list[tuple[float, float]] = field(default_factory=list, init=False)
    _stopping: bool = field(default=False, init=False)

    def stop(self) -> None:
        """Ends the search after the piece in flight; safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> str:
        """Searches until it ends, and returns why: exhausted, budget, patience, stalled,
        time or stopped."""
        self._archive: dict[bytes, tuple[float, bool]] = {}
        self._found: dict[bytes, Found] = {}
        self._best: Found | None = None
        self._gained_at, self._measured, self._alive = 0.0, 0, False
        self._recorded: Iterator[Piece] = self.ledger.pieces()
        self._next = next(self._recorded, None)
        self.strategy.start(self.space, np.random.default_rng(self.seed))
        while True:
            batch = self.strategy.ask()
            if not len(batch):
                return "exhausted"
            self.asked += len(batch)
            try:
                feedback = self._answer(batch)
            except _OutOfBudget as reason:
                return str(reason)
            self.strategy.tell(batch, feedback)
            if self.patience is not None and self.spent - self._gained_at > self.patience:
                return "patience"
            if self.asked > STALLED * max(self.budget, HOPELESS):
                return "stalled"

    def ranking(self) -> list[Found]:
        """Prompts measured exactly on all examples and long enough, best first."""
        return sorted(self._found.values(), key=lambda found: (found.loss, found.number))

    def _answer(self, batch: Batch) -> Feedback:
        keys = self._keys(batch)
        todo = self._unknown(batch, keys)
        measured = Feedback(np.full(len(batch), np.nan), np.ones(len(batch), dtype=bool))
        price = self.space.price(batch)
        for first in range(0, len(todo), self.piece):
            rows = todo[first : first + self.piece]
            affordable = int((self.budget - self.spent) / price + 1e-9)
            if affordable < 1:
                raise _OutOfBudget("budget")
            cut = rows[:affordable]
            measured = self._measure_piece(batch, cut, measured)
            self.spent += price * len(cut)
            self._remember(batch, cut, keys, measured)
            if len(cut) < len(rows):
                raise _OutOfBudget("budget")
        return self._fill_in(batch, keys, measured)

    def _keys(self, batch: Batch) -> list[bytes] | None:
        """What makes two rows the same question; None where every row is its own."""
        if batch.ids is None or batch.wants_gradient:
            return None
        some = b"" if batch.examples is None else batch.examples.tobytes()
        more = batch.wants_proposals.to_bytes(4, "little")
        return [row.tobytes() + some + more for row in self.space.canonical(batch.ids)]

    def _unknown(self, batch: Batch, keys: list[bytes] | None) -> IntArray:
        if keys is None or batch.wants_proposals:
            return np.arange(len(batch))
        first: dict[bytes, int] = {}
        for number, key in enumerate(keys):
            known = self._archive.get(key)
            # A loss that was only a bound answers again where the bar has not risen above it.
            enough = known is not None and (
                known[1] or (batch.bar is not None and known[0] >= batch.bar[number])
            )
            if not enough:
                first.setdefault(key, number)
        return np.array(sorted(first.values()), dtype=np.int64)

    def _measure_piece(self, batch: Batch, rows: IntArray, so_far: Feedback) -> Feedback:
        part = replace(
            batch,
            ids=None if batch.ids is None else batch.ids[rows],
            embeds=None if batch.embeds is None else batch.embeds[rows],
            bar=None if batch.bar is None else batch.bar[rows],
            # How many are kept is known of the whole batch only, not of its pieces.
            keep=batch.keep if len(rows) == len(batch) else None,
        )
        question = _question(part)
        if self._next is not None:
            _compare(self._next.question, question, self.replayed)
            feedback = self._next.feedback
            self._next = next(self._recorded, None)
            self.replayed += 1
        else:
            if self._stopping:
                raise _OutOfBudget("stopped")
            if self.deadline():
                raise _OutOfBudget("time")
            feedback = _told(part, self.objective.measure(part))
            self.ledger.append_piece(question, feedback)
        return _merge(so_far, rows, feedback, len(batch))

    def _remember(
        self, batch: Batch, rows: IntArray, keys: list[bytes] | None, told: Feedback
    ) -> None:
        self._measured += len(rows)
        self._alive = self._alive or bool(np.isfinite(told.loss[rows]).any())
        if not self._alive and self._measured >= HOPELESS:
            raise HardpromptError(
                f"none of {self._measured} prompts could be measured: they do not survive being "
                "written out with this tokenizer, or the model returns NaN; try --vocab words "
                "or --dtype float32"
            )
        for row in rows:
            if keys is not None:
                self._archive[keys[row]] = (float(told.loss[row]), bool(told.exact[row]))
        if batch.ids is not None and batch.examples is None:
            self._enter(self.space.canonical(batch.ids[rows]), told.loss[rows], told.exact[rows])
        best = self._best
        self.on_piece(
            Progress(
                self.spent,
                self.budget,
                float("nan") if best is None else best.loss,
                None if best is None else best.ids,
            )
        )

    def _enter(self, ids: IntArray, loss: FloatArray, exact: BoolArray) -> None:
        fit = self.space.lengths_allowed(ids) & exact & np.isfinite(loss)
        for row, value in zip(ids[fit], loss[fit], strict=True):
            key = row.tobytes()
            if key in self._found:
                continue
            found = Found(row.copy(), float(value), len(self._found))
            self._found[key] = found
            if self._best is None or found.loss < self._best.loss:
                self._best = found
                self._gained_at = self.spent
                self.curve.append((round(self.spent, 6), found.loss))

    def _fill_in(self, batch: Batch, keys: list[bytes] | None, told: Feedback) -> Feedback:
        """Answers the rows that were known, or twice in the batch, from the archive."""
        if keys is None or batch.wants_proposals:
            return told
        known = [self._archive[key] for key in keys]
        return Feedback(
            np.array([loss for loss, _ in known]), np.array([exact for _, exact in known])
        )


def _told(batch: Batch, feedback: Feedback) -> Feedback:
    """Dropped rows are told the bar they failed: how far each got depends on the batches."""
    dropped = ~feedback.exact
    if not dropped.any():
        return feedback
    limit = np.full(len(batch), np.inf) if batch.bar is None else batch.bar.astype(np.float64)
    if batch.keep is not None:
        kept = np.sort(feedback.loss[feedback.exact & np.isfinite(feedback.loss)])
        limit = np.minimum(limit, kept[min(batch.keep, len(kept)) - 1])
    return replace(feedback, loss=np.where(dropped, limit, feedback.loss))


def _merge(so_far: Feedback, rows: IntArray, part: Feedback, n: int) -> Feedback:
    loss, exact = so_far.loss.copy(), so_far.exact.copy()
    loss[rows], exact[rows] = part.loss, part.exact
    gradient, proposals = so_far.gradient, so_far.proposals
    if part.gradient is not None:
        if gradient is None:
            gradient = np.zeros((n, *part.gradient.shape[1:]), dtype=part.gradient.dtype)
        gradient = gradient.copy()
        gradient[rows] = part.gradient
    if part.proposals is not None:
        width = part.proposals.ids.shape[1]
        if proposals is None:
            proposals = Proposals(np.zeros((n, width), np.int64), np.zeros((n, width)))
        ids, log_probs = proposals.ids.copy(), proposals.log_probs.copy()
        ids[rows], log_probs[rows] = part.proposals.ids, part.proposals.log_probs
        proposals = Proposals(ids, log_probs)
    return Feedback(loss, exact, gradient, proposals)


def _question(batch: Batch) -> dict[str, Any]:
    """What replay compares. Points are named by their shape: arithmetic of another machine
    may differ in the last bits, while the told gradients are the recorded ones."""
    asked = {
        "ids": None if batch.ids is None else batch.ids.tolist(),
        "embeds": None if batch.embeds is None else list(batch.embeds.shape),
        "gradient": batch.wants_gradient,
        "proposals": batch.wants_proposals,
        "examples": None if batch.examples is None else batch.examples.tolist(),
    }
    if batch.bar is not None:
        # Bars come from recorded losses: the same when replayed, so a digest will do.
        asked["bar"] = hashlib.sha256(batch.bar.astype("<f8").tobytes()).hexdigest()[:16]
    return asked


def _compare(recorded: dict[str, Any], asked: dict[str, Any], number: int) -> None:
    for key in recorded.keys() | asked.keys():
        if recorded.get(key) != asked.get(key):
            raise HardpromptError(
                f"the ledger tells another story at piece {number}: its {key} differ; "
                "was the strategy changed since? Start a new run"
            )
