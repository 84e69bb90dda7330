"""The loop of a search: ask, measure what is new, record, tell; budget, duplicates, resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import numpy as np

from hardprompt.answer import Answer, Asked, allowed, differing
from hardprompt.errors import HardpromptError
from hardprompt.front import nondominated
from hardprompt.ledger import Ledger, Piece, points_digest
from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Strategy
from hardprompt.types import EMPTY, Batch, BoolArray, Feedback, FloatArray, IntArray

STALLED = 20  # asked rows per row of budget, from which on a search only repeats itself
FEWEST = 64  # rows of budget below which a single batch would already look like that
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
    reason: str | None = None  # why the search ended; None: it goes on


@dataclass(frozen=True)
class Found:
    """A prompt measured on all examples."""

    ids: IntArray  # (length,) canonical
    loss: float
    number: int  # in order of first measurement
    fluency: float | None = None  # mean NLL of a token, where the strategy asked for it


class _End(Exception):
    """The study ends inside a batch: what is paid is recorded, nothing more is told."""


@dataclass
class Study:
    """Runs a strategy against an objective within a budget of rows.

    Price. A row on all examples costs 1, on a share of them that share, with its gradient the
    space's `gradient_price`. It is charged by what is asked, never by what was computed: a row
    (same canonical ids, same examples) is charged once a run and free from then on, also where
    a row that was dropped must be measured again because a later batch wants to know more.
    Points, gradients and proposals are charged each time.

    Permissions are used in full. A row above its `bar`, or above the `keep`-th best of the
    distinct rows of its batch, is told as that limit with `exact` False, even where it was
    measured to the end; with a bar, `keep` is not used. So what is told depends neither on
    `piece` nor on how much the objective drops, and neither do the rows asked next nor the
    ranking; as far as the objective's losses do not depend on which rows are measured together.
    An objective that races may give up a row that is not above its limit after all; among rows
    to `keep`, which one may depend on the piece.

    Resume. Pieces that the ledger holds are told again, whatever `piece` was then, after each
    was compared with what the strategy asks; no model work is done for them. A search that the
    budget, the clock or `stop` ended inside a batch told nothing of it, so going on equals one
    undisturbed run; for a strategy that reads `space.budget` it must have been the same.
    """

    objective: Measures
    strategy: Strategy
    space: SearchSpace
    ledger: Ledger
    budget: float
    seed: int = 0
    piece: int = 64  # rows measured between two commits
    patience: float | None = None  # rows without a better prompt, after which to end
    deadline: Callable[[], bool] | None = None  # asked after each piece; True: end
    on_piece: Callable[[Progress], None] | None = None

    spent: float = field(default=0.0, init=False)
    backward: float = field(default=0.0, init=False)  # rows that were differentiated
    asked: float = field(default=0.0, init=False)  # rows, as if none had been known
    replayed: int = field(default=0, init=False)  # pieces told from the ledger
    drifted: int = field(default=0, init=False)  # of these, points that differ in some digits
    pairs: int = field(default=0, init=False)  # of rows and examples that were wanted
    pairs_saved: int = field(default=0, init=False)  # of these, not computed
    curve: list[tuple[float, float]] = field(default_factory=list, init=False)  # (spent, best)
    _stopping: bool = field(default=False, init=False)
    _found: dict[bytes, Found] = field(default_factory=dict, init=False)
    _best: Found | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not self.budget > 0:
            raise HardpromptError(f"--budget must be above 0, got {self.budget:g}")
        if self.piece < 1:
            raise HardpromptError(f"a piece must be 1 row or more, got {self.piece}")

    def stop(self) -> None:
        """Ends the search after the piece in flight; safe to call from a signal handler."""
        self._stopping = True

    def run(self) -> str:
        """Searches until it ends, and returns why: exhausted, budget, patience, stalled,
        time or stopped."""
        self._known: dict[bytes, Answer] = {}  # as told
        self._found, self._best, self.curve = {}, None, []
        self.spent, self.backward, self.asked = 0.0, 0.0, 0.0
        self.replayed, self.drifted = 0, 0
        self.pairs, self.pairs_saved = 0, 0
        self._gained_at, self._measured, self._fresh, self._alive = 0.0, 0, 0, False
        self._recorded: Iterator[Piece] = self.ledger.pieces()
        self._next = next(self._recorded, None)
        self.strategy.start(self.space, np.random.Generator(np.random.PCG64(self.seed)))
        reason = None
        while reason is None:
            reason = self._step()
        self._report(None, reason)
        return reason

    def ranking(self, n: int | None = None) -> list[Found]:
        """The n best prompts, measured exactly on all examples and long enough, best first."""
        ranked = sorted(self._found.values(), key=lambda found: (found.loss, found.number))
        return ranked[:n]

    def measured(self, first: int = 0) -> list[Found]:
        """What the ranking ranks, in order of measurement, from that number on."""
        return list(islice(self._found.values(), first, None))

    def front(self) -> list[Found]:
        """Of the prompts whose fluency was asked for, those to which no other is preferable in
        loss, fluency and length alike, best loss first."""
        weighed = [found for found in self.ranking() if found.fluency is not None]
        values = [(f.loss, f.fluency, (f.ids != EMPTY).sum()) for f in weighed]
        kept = nondominated(np.array(values, dtype=np.float64).reshape(-1, 3))
        return [found for found, keep in zip(weighed, kept, strict=True) if keep]

    def _step(self) -> str | None:
        """Asks and tells once; the reason to end, if there is one."""
        batch = self.strategy.ask()
        if not len(batch):
            return "exhausted"
        try:
            feedback = self._answer(batch)
        except _End as end:
            return str(end)
        self.strategy.tell(batch, feedback)
        if self.patience is not None and self.spent - self._gained_at >= self.patience:
            return "patience"
        return "stalled" if self.asked > STALLED * max(self.budget, FEWEST) else None

    def _may_go_on(self) -> None:
        """Only before new work, so that what was paid is always told again first."""
        if self._next is not None:
            return
        if self._stopping:
            raise _End("stopped")
        # Not before the first piece: every resumed run gets at least a step further.
        if self._fresh and self.deadline is not None and self.deadline():
            raise _End("time")

    def _answer(self, batch: Batch) -> Feedback:
        asked = self._open(batch)
        before, differentiated = self.spent, self.backward
        self.asked += asked.price * len(batch)
        try:
            if not len(asked.todo):
                self._may_go_on()  # a search that only repeats itself can be stopped too
            while asked.done < len(asked.todo):
                self._measure_piece(asked)
                self.spent = before + asked.paid()
                if batch.wants_gradient:
                    self.backward = differentiated + asked.paid() / self.space.gradient_price
                self._report(asked)
        except _End:
            self._enter(asked, before)
            raise
        return self._enter(asked, before)

    def _open(self, batch: Batch) -> Asked:
        price = self.space.price(batch)
        if not price > 0:
            raise HardpromptError("the strategy asks for losses on no examples")
        ids = None if batch.ids is None else self.space.canonical(batch.ids)
        return Asked.open(batch, ids, price, self._known)

    def _measure_piece(self, asked: Asked) -> None:
        """Measures, or tells again, the next rows; raises `_End` where it may not."""
        self._may_go_on()
        size = self.piece if self._next is None else len(self._next)
        wanted = asked.todo[asked.done : asked.done + size]
        room = self.budget - self.spent
        # Prices are fractions: a thousandth of a row forgives their rounding.
        costs = asked.price * np.cumsum(asked.charged[wanted])
        rows = wanted[costs <= room + 1e-3 * asked.price]
        if not len(rows) or (self._next is not None and len(rows) < len(wanted)):
            raise _End("budget")
        part = asked.cut(rows)
        feedback = self._measure(part) if self._next is None else self._tell_again(part, self._next)
        asked.take(rows, feedback)
        self.pairs += feedback.pairs
        self.pairs_saved += feedback.pairs_saved
        self._check_alive(feedback)

    def _measure(self, part: Batch) -> Feedback:
        feedback = self.objective.measure(part)
        if not allowed(part, feedback):
            # A NaN took the place of a row to keep: the others were measured against too little.
            part = replace(part, keep=None, bar=None)
            feedback = self.objective.measure(part)
        if not allowed(part, feedback):
            raise HardpromptError("the objective left rows unmeasured that nobody gave up")
        self._fresh += 1
        return self.ledger.append_piece(part, feedback).feedback

    def _tell_again(self, part: Batch, piece: Piece) -> Feedback:
        other = differing(part, piece)
        if not other and not allowed(part, piece.feedback):
            other.append("losses given up")
        if other:
            raise HardpromptError(
                f"the ledger tells another story at piece {piece.number}: other "
                f"{', '.join(other)}; was the strategy changed since? Start a new run"
            )
        # Points come from arithmetic that differs between machines; what is told does not.
        self.drifted += points_digest(part) != piece.embeds
        self.replayed += 1
        self._next = next(self._recorded, None)
        return piece.feedback

    def _check_alive(self, feedback: Feedback) -> None:
        self._measured += len(feedback.loss)
        self._alive = self._alive or bool(np.isfinite(feedback.loss).any())
        if not self._alive and self._measured >= HOPELESS:
            raise HardpromptError(
                f"no prompt could be measured: all of the first {self._measured} came back as "
                "NaN. They do not survive being written out with this tokenizer, or the model "
                "overflows; try --vocab words or --dtype float32"
            )

    def _enter(self, asked: Asked, before: float) -> Feedback:
        """Makes the answer from what was measured, and remembers it."""
        feedback = asked.told()
        if asked.keys is not None:
            for row in asked.measured().tolist():
                self._remember(asked.keys[row], asked.answer(row, feedback))
        if asked.ids is None or asked.batch.examples is not None:
            return feedback
        spent = before + asked.price * np.cumsum(asked.charged[asked.todo])
        for row, so_far in zip(asked.todo[: asked.done], spent.tolist(), strict=False):
            answer = asked.answer(row, feedback)
            if asked.keys is not None:  # its equal may have had a higher bar
                answer = self._known[asked.keys[row]]
            if answer.exact:
                self._rank(asked.ids[row], answer, so_far)
        return feedback

    def _remember(self, key: bytes, answer: Answer) -> None:
        known = self._known.get(key)
        self._known[key] = answer if known is None else known.joined(answer)

    def _rank(self, ids: IntArray, answer: Answer, spent: float) -> None:
        key, loss, fluency = ids.tobytes(), answer.loss, answer.fluency
        if key in self._found:
            if fluency is not None:
                self._found[key] = replace(self._found[key], fluency=fluency)
            return
        if not self._fit(ids[None], np.array([loss]))[0]:
            return
        self._found[key] = found = Found(ids.copy(), loss, len(self._found), fluency)
        if self._best is None or loss < self._best.loss:
            self._best, self._gained_at = found, spent
            self.curve.append((round(spent, 6), loss))

    def _fit(self, ids: IntArray, loss: FloatArray) -> BoolArray:
        finite: BoolArray = np.isfinite(loss)
        return self.space.lengths_allowed(ids) & finite

    def _report(self, asked: Asked | None, reason: str | None = None) -> None:
        if self.on_piece is None:
            return
        best, ids = float("nan"), None
        if self._best is not None:
            best, ids = self._best.loss, self._best.ids
        if asked is not None and asked.ids is not None and asked.batch.examples is None:
            fit = self._fit(asked.ids, asked.loss) & asked.exact
            loss = np.where(fit, asked.loss, np.inf)
            row = int(loss.argmin())
            if fit[row] and not loss[row] >= best:
                best, ids = float(loss[row]), asked.ids[row]
        self.on_piece(Progress(self.spent, self.budget, best, ids, reason))
