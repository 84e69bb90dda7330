"""Beam search: prompts grow token by token, as BEAST does with a model's own proposals."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.strategies.fluent import likely_tokens
from hardprompt.types import EMPTY, Batch, Feedback, IntArray


@dataclass(kw_only=True)
class Beam(Strategy):
    """Keep the best `width` prefixes and try tokens after each, then again with other tokens.

    The `branch` tokens tried after a prefix are the model's own likeliest for half (BEAST,
    Sadasivan et al., 2024, algorithm 1) and drawn at random for the rest. None: the whole
    vocabulary where the budget allows, else so many that one pass takes half of the budget.
    """

    name: ClassVar[str] = "beam"
    width: int = 4
    branch: int | None = None

    def __post_init__(self) -> None:
        at_least(1, width=self.width)
        if self.branch is not None:
            at_least(1, branch=self.branch)

    def search(self) -> Script:
        v = len(self.space.tokens)
        branch = min(self.branch or self._affordable(), v)
        starts = [] if self.space.seeds is None else list(self.space.seeds)
        yield from self._pass(np.full((1, self.space.length), EMPTY), branch)
        # A seed is a finished prompt: its tokens are replaced one place after the other.
        for seed in starts:
            yield from self._pass(self.space.complete(self.rng, seed[None]), branch)
        if branch == v:
            return
        while True:
            yield from self._pass(np.full((1, self.space.length), EMPTY), branch)

    def _affordable(self) -> int:
        if not np.isfinite(self.space.budget):
            return len(self.space.tokens)
        return max(2, int(self.space.budget / (2 * self.width * self.space.length)))

    def _pass(self, beam: IntArray, branch: int) -> Script:
        """Places from left to right; rows that keep their token compete with the new ones."""
        for place in range(self.space.length):
            choices = yield from self._choices(beam, place, branch)
            grown = np.repeat(beam, choices.shape[1], axis=0)
            grown[:, place] = choices.ravel()
            rows = np.unique(np.concatenate([beam, grown]), axis=0)
            rows = rows[(rows[:, place] != EMPTY)]
            told = yield Batch(ids=rows, keep=self.width)
            beam = rows[told.order()[: self.width]]

    def _choices(
        self, beam: IntArray, place: int, branch: int
    ) -> Generator[Batch, Feedback, IntArray]:
        v = len(self.space.tokens)
        if branch >= v:
            return np.tile(self.space.tokens, (len(beam), 1))
        rows = [self.rng.choice(self.space.tokens, size=branch, replace=False) for _ in beam]
        choices = np.array(rows, dtype=np.int64)
        half = branch // 2
        if half:
            ids, _ = yield from likely_tokens(self.space, beam, place, half)
            choices[:, :half] = ids
        return choices
