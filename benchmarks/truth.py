"""Small spaces measured completely, and an objective that looks losses up in them.

A table holds the loss of every prompt of a space, shorter ones included, on every search row, so
that subsets of the rows are answered as well. Gradients, points between tokens and the model's own
proposals are computed by the model, the same ones once a process.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hardprompt import runs
from hardprompt.gap import Range
from hardprompt.objective import Objective
from hardprompt.session import Session, versions
from hardprompt.space import SearchSpace
from hardprompt.strategies.exhaustive import every_prompt
from hardprompt.types import Batch, Feedback, FloatArray, IntArray, Proposals

ROOT = Path("runs/benchmarks")
CHUNK = 512  # prompts measured between two looks at the clock
MISSING = -1.0  # not measured yet; no loss is negative


@dataclass(frozen=True)
class Table:
    """Every prompt of a space with its loss on every search row."""

    space: SearchSpace
    ids: IntArray  # (n, length) canonical, from the empty prompt on
    terms: FloatArray  # (n, N) float32; NaN: the prompt cannot be written
    cpu_seconds: float = 0.0  # that it took, since the last interruption

    @cached_property
    def _numbers(self) -> dict[bytes, int]:
        return {row.tobytes(): number for number, row in enumerate(self.ids)}

    def losses(self, ids: IntArray, examples: IntArray | None = None) -> FloatArray:
        """`(n,)` mean loss of canonical rows on these examples; None: on all."""
        terms = self.terms[[self._numbers[row.tobytes()] for row in ids]].astype(np.float64)
        found: FloatArray = (terms if examples is None else terms[:, examples]).mean(axis=1)
        return found

    @cached_property
    def whole(self) -> FloatArray:
        """`(size,)` losses of the prompts that may be found."""
        return self.losses(self.ids[self.space.lengths_allowed(self.ids)])

    @cached_property
    def scale(self) -> Range:
        return Range.of(self.whole)


class TableObjective:
    """Losses looked up; whatever else is wanted, of the real objective, in its words.

    Permissions to drop rows are not needed: the study itself tells no more than they allow.
    """

    def __init__(self, objective: Objective, table: Table) -> None:
        self.objective, self.table = objective, table
        self.space = table.space
        self._slopes: dict[bytes, Feedback] = {}
        self._proposed: dict[bytes, Proposals] = {}

    def space_of(self, budget: float) -> SearchSpace:
        """The space of a search with that budget."""
        return replace(self.space, budget=budget)

    def measure(self, batch: Batch) -> Feedback:
        if batch.ids is None or batch.wants_fluency:
            return self.objective.measure(batch)
        if batch.wants_gradient:
            return _stacked([self._slope(row, batch.examples) for row in batch.ids])
        ids = self.space.canonical(batch.ids)
        loss = self.table.losses(ids, batch.examples)
        exact = np.ones(len(ids), dtype=bool)
        return Feedback(loss, exact, proposals=self._proposals(ids, batch.wants_proposals))

    def _slope(self, row: IntArray, examples: IntArray | None) -> Feedback:
        key = row.tobytes() + (b"" if examples is None else b"/" + np.sort(examples).tobytes())
        if key not in self._slopes:
            asked = Batch(ids=row[None], wants_gradient=True, examples=examples)
            self._slopes[key] = self.objective.measure(asked)
        return self._slopes[key]

    def _proposals(self, ids: IntArray, wanted: int) -> Proposals | None:
        if not wanted:
            return None
        found = [self._likely(row) for row in ids]
        return Proposals(
            np.concatenate([likely.ids for likely in found])[:, :wanted],
            np.concatenate([likely.log_probs for likely in found])[:, :wanted],
        )

    def _likely(self, row: IntArray) -> Proposals:
        """All allowed tokens in the model's order; a shorter list is its beginning."""
        key = row.tobytes()
        if key not in self._proposed:
            wanted = len(self.space.tokens)
            asked = Batch(ids=row[None], wants_proposals=wanted, examples=np.arange(1))
            told = self.objective.measure(asked).proposals
            assert told is not None
            self._proposed[key] = told
        return self._proposed[key]


def _stacked(told: list[Feedback]) -> Feedback:
    gradients = [one.gradient for one in told if one.gradient is not None]
    return Feedback(
        np.concatenate([one.loss for one in told]),
        np.concatenate([one.exact for one in told]),
        np.concatenate(gradients),
    )


def fingerprint(session: Session) -> str:
    """What must be the same for a table to hold."""
    about = {
        "model": session.model.info.fingerprint,
        "task": session.task.fingerprint(),
        "template": session.template.source,
        "slots": session.space.slots,
        "tokens": session.space.tokens.tolist(),
        "objective": session.loss.name,
        **versions(),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def load(name: str, session: Session, say: Callable[[str], None]) -> Table:
    """The table of a place, measured to its end where it is not there yet."""
    whole = replace(session.space, min_length=0)
    ids = np.array(list(every_prompt(whole)), dtype=np.int64)
    path = _path(name, session)
    if not path.exists():
        ROOT.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        build(session, ids, path.with_suffix(".part"), say)
        cost = {"cpu_seconds": time.process_time() - began}
        runs.write_json(path.with_suffix(".json"), cost)
        path.with_suffix(".part").rename(path)
    cost = runs.read_json(path.with_suffix(".json"))
    return Table(session.space, ids, np.load(path), cost["cpu_seconds"])


def seconds_to_load(name: str, session: Session, row: float) -> float:
    """CPU seconds of measuring what is missing; `row` of one prompt on all rows.

    Of prompts in order, two tokens of three are read once for many.
    """
    return 0.0 if _path(name, session).exists() else row * session.space.size / 2


def _path(name: str, session: Session) -> Path:
    return ROOT / f"truth-{name}-{fingerprint(session)}.npy"


def build(session: Session, ids: IntArray, part: Path, say: Callable[[str], None]) -> None:
    """Measures every prompt on every row; goes on where an earlier start was stopped."""
    shape = len(ids), session.space.n_examples
    new = not part.exists()
    options = {"dtype": np.float32, "shape": shape} if new else {}
    table = np.lib.format.open_memmap(part, mode="w+" if new else "r+", **options)
    if new:
        table[:] = MISSING
    began, done = time.process_time(), 0
    for start in range(0, len(ids), CHUNK):
        if not (table[start : start + CHUNK] == MISSING).any():
            continue
        table[start : start + CHUNK] = measured(session, ids[start : start + CHUNK])
        table.flush()
        done += min(CHUNK, len(ids) - start)
        left = (time.process_time() - began) / done * (len(ids) - start) / 60
        say(f"{part.stem}: {start:,} of {len(ids):,} prompts, {left:.1f} CPU minutes left")


def measured(session: Session, ids: IntArray) -> FloatArray:
    """`(n, N)` loss of each canonical row on each search row, by the search's own scorer."""
    scorer, gold = session.scorers["search"], session.gold("search")
    terms = np.full((len(ids), len(gold)), np.nan)
    alive = scorer.survives(ids)
    if alive.any():
        scores = np.empty((int(alive.sum()), len(gold), len(scorer.labels)))
        scorer.by_ids(ids[alive], scorer.within(None, len(scores)), scores)
        terms[alive] = session.loss.terms(scores, gold)
    return terms
