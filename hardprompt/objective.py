"""A task and a model seen as losses: candidates x examples -> feedback for a strategy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np

from hardprompt.scoring.fluency import Fluency
from hardprompt.scoring.forecast import FEWEST, REFERENCES, Forecast
from hardprompt.scoring.losses import Loss
from hardprompt.scoring.plan import Group, Parts, Row, examples_of, pack_rows, shape
from hardprompt.scoring.race import drop, race, smallest
from hardprompt.scoring.scorer import Scorer
from hardprompt.scoring.sheet import Sheet, count, total
from hardprompt.space import SearchSpace
from hardprompt.types import Batch, BoolArray, Feedback, FloatArray, IntArray, Proposals

BLOCKS = 4
# What the model would write next hardly depends on the text: a few say enough.
PROPOSAL_EXAMPLES = 16


class Objective:
    """Measures batches on the search split; it cannot see any other."""

    def __init__(
        self,
        scorer: Scorer,
        gold: IntArray,
        space: SearchSpace,
        loss: Loss,
        *,
        fluency: float = 0.0,
        dropping: bool = True,
        racing: np.random.Generator | None = None,
        slopes: Scorer | None = None,
        alone: Fluency | None = None,
    ) -> None:
        """`fluency` times the prompt's own mean negative log-likelihood is added to each loss.
        `racing` draws what a race is run by; None: only what is surely above is dropped.
        `slopes` is where gradients come from; None: the scorer of everything else. `alone` tells
        the fluency where gradients come from; None: one of its own."""
        self.scorer, self.gold, self.space, self.loss = scorer, gold, space, loss
        self.slopes = slopes or scorer
        self._given = alone
        self.weight, self.dropping, self.racing = fluency, dropping, racing
        self._open: dict[int, Group] = {}  # by slot: what proposals are asked on
        self.pairs_saved = 0  # (row, example) pairs that early dropping did not compute
        self.pairs = 0

    def measure(self, batch: Batch) -> Feedback:
        if batch.wants_gradient:
            return self._with_gradient(batch)
        if batch.ids is None:
            return self._of_points(batch)
        ids = self.space.canonical(batch.ids)
        alive = self.scorer.survives(ids)
        loss = np.full(len(ids), np.nan)
        exact = np.ones(len(ids), dtype=bool)
        pairs, saved = self.pairs, self.pairs_saved
        fluency = np.full(len(ids), np.nan)
        if self.weight or batch.wants_fluency:
            fluency[alive] = self._fluency.of(ids[alive])
        if alive.any():
            added = self.weight * fluency[alive] if self.weight else np.zeros(int(alive.sum()))
            loss[alive], exact[alive] = self._losses(ids[alive], batch, alive, added)
        return Feedback(
            loss,
            exact,
            proposals=self._proposals(batch, ids),
            pairs=self.pairs - pairs,
            pairs_saved=self.pairs_saved - saved,
            fluency=fluency if batch.wants_fluency else None,
        )

    def added(self, ids: IntArray) -> FloatArray:
        """`(n,)`: what the fluency of prompts adds to their losses."""
        if not self.weight:
            return np.zeros(len(ids))
        return self.weight * self._fluency.of(ids)

    @cached_property
    def _fluency(self) -> Fluency:
        return Fluency(self.scorer.model, self.space)

    @cached_property
    def _fluency_slopes(self) -> Fluency:
        return self._given or Fluency(self.slopes.model, self.space)

    def _losses(
        self, ids: IntArray, batch: Batch, alive: BoolArray, added: FloatArray
    ) -> tuple[FloatArray, BoolArray]:
        bar = None if batch.bar is None else batch.bar[alive]
        forecast = self._forecast(len(ids), bar, batch)
        blocks = self._blocks(batch, len(ids), forecast)
        sheet = Sheet(self.scorer, ids, self.gold, self.loss, blocks, added)
        how = len(ids), sheet.sizes, sheet.measure
        if forecast is None:
            finished, saved = drop(*how, sheet.bound, bar=bar, keep=batch.keep)
        else:
            limits = partial(sheet.limits, forecast)
            finished, saved = race(*how, limits, bar=bar, keep=batch.keep)
        self.pairs_saved += saved
        self.pairs += len(ids) * sheet.n_examples
        loss = sheet.bound(np.arange(len(ids)))
        if forecast is not None:
            # What a row seemed to come to is no bound: all that is said is that it is above.
            limit = smallest(loss[finished], batch.keep)
            loss[~finished] = limit if bar is None else np.minimum(bar, limit)[~finished]
        return loss, finished

    def _blocks(self, batch: Batch, n: int, forecast: Forecast | None) -> list[Parts]:
        """Examples to be measured together before the next rows are dropped."""
        if forecast is not None:
            return [self.scorer.within(examples) for examples in forecast.blocks()]
        parts = self.scorer.within(batch.examples, n)
        may_drop = self.dropping and self.loss.bounded
        if not may_drop or (batch.bar is None and batch.keep is None):
            return [parts]
        return _deal(parts)

    def _forecast(self, n: int, bar: FloatArray | None, batch: Batch) -> Forecast | None:
        """What to race n rows of this batch by; None: nothing may be dropped, or not so."""
        few = batch.keep is None or batch.keep >= n
        if self.racing is None or (few and (bar is None or not np.isfinite(bar).any())):
            return None
        examples = self.space.n_examples if batch.examples is None else len(batch.examples)
        if examples < FEWEST or self._learned is None:
            return None
        return self._learned.within(batch.examples)

    @cached_property
    def _learned(self) -> Forecast | None:
        """What random prompts show of the examples; None where they cannot be measured.

        They are the same for every batch and for a resumed run, and so is what is dropped.
        """
        assert self.racing is not None
        ids = self.space.random(self.racing, 4 * REFERENCES)
        ids = ids[self.scorer.survives(ids)][:REFERENCES]
        scores = np.empty((len(ids), self.space.n_examples, len(self.scorer.labels)))
        self.scorer.by_ids(ids, self.scorer.within(None), scores)
        scores = scores[np.isfinite(scores).all(axis=(1, 2))]
        if len(scores) < 2:
            return None
        losses, smooth = (form(scores, self.gold) for form in (self.loss.terms, self.loss.smooth))
        return Forecast.learn(losses, smooth, self.gold, self.racing)

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
        parts = self.slopes.within(batch.examples, len(ids))
        n_examples = sum(count(part) for part in parts)
        scores = np.full((len(ids), self.space.n_examples, len(self.scorer.labels)), np.nan)
        gradient = np.zeros(points.shape, dtype=np.float32)
        self._accumulate(ids, points, parts, scores, gradient)
        gradient /= n_examples
        loss = self._totals(scores, parts)
        loss[~alive] = np.nan  # nobody can write such a prompt; where to go from it is known
        self.pairs += len(ids) * n_examples
        width = rows.shape[1] if rows is not None else points.shape[1]
        exact = np.ones(len(ids), dtype=bool)
        fluency = None
        if self.weight or batch.wants_fluency:
            # Points are read as they are, but what they are to be likely as are the next tokens.
            told = ids if rows is not None else self.space.nearest(points)[..., 0]
            fluency, slopes = self._fluency_slopes.gradient(told, points)
            loss += self.weight * fluency
            gradient += np.float32(self.weight) * slopes
            fluency[~alive] = np.nan
        return Feedback(
            loss,
            exact,
            gradient[:, :width],
            proposals=None if rows is None else self._proposals(batch, ids),
            pairs=len(ids) * n_examples,
            fluency=fluency if batch.wants_fluency else None,
        )

    def _of_points(self, batch: Batch) -> Feedback:
        """Losses of points between tokens, read as they are."""
        points = batch.embeds
        assert points is not None
        parts = self.slopes.within(batch.examples, len(points))
        scores = np.full((len(points), self.space.n_examples, len(self.scorer.labels)), np.nan)
        self.slopes.points_into(points, parts, scores)
        loss, fluency = self._totals(scores, parts), None
        if self.weight or batch.wants_fluency:
            nearest = self.space.nearest(points)[..., 0]
            fluency, _ = self._fluency_slopes.gradient(nearest, points)
            loss += self.weight * fluency
        pairs = len(points) * sum(count(part) for part in parts)
        self.pairs += pairs
        exact = np.ones(len(points), dtype=bool)
        told = fluency if batch.wants_fluency else None
        return Feedback(loss, exact, pairs=pairs, fluency=told)

    def _totals(self, scores: FloatArray, parts: Parts) -> FloatArray:
        """`(n,)` losses on the examples of these parts, of `(n, N, classes)` scores."""
        seen = np.zeros(self.space.n_examples, dtype=bool)
        seen[examples_of(parts)] = True
        n = int(seen.sum())
        return np.array([total(self.loss, row, self.gold, seen, n) for row in scores])

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
                gradient[numbers] = np.nan  # an empty slot has no point to differentiate
                continue  # and the loss stays NaN
            slots = [points[numbers, a : a + k] for a, k in zip(starts, widths, strict=True)]
            for group, members in parts:
                gold = self.gold[group.examples]
                found, slopes = self.slopes.model.gradient(
                    group, self.scorer.labels, gold, slots, members
                )
                examples = group.numbers(members)
                scores[numbers[:, None], examples] = self.scorer.formed(found)
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


def _deal(parts: Parts) -> list[Parts]:
    """Groups dealt into blocks of like size; every block has short and long texts."""
    blocks: list[list[tuple[Group, IntArray | None]]] = [[] for _ in range(BLOCKS)]
    sizes = [0] * BLOCKS
    for part in parts:
        smallest = sizes.index(min(sizes))
        blocks[smallest].append(part)
        sizes[smallest] += count(part)
    return [block for block in blocks if block]
