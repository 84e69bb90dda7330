"""A task and a model seen as losses: candidates x examples -> feedback for a strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from hardprompt.scoring.losses import Loss, normalise
from hardprompt.scoring.plan import Group, Row, pack_rows, shape
from hardprompt.scoring.race import race
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.types import Batch, BoolArray, Feedback, FloatArray, IntArray, Proposals

BLOCKS = 4
# What the model would write next hardly depends on the text: a few say enough.
PROPOSAL_EXAMPLES = 16

Parts = Sequence[tuple[Group, IntArray | None]]


class Objective:
    """Measures batches on the search split; it cannot see any other."""

    def __init__(
        self,
        scorer: Scorer,
        gold: IntArray,
        space: SearchSpace,
        loss: Loss,
        *,
        dropping: bool = True,
    ) -> None:
        self.scorer, self.gold, self.space, self.loss = scorer, gold, space, loss
        self.dropping = dropping
        self._open: dict[int, Group] = {}  # by slot: what proposals are asked on
        self.pairs_saved = 0  # (row, example) pairs that early dropping did not compute
        self.pairs = 0

    def measure(self, batch: Batch) -> Feedback:
        if batch.wants_gradient or batch.embeds is not None:
            return self._with_gradient(batch)
        assert batch.ids is not None
        ids = self.space.canonical(batch.ids)
        alive = self.scorer.survives(ids)
        loss = np.full(len(ids), np.nan)
        exact = np.ones(len(ids), dtype=bool)
        if alive.any():
            loss[alive], exact[alive] = self._losses(ids[alive], batch, alive)
        return Feedback(loss, exact, proposals=self._proposals(batch, ids))

    def _losses(
        self, ids: IntArray, batch: Batch, alive: BoolArray
    ) -> tuple[FloatArray, BoolArray]:
        parts = self.scorer.within(batch.examples)
        may_drop = self.dropping and self.loss.bounded
        if not may_drop or (batch.bar is None and batch.keep is None):
            blocks = [list(parts)]
        else:
            blocks = _deal(parts)
        sizes = [sum(_count(part) for part in block) for block in blocks]
        n_examples = sum(sizes)
        scores = np.full((len(ids), self.space.n_examples, len(self.scorer.labels)), np.nan)
        seen = np.zeros((len(ids), self.space.n_examples), dtype=bool)

        def measure(rows: IntArray, block: int) -> None:
            if not len(rows):
                return
            found = np.empty((len(rows), *scores.shape[1:]))
            self.scorer.by_ids(ids[rows], blocks[block], found)
            examples = _examples(blocks[block])
            scores[np.ix_(rows, examples)] = found[:, examples]
            seen[np.ix_(rows, examples)] = True

        def bound(rows: IntArray) -> FloatArray:
            totals = [self._total(scores[row], seen[row], n_examples) for row in rows]
            return np.array(totals, dtype=np.float64)

        bar = None if batch.bar is None else batch.bar[alive]
        everyone = np.arange(len(ids))
        finished, saved = race(len(ids), sizes, measure, bound, bar=bar, keep=batch.keep)
        self.pairs_saved += saved
        self.pairs += len(ids) * n_examples
        return bound(everyone), finished

    def _total(self, scores: FloatArray, seen: BoolArray, n: int) -> float:
        # Summed in the order of the examples, whatever the batches were.
        return float(self.loss.total(scores[None, seen], self.gold[seen], n)[0])

    def _with_gradient(self, batch: Batch) -> Feedback:
        rows = batch.ids if batch.embeds is None else None
        if rows is not None:
            ids = self.space.canonical(rows)
            points = self.space.embeddings[np.maximum(ids, 0)].astype(np.float32)
            alive = self.scorer.survives(ids)
        else:
            assert batch.embeds is not None
            points = batch.embeds
            ids = np.zeros(points.shape[:2], dtype=np.int64)
            alive = np.ones(len(ids), dtype=bool)
        parts = self.scorer.within(batch.examples, len(ids))
        n_examples = sum(_count(part) for part in parts)
        scores = np.full((len(ids), self.space.n_examples, len(self.scorer.labels)), np.nan)
        gradient = np.zeros(points.shape, dtype=np.float32)
        self._accumulate(ids, points, parts, scores, gradient)
        gradient /= n_examples
        gradient[~alive] = np.nan
        seen = np.zeros(self.space.n_examples, dtype=bool)
        seen[_examples(parts)] = True
        loss = np.array([self._total(row, seen, n_examples) for row in scores])
        loss[~alive] = np.nan
        self.pairs += len(ids) * n_examples
        width = rows.shape[1] if rows is not None else points.shape[1]
        return Feedback(loss, np.ones(len(ids), dtype=bool), gradient[:, :width])

    def _accumulate(
        self,
        ids: IntArray,
        points: FloatArray,
        parts: Parts,
        scores: FloatArray,
        gradient: FloatArray,
    ) -> None:
        """Adds up scores and gradients, one shape of prompt and one group at a time."""
        starts = np.cumsum(self.space.slots) - np.array(self.space.slots)
        for numbers, prompts in self.scorer.shapes(ids):
            widths = [prompt.shape[1] for prompt in prompts]
            if not all(widths):
                continue  # an empty slot has no point to differentiate; its loss stays NaN
            slots = [points[numbers, a : a + k] for a, k in zip(starts, widths, strict=True)]
            for group, members in parts:
                gold = self.gold[group.examples]
                found, slopes = self.scorer.model.gradient(
                    group, self.scorer.labels, gold, slots, members
                )
                examples = group.examples if members is None else group.examples[members]
                scores[numbers[:, None], examples] = normalise(found)
                for a, k, slope in zip(starts, widths, slopes, strict=True):
                    gradient[numbers, a : a + k] += slope

    def _proposals(self, batch: Batch, ids: IntArray) -> Proposals | None:
        """The allowed tokens that the model finds likeliest next, where the prompt so far ends."""
        m = min(batch.wants_proposals, len(self.space.tokens))
        if not m:
            return None
        best = np.empty((len(ids), m), dtype=np.int64)
        values = np.empty((len(ids), m))
        for numbers, prompts in self.scorer.shapes(ids):
            slot = _open_slot(prompts, self.space.slots)
            if slot not in self._open:
                self._open[slot] = self._heads(slot)
            group = self._open[slot]
            if not sum(part.shape[1] for part in (*group.segments, *prompts)):
                # Nothing stands before the first token of a model without a beginning.
                best[numbers], values[numbers] = self.space.tokens[:m], np.nan
                continue
            found = self.scorer.model.next_token_log_probs(group, prompts[: slot + 1])
            allowed = found[:, self.space.tokens]
            order = np.argsort(-allowed, axis=1, kind="stable")[:, :m]
            best[numbers] = self.space.tokens[order]
            values[numbers] = np.take_along_axis(allowed, order, axis=1)
        return Proposals(best, values)

    def _heads(self, slot: int) -> Group:
        """What stands around the end of that slot, for a few examples; equal ones once."""
        rows = [_before(row, slot) if row.label is None else row for row in self.scorer.rows]
        # The commonest shape only, so that the rows are one batch.
        commonest = Counter(map(shape, rows)).most_common(1)[0][0]
        first: dict[Row, int] = {}
        for i, row in enumerate(rows):
            if shape(row) == commonest:
                first.setdefault(row, i)
        return pack_rows(rows, list(first.values())[:PROPOSAL_EXAMPLES])


def _before(row: Row, slot: int) -> Row:
    """All that a causal model reads before the end of a slot."""
    return Row((*row.segments[: slot + 1], ()))


def _open_slot(prompts: Sequence[IntArray], slots: Sequence[int]) -> int:
    for number, (prompt, width) in enumerate(zip(prompts, slots, strict=True)):
        if prompt.shape[1] < width:
            return number
    return len(slots) - 1


def _count(part: tuple[Group, IntArray | None]) -> int:
    group, members = part
    return len(group) if members is None else len(members)


def _examples(parts: Parts) -> IntArray:
    found = [g.examples if m is None else g.examples[m] for g, m in parts]
    return np.concatenate(found)


def _deal(parts: Parts) -> list[list[tuple[Group, IntArray | None]]]:
    """Groups dealt into blocks of like size; every block has short and long texts."""
    blocks: list[list[tuple[Group, IntArray | None]]] = [[] for _ in range(BLOCKS)]
    sizes = [0] * BLOCKS
    for part in parts:
        smallest = sizes.index(min(sizes))
        blocks[smallest].append(part)
        sizes[smallest] += _count(part)
    return [block for block in blocks if block]
