"""Edits of an instruction's phrases: GrIPS, and Plum's annealed and tabu searches."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of, share
from hardprompt.strategies.fluent import HOLE, Writer
from hardprompt.strategies.phrases import Draft, Phrase, Place, parse
from hardprompt.types import Batch, Feedback, IntArray

ACCEPTS = ("greedy", "anneal", "tabu")
TRIES = 20  # draws before an edit that was tried before is let through; steps without any other


@dataclass(kw_only=True)
class Edit(Strategy):
    """Delete, swap, substitute and add phrases of an instruction, and keep what is better.

    A step makes `width` candidates of `compose` edits each and goes on from the best (GrIPS,
    Prasad et al., 2023, algorithm 1). `accept` greedy takes it if it is better, anneal also with
    chance exp(-worse / T), tabu always, since no prompt is tried twice (Plum, Pan et al.,
    2024). After `patience` steps without a new best, or `steps` in all, the search goes on
    from the next start: seeds first, then prompts that the model writes.

    GrIPS' constituency parser is replaced by the model itself: a word that is not among the
    `likely` after those before it begins a phrase, and phrases over `longest` words part at their
    weakest link. Its paraphrases are replaced by words that the model writes there (a share of
    `written`) or by nearest embeddings. Add puts back a phrase that was taken out, as published.
    Where a prompt gets too short, the model writes what is missing; where an added phrase has no
    room, others leave.
    """

    name: ClassVar[str] = "edit"
    width: int = 8  # candidates of a step (m of the paper)
    compose: int = 1  # edits of a candidate (l)
    steps: int | None = None  # from one start; None: until patience ends
    patience: int = 10
    accept: str = "greedy"
    heat: float = 0.3  # first temperature, in standard deviations of the losses seen
    starts: int = 8  # prompts measured before the first step
    written: float = 0.5  # share of substitutes that the model writes
    near: int = 16  # nearest embeddings that may stand in for a word
    likely: int = 96  # tokens of a place that the model finds likeliest
    longest: int = 3  # words of a phrase

    def __post_init__(self) -> None:
        one_of(ACCEPTS, accept=self.accept)
        at_least(1, width=self.width, compose=self.compose, patience=self.patience)
        at_least(1, starts=self.starts, near=self.near, likely=self.likely, longest=self.longest)
        at_least(0, heat=self.heat)
        share(written=self.written)
        counts_with(self, "accept=anneal", self.accept == "anneal", "heat")
        counts_with(self, "written below 1", self.written < 1, "near")
        at_least(1, steps=1 if self.steps is None else self.steps)

    def search(self) -> Script:
        self._seen: set[bytes] = set()
        self._losses: list[float] = []
        self._writer = Writer(self.space, self.likely)
        seeds, n = self._seeds(), max(self.starts, self.space.own_seeds)
        while True:
            written = np.full((max(0, n - len(seeds)), self.space.length), HOLE)
            rows = np.concatenate([seeds, written])[:n].astype(np.int64)
            rows = np.unique((yield from self._writer.fill(self.rng, rows)), axis=0)
            told = yield Batch(ids=rows)
            self._remember(rows, told)
            for number in told.order():
                if np.isfinite(told.loss[number]):
                    yield from self._climb(rows[number], float(told.loss[number]))
            seeds, n = seeds[n:], self.starts

    def _seeds(self) -> IntArray:
        """The seeds, with holes to the left of their words where they are too short."""
        drafts = [
            Draft(tuple((part,) if part else () for part in self.space.split(row)))
            for row in ([] if self.space.seeds is None else self.space.seeds)
        ]
        rows = [self._filled(draft, border=0).row(self.space) for draft in drafts]
        return np.array(rows, dtype=np.int64).reshape(-1, self.space.length)

    def _climb(self, row: IntArray, loss: float) -> Script:
        """Steps from one start until nothing better comes."""
        draft = yield from parse(self.space, self._writer, row, self.longest)
        best, stale, idle, step = loss, 0, 0, 0
        while stale < self.patience and idle < TRIES and step != self.steps:
            drafts, rows = yield from self._candidates(draft)
            step, stale, idle = step + 1, stale + 1, (0 if len(rows) else idle + 1)
            if not len(rows):
                continue
            bar = np.full(len(rows), best) if self.accept == "greedy" else None
            told = yield Batch(ids=rows, bar=bar)
            self._remember(rows, told)
            first = told.order()[0]
            if not self._accepts(told.trusted()[first] - loss, step):
                continue
            row, loss = rows[first], float(told.loss[first])
            draft = yield from parse(self.space, self._writer, row, self.longest)
            draft = replace(draft, removed=drafts[first].removed)
            if loss < best:
                best, stale = loss, 0

    def _accepts(self, worse: float, step: int) -> bool:
        """Whether to go on from a candidate that is so much worse; NaN: not measured exactly."""
        if np.isnan(worse):
            return False
        if worse < 0 or self.accept == "tabu":
            return True
        if self.accept == "greedy":
            return False
        # GrIPS' 10 * exp(-step / 5) is in points of its score.
        heat = self.heat * float(np.std(self._losses)) * np.exp(-step / 5)
        return bool(self.rng.random() < np.exp(-worse / max(heat, 1e-300)))

    def _candidates(self, draft: Draft) -> Generator[Batch, Feedback, tuple[list[Draft], IntArray]]:
        """Edited drafts that were not tried before, and their rows."""
        drafts = [self._edited(draft) for _ in range(self.width)]
        rows = np.array([d.row(self.space) for d in drafts], dtype=np.int64)
        rows = yield from self._writer.fill(self.rng, rows)
        _, first = np.unique(rows, axis=0, return_index=True)
        fresh = [i for i in np.sort(first) if rows[i].tobytes() not in self._seen]
        return [drafts[i] for i in fresh], rows[fresh]

    def _edited(self, draft: Draft) -> Draft:
        """A draft that was not tried, as far as can be said before it is written; or the same."""
        for _ in range(TRIES):
            new = draft
            for _ in range(self.compose):
                new = self._edit(new)
            new = self._filled(new)
            row = new.row(self.space)
            if row is not None and row.tobytes() not in self._seen:
                return new
        return draft

    def _edit(self, draft: Draft) -> Draft:
        """One edit of those that are possible, each as likely."""
        places = draft.places
        kinds = ["substitute"]
        if len(places) > 1:
            kinds += ["delete", "swap"]
        if draft.removed:
            kinds.append("add")
        kind = kinds[self.rng.integers(len(kinds))]
        place = places[self.rng.integers(len(places))]
        if kind == "delete":
            return draft.delete(place)
        if kind == "swap":
            return draft.swap(place, places[self.rng.integers(len(places))])
        if kind == "add":
            return self._added(draft)
        return draft.substitute(place, self._substitute(draft, place))

    def _added(self, draft: Draft) -> Draft:
        """With one of the removed phrases in a random place, where others make room for it."""
        phrase = draft.removed[self.rng.integers(len(draft.removed))]
        slot = int(self.rng.integers(len(draft.slots)))
        phrase = phrase[: self.space.slots[slot]]
        while draft.words(slot) + len(phrase) > self.space.slots[slot]:
            draft = draft.delete((slot, int(self.rng.integers(len(draft.slots[slot])))))
        return draft.add((slot, int(self.rng.integers(len(draft.slots[slot]) + 1))), phrase)

    def _substitute(self, draft: Draft, place: Place) -> Phrase:
        """Holes for the model to fill, as many or one more or less, or words of like meaning."""
        phrase = draft.at(place)
        room = max(0, self.space.slots[place[0]] - draft.words(place[0]))
        if HOLE in phrase or self.rng.random() < self.written:
            n = len(phrase)
            if self.space.shortest < self.space.length:
                n = int(self.rng.integers(max(1, n - 1), min(n + 1, n + room) + 1))
            return (HOLE,) * n
        words = list(phrase)
        change = self.rng.random(len(words)) < 0.5
        change[self.rng.integers(len(words))] = True
        for i in np.flatnonzero(change):
            near = self.space.nearest(self.space.embeddings[words[i]], self.near + 1)
            others = near[near != words[i]]
            if len(others):
                words[i] = int(self.rng.choice(others))
        return tuple(words)

    def _filled(self, draft: Draft, border: int | None = None) -> Draft:
        """With holes where words are missing, at a random border of a slot or at that one."""
        for slot in self.rng.permutation(len(draft.slots)):
            n = min(self.space.shortest - len(draft), self.space.slots[slot] - draft.words(slot))
            if n > 0:
                ends = len(draft.slots[slot]) + 1
                at = int(self.rng.integers(ends)) if border is None else border
                draft = draft.add((int(slot), at), (HOLE,) * n)
        return draft

    def _remember(self, rows: IntArray, told: Feedback) -> None:
        self._seen.update(row.tobytes() for row in rows)
        loss = told.trusted()
        self._losses += loss[np.isfinite(loss)].tolist()
