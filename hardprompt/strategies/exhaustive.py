"""Exhaustive search: the certain answer in a small space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import ClassVar

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.types import EMPTY, Batch, IntArray


@dataclass(kw_only=True)
class Exhaustive(Strategy):
    """Try every prompt there is; the best `keep` are measured to the end, others may be dropped."""

    name: ClassVar[str] = "exhaustive"
    keep: int = 20
    batch: int = 64

    def __post_init__(self) -> None:
        at_least(1, keep=self.keep, batch=self.batch)

    def search(self) -> Script:
        prompts = every_prompt(self.space)
        keep = min(self.keep, self.space.size)
        best = np.full(keep, np.inf)  # losses of the best so far, ascending
        while rows := list(islice(prompts, self.batch)):
            # The bar is the keep-th best loss: whoever fails it cannot be among them.
            bar = np.full(len(rows), best[-1])
            told = yield Batch(ids=np.array(rows, dtype=np.int64), bar=bar)
            finished = told.trusted()
            best = np.sort(np.append(best, finished[np.isfinite(finished)]))[:keep]


def every_prompt(space: SearchSpace) -> Iterator[IntArray]:
    """`(length,)` rows; shorter prompts first, then in the order of the token ids."""
    shapes = [
        shape
        for shape in product(*(range(width + 1) for width in space.slots))
        if space.shortest <= sum(shape)
    ]
    for shape in sorted(shapes, key=lambda shape: (sum(shape), shape)):
        row = np.full(space.length, EMPTY, dtype=np.int64)
        starts = np.cumsum(space.slots) - np.array(space.slots)
        places = [a + i for a, n in zip(starts, shape, strict=True) for i in range(n)]
        for tokens in product(space.tokens, repeat=len(places)):
            row[places] = tokens
            yield row.copy()
