"""Beam search: prompts grow token by token, as BEAST does with a model's own proposals."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of
from hardprompt.strategies.fluent import drawn_tokens
from hardprompt.types import EMPTY, Batch, Feedback, IntArray

SOURCES = ("mixed", "model", "random")
KEPT = ("best", "beam")


@dataclass(kw_only=True)
class Beam(Strategy):
    """Keep the best `width` prefixes and try `branch` tokens after each; then replace in turn.

    The tokens tried after a prefix are draws without replacement from the model's own next-token
    distribution (BEAST, Sadasivan et al., 2024, algorithm 1), which makes prompts that read well,
    draws from the vocabulary, or half of each. Where the budget allows, the whole vocabulary is
    tried instead: every place then gets its best token exactly, and what is surely worse is
    dropped early. Once a prompt is whole, the best found, seeds included, have their tokens
    replaced place by place in the same way until a pass brings no gain; then another one grows.
    """

    name: ClassVar[str] = "beam"
    width: int = 4
    branch: int | None = None  # None: all tokens, or so many that one pass takes half the budget
    propose: str = "mixed"  # tokens are drawn from: model, random, or mixed
    likely: int | None = 96  # the model's draws are among so many; None: the whole vocabulary
    keep: str = "best"  # best: go on from the best prompts; beam: grow anew after every pass
    backward: bool = False  # from the right: the tokens next to the label come first

    def __post_init__(self) -> None:
        at_least(1, width=self.width)
        one_of(SOURCES, propose=self.propose)
        one_of(KEPT, keep=self.keep)
        counts_with(self, "propose=mixed or propose=model", self.propose != "random", "likely")
        for field, value in (("branch", self.branch), ("likely", self.likely)):
            if value is not None:
                at_least(1, **{field: value})

    def least_budget(self, space: SearchSpace) -> float:
        """Beginnings of prompts; none where seeds come first, or branches fit the budget."""
        if self.branch is None or space.n_seeds or space.shortest < 2:
            return 0.0
        branch = min(self.branch, len(space.tokens))
        return float(branch * (1 + (space.shortest - 2) * min(self.width, branch)))

    def search(self) -> Script:
        v = len(self.space.tokens)
        self._branch = min(self.branch or self._affordable(), v)
        seeds = np.empty((0, self.space.length), dtype=np.int64)
        if self.space.seeds is not None and len(self.space.seeds):
            seeds = self.space.complete(self.rng, self.space.seeds)
            yield Batch(ids=seeds, keep=self.width)
        while True:
            whole = yield from self._grow()
            if self.keep == "best":
                yield from self._refine(np.concatenate([whole, seeds]))
            if self._branch == v:
                return

    def _affordable(self) -> int:
        if not np.isfinite(self.space.budget):
            return len(self.space.tokens)
        return max(2, int(self.space.budget / (2 * self.width * self.space.length)))

    def _places(self) -> list[int]:
        places = list(range(self.space.length))
        return places[::-1] if self.backward else places

    def _grow(self) -> Generator[Batch, Feedback, IntArray]:
        """A prompt from nothing; the best of every length that is allowed."""
        beam = np.full((1, self.space.length), EMPTY, dtype=np.int64)
        whole = []
        for place in self._places():
            beam, _ = yield from self._best((yield from self._tried(beam, place)))
            whole.append(self.space.canonical(beam))
        rows = np.concatenate(whole)
        return rows[self.space.lengths_allowed(rows)]

    def _refine(self, rows: IntArray) -> Script:
        """Replaces tokens of whole prompts, as long as that helps; what is replaced competes."""
        beam, loss = yield from self._best(rows)
        before = np.inf
        while loss < before:
            before = loss
            for place in self._places():
                rows = self.space.canonical((yield from self._tried(beam, place)))
                beam, loss = yield from self._best(np.concatenate([beam, rows]))

    def _tried(self, beam: IntArray, place: int) -> Generator[Batch, Feedback, IntArray]:
        """Every row of the beam with each of its tokens at that place."""
        tokens = yield from self._tokens(beam, place)
        rows = np.repeat(beam, tokens.shape[1], axis=0)
        rows[:, place] = tokens.ravel()
        return rows

    def _best(self, rows: IntArray) -> Generator[Batch, Feedback, tuple[IntArray, float]]:
        """The best `width` of these rows, and the loss of the first."""
        rows = np.unique(rows, axis=0)
        told = yield Batch(ids=self.space.canonical(rows), keep=self.width)
        order = told.order()[: self.width]
        fit = order[np.isfinite(told.loss[order])]
        # A prefix that fails may do with more tokens, but only where there is no other.
        return rows[fit if len(fit) else order], float(told.loss[order[0]])

    def _tokens(self, beam: IntArray, place: int) -> Generator[Batch, Feedback, IntArray]:
        """`(beam, branch)` tokens to try at that place."""
        if self._branch == len(self.space.tokens):
            return np.tile(self.space.tokens, (len(beam), 1))
        n = {"model": self._branch, "mixed": self._branch // 2, "random": 0}[self.propose]
        rows = [self.rng.choice(self.space.tokens, self._branch - n, replace=False) for _ in beam]
        tokens = np.array(rows, dtype=np.int64)
        if n:
            likely = max(n, self.likely or len(self.space.tokens))
            drawn = yield from drawn_tokens(self.space, self.rng, beam, place, n, likely)
            tokens = np.concatenate([drawn, tokens], axis=1)
        return tokens
