"""Scores of rows on examples, filled in block by block, and the losses that they come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardprompt.scoring.forecast import LEVEL, Forecast
from hardprompt.scoring.losses import Loss
from hardprompt.scoring.plan import Group, Parts, examples_of
from hardprompt.scoring.scorer import Scorer
from hardprompt.types import BoolArray, FloatArray, IntArray


class Sheet:
    """Scores of some canonical rows on blocks of the scorer's examples; `added`, `(n,)`, is known
    beforehand and part of each row's loss."""

    def __init__(
        self,
        scorer: Scorer,
        ids: IntArray,
        gold: IntArray,
        loss: Loss,
        blocks: Sequence[Parts],
        added: FloatArray,
    ) -> None:
        self.scorer, self.ids, self.gold, self.loss, self.blocks = scorer, ids, gold, loss, blocks
        self.added = added
        self.sizes = [sum(map(count, block)) for block in blocks]
        self.n_examples = sum(self.sizes)
        self.scores = np.full((len(ids), len(gold), len(scorer.labels)), np.nan)
        self.seen = np.zeros((len(ids), len(gold)), dtype=bool)

    def measure(self, rows: IntArray, block: int) -> None:
        """Scores these rows on that block."""
        if not len(rows):
            return
        found = np.empty((len(rows), *self.scores.shape[1:]))
        self.scorer.by_ids(self.ids[rows], self.blocks[block], found)
        examples = examples_of(self.blocks[block])
        self.scores[np.ix_(rows, examples)] = found[:, examples]
        self.seen[np.ix_(rows, examples)] = True

    def bound(self, rows: IntArray) -> FloatArray:
        """`(rows,)` losses over what was seen: where the loss is bounded, not above the whole."""
        return np.array(
            [
                total(self.loss, self.scores[row], self.gold, self.seen[row], self.n_examples)
                + self.added[row]
                for row in rows
            ],
            dtype=np.float64,
        )

    def limits(
        self, forecast: Forecast, rows: IntArray, block: int
    ) -> tuple[FloatArray, FloatArray]:
        """What a forecast says from the blocks before that one; never less than what is sure."""
        first = forecast.order[: sum(self.sizes[:block])]
        terms = self.loss.terms(self.scores[np.ix_(rows, first)], self.gold[first])
        low, high = (limit + self.added[rows] for limit in forecast.limits(terms, LEVEL))
        return (np.fmax(low, self.bound(rows)) if self.loss.bounded else low), high


def total(loss: Loss, scores: FloatArray, gold: IntArray, seen: BoolArray, n: int) -> float:
    """The loss of one row, `(N, classes)`, on the examples that were seen of n."""
    # Summed in the order of the examples, whatever the batches were.
    return float(loss.total(scores[None, seen], gold[seen], n)[0])


def count(part: tuple[Group, IntArray | None]) -> int:
    group, members = part
    return len(group) if members is None else len(members)
