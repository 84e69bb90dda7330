"""Label words and prompt searched together: every prompt with the set of words that suits it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hardprompt.errors import UsageError
from hardprompt.models.base import Labels
from hardprompt.objective import Objective
from hardprompt.scoring.fluency import Fluency
from hardprompt.scoring.losses import Loss, normalise
from hardprompt.scoring.places import steady_label_ids
from hardprompt.scoring.plan import examples_of
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.types import Batch, Feedback, FloatArray, IntArray

PASSES = 3  # readings of the search rows that finding words takes, for each prompt in place


def words_price(n_manual: int) -> float:
    """Prompts of the budget that finding label words costs: without a prompt, and with the best
    of so many manual ones, which must be found first."""
    return 1.0 + n_manual + PASSES * (2 if n_manual else 1)


def after_words(space: SearchSpace, price: float) -> SearchSpace:
    """What is left to search once the label words were found. A gradient takes one more reading,
    which tells whose it is."""
    if space.budget <= price:
        raise UsageError(
            f"--budget must be above {price:g} with --labels auto, got {space.budget:g}: so many "
            "prompts it costs to find the words"
        )
    return replace(space, budget=space.budget - price, gradient_price=space.gradient_price + 1)


def token_sets(
    sets: Sequence[tuple[str, ...]], scorer: Scorer, tokens: IntArray
) -> tuple[Labels, ...]:
    """The tokens of each set of label words; raises where a prompt of `tokens` changes them."""
    words = tuple(dict.fromkeys(itertools.chain(*sets)))
    if not words:
        return ()
    sample = min(scorer.texts, key=len)
    read = steady_label_ids(scorer.renderer, words, sample, scorer.slots, tokens)
    ids = dict(zip(words, read, strict=True))
    return tuple(tuple(ids[word] for word in some) for some in sets)


def all_words(sets: Sequence[Labels]) -> Labels:
    """Every label word of these sets once."""
    return tuple(dict.fromkeys(word for labels in sets for word in labels))


def columns(sets: Sequence[Labels]) -> IntArray:
    """`(sets, classes)`: where each set's words stand in `all_words`."""
    words = all_words(sets)
    return np.array([[words.index(word) for word in labels] for labels in sets], dtype=np.int64)


def losses(
    loss: Loss, places: IntArray, log_probs: FloatArray, gold: IntArray, n: int
) -> FloatArray:
    """`(sets, rows)` of log-probabilities `(rows, seen, words)` of all words."""
    found = [loss.total(normalise(log_probs[..., place]), gold, n) for place in places]
    return np.stack(found)


def best_of(loss: Loss, sets: Sequence[Labels]) -> Loss:
    """The loss with the best set for each row. Each set's bound holds, so that of the best does;
    but it is no mean over examples, and no forecast of one."""
    places = columns(sets)

    def best(log_probs: FloatArray, gold: IntArray, n: int) -> FloatArray:
        lowest: FloatArray = losses(loss, places, log_probs, gold, n).min(axis=0)
        return lowest

    return replace(loss, total=best)


class JointObjective(Objective):
    """Every loss is that with the set of label words that makes it lowest.

    All words are read from one forward pass, so that prompts cost what they cost with one set. A
    gradient is that of the best set's loss, which is the gradient of the lowest loss (but where
    two sets tie); to know the set, the prompt is read once more.
    """

    def __init__(
        self,
        scorer: Scorer,
        gold: IntArray,
        space: SearchSpace,
        loss: Loss,
        sets: Sequence[Labels],
        *,
        fluency: float = 0.0,
        dropping: bool = True,
        slopes: Scorer | None = None,
    ) -> None:
        slopes = slopes or scorer
        scorer = scorer.labelled(all_words(sets))
        alone = Fluency(slopes.model, space)  # label words do not change it
        super().__init__(
            scorer, gold, space, best_of(loss, sets), fluency=fluency, dropping=dropping,
            slopes=slopes.labelled(scorer.labels), alone=alone,
        )  # fmt: skip
        self._places, self._single = columns(sets), loss
        self._alone = [
            Objective(slopes.labelled(labels), gold, space, loss, fluency=fluency, alone=alone)
            for labels in sets
        ]

    def _with_gradient(self, batch: Batch) -> Feedback:
        chosen, pairs = self._suiting(batch)
        parts = []
        for number in np.unique(chosen):
            rows = np.flatnonzero(chosen == number)
            parts.append((rows, self._alone[number].measure(_some(batch, rows))))
        pairs += sum(found.pairs for _, found in parts)
        self.pairs += pairs
        proposals = None
        if batch.ids is not None:
            proposals = self._proposals(batch, self.space.canonical(batch.ids))
        return replace(_together(len(batch), parts), pairs=pairs, proposals=proposals)

    def _suiting(self, batch: Batch) -> tuple[IntArray, int]:
        """`(n,)` the set with the lowest loss for each row, and the pairs that it takes to tell."""
        parts = self.scorer.within(batch.examples, len(batch))
        scores = np.full((len(batch), len(self.gold), len(self.scorer.labels)), np.nan)
        if batch.embeds is None:
            assert batch.ids is not None
            self.scorer.by_ids(self.space.canonical(batch.ids), parts, scores)
        else:
            self.scorer.points_into(batch.embeds, parts, scores)
        seen = np.sort(examples_of(parts))
        found = losses(self._single, self._places, scores[:, seen], self.gold[seen], len(seen))
        # A row that cannot be measured is NaN with every set.
        suiting: IntArray = np.where(np.isnan(found), np.inf, found).argmin(axis=0)
        return suiting, len(batch) * len(seen)


def _some(batch: Batch, rows: IntArray) -> Batch:
    """The same question for some rows of a batch."""
    ids = None if batch.ids is None else batch.ids[rows]
    embeds = None if batch.embeds is None else batch.embeds[rows]
    return replace(batch, ids=ids, embeds=embeds, keep=None, bar=None, wants_proposals=0)


def _together(n: int, parts: Sequence[tuple[IntArray, Feedback]]) -> Feedback:
    """The answers to some of n rows each, as one."""
    whole: dict[str, Any] = {}
    for name, value in vars(parts[0][1]).items():
        if isinstance(value, np.ndarray):
            whole[name] = np.empty((n, *value.shape[1:]), dtype=value.dtype)
            for rows, found in parts:
                whole[name][rows] = getattr(found, name)
    return Feedback(**whole)
