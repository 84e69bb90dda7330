"""Tools to test strategies without a model: public, for strategies of other packages, too.

`StrategyContract` is what every strategy promises, as pytest tests. `planted_space` and
`PlantedObjective` are a search with a known answer; `converse` runs a strategy on them and
`best_loss` says how far it came. docs/adding-a-strategy.md shows all of them at work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Strategy
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray, Proposals

__all__ = [
    "PlantedObjective",
    "StrategyContract",
    "Talk",
    "best_loss",
    "converse",
    "planted_space",
]

Talk = list[tuple[Batch, Feedback]]  # what was asked and what was told, in order


def planted_space(
    vocabulary: int = 60,
    length: int = 4,
    *,
    dim: int = 8,
    n_examples: int = 16,
    min_length: int | None = None,
    slots: tuple[int, ...] | None = None,
    seed: int = 0,
) -> SearchSpace:
    """A space of `vocabulary` tokens with random embeddings of `dim` dimensions.

    Only every second id may be used, so that a strategy which takes numbers for tokens is found
    out. `slots` are the most tokens of each slot, by default one slot of `length`; `min_length`
    lets prompts be shorter.
    """
    rng = np.random.default_rng(seed)
    return SearchSpace(
        tokens=np.arange(0, 2 * vocabulary, 2, dtype=np.int64),
        slots=slots or (length,),
        embeddings=rng.normal(size=(2 * vocabulary, dim)).astype(np.float32),
        n_examples=n_examples,
        min_length=min_length,
    )


@dataclass
class PlantedObjective:
    """A smooth bowl around one hidden prompt, seen through noisy examples; its loss is >= 0.

    The loss of a prompt is the mean over its positions of the squared distance between its
    embeddings and those of the hidden prompt (an EMPTY position counts as the zero vector),
    times a positive weight per example. So the lowest loss is 0, at `hidden`, every place can be
    solved by itself, and the gradient is exact. Rows that a permission of the batch covers are
    told as bounds wherever it allows. Proposals know nothing: the first tokens of the vocabulary,
    likelier the smaller. A prompt's fluency is the mean of a number that each token has.
    """

    space: SearchSpace
    seed: int = 1  # of the hidden prompt and the weights
    broken: float = 0.0  # share of rows that come back as NaN
    measured: int = 0  # rows so far

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.hidden = rng.choice(self.space.tokens, size=self.space.length)
        self.weights = rng.uniform(0.5, 1.5, size=self.space.n_examples)
        self.surprises = rng.uniform(1.0, 9.0, size=len(self.space.embeddings))

    def measure(self, batch: Batch) -> Feedback:
        """Answers a batch as a study would."""
        points = self._points(batch)
        k = points.shape[1]
        target = self.space.embeddings[self.hidden].astype(np.float64)
        gap = points - target[None, :k]
        rest = (target[k:] ** 2).sum()  # a shorter row counts as EMPTY to the right
        weight = self.weights if batch.examples is None else self.weights[batch.examples]
        scale = weight.mean() / self.space.length
        loss = ((gap**2).sum(axis=(1, 2)) + rest) * scale
        gradient = (2 * gap * scale).astype(np.float32) if batch.wants_gradient else None
        if gradient is not None and batch.ids is not None:
            gradient[batch.ids == EMPTY] = 0.0
        exact = np.ones(len(batch), dtype=bool)
        if batch.bar is not None:
            exact &= ~(loss > batch.bar)
        if batch.keep is not None and len(batch) > batch.keep:
            exact &= loss <= np.sort(loss)[batch.keep - 1]
        broken = self._broken(batch)
        loss = np.where(broken, np.nan, loss)
        if gradient is not None:
            gradient[broken] = np.nan
        self.measured += len(batch)
        fluency = np.where(broken, np.nan, self._fluency(batch)) if batch.wants_fluency else None
        return Feedback(loss, exact | broken, gradient, self._proposals(batch), fluency=fluency)

    def _fluency(self, batch: Batch) -> FloatArray:
        ids = batch.ids
        if ids is None:
            assert batch.embeds is not None
            ids = self.space.nearest(batch.embeds)[..., 0]
        told = np.where(ids == EMPTY, 0.0, self.surprises[ids])
        mean: FloatArray = told.sum(axis=1) / np.maximum((ids != EMPTY).sum(axis=1), 1)
        return mean

    def _points(self, batch: Batch) -> FloatArray:
        if batch.embeds is not None:
            return batch.embeds.astype(np.float64)
        assert batch.ids is not None
        points = self.space.embeddings[np.maximum(batch.ids, 0)].astype(np.float64)
        points[batch.ids == EMPTY] = 0.0
        return points

    def _broken(self, batch: Batch) -> np.ndarray:
        rows = batch.ids if batch.ids is not None else batch.embeds
        assert rows is not None
        draws = [np.random.default_rng(list(row.tobytes())).random() for row in rows]
        return np.array(draws) < self.broken

    def _proposals(self, batch: Batch) -> Proposals | None:
        if not batch.wants_proposals or batch.ids is None:
            return None
        ids: IntArray = np.tile(self.space.tokens[: batch.wants_proposals], (len(batch), 1))
        return Proposals(ids, np.tile(-np.log1p(np.arange(ids.shape[1])), (len(batch), 1)))


def converse(
    strategy: Strategy,
    objective: PlantedObjective,
    budget: float,
    *,
    seed: int = 0,
    told: list[Feedback] | None = None,
) -> Talk:
    """Asks and tells until nothing is asked or the budget, in rows, is spent.

    Unlike a study it charges a row each time it is asked. `seed` is the strategy's; `told`
    answers the first batches, as a resumed search does.
    """
    strategy.start(replace(objective.space, budget=budget), np.random.default_rng(seed))
    talk: Talk = []
    spent = 0.0
    while spent < budget and len(talk) < 20 * budget:
        batch = strategy.ask()
        if not len(batch):
            break
        known = told is not None and len(talk) < len(told)
        feedback = told[len(talk)] if told and known else objective.measure(batch)
        spent += len(batch) * objective.space.price(batch)
        strategy.tell(batch, feedback)
        talk.append((batch, feedback))
    return talk


def best_loss(talk: Talk, space: SearchSpace) -> float:
    """The lowest exact loss of a whole prompt on all examples."""
    losses = [
        float(loss)
        for batch, told in talk
        if batch.ids is not None and batch.examples is None
        for row, loss, exact in zip(space.canonical(batch.ids), told.loss, told.exact, strict=True)
        if exact and np.isfinite(loss) and (row != EMPTY).sum() >= space.shortest
    ]
    return min(losses, default=float("inf"))


class StrategyContract:
    """What every strategy promises; subclass it, set `make`, and pytest runs these tests.

    class TestMine(StrategyContract):
        make = staticmethod(lambda: Mine(width=4))

    Class attributes are the only settings. A subclass may add tests of its own, with `talk`.
    """

    make: Callable[[], Strategy]  # returns a fresh strategy
    budget = 120.0  # rows of a search in most of these tests
    beats_random = True  # False for references that take neither advice nor aim

    def talk(self, space: SearchSpace | None = None, **options: Any) -> Talk:
        """One search by a fresh strategy on a planted objective; options: `budget`, `broken`,
        and those of `converse`."""
        space = space or planted_space()
        broken = options.pop("broken", 0.0)
        budget = options.pop("budget", self.budget)
        return converse(self.make(), PlantedObjective(space, broken=broken), budget, **options)

    def test_the_same_seed_asks_the_same(self) -> None:
        """All chance comes from `self.rng`, and nothing is kept from an earlier search."""
        _same(self.talk(), self.talk())

    def test_a_replayed_search_asks_the_same(self) -> None:
        """What is asked depends on what was told alone: so a killed search goes on."""
        whole = self.talk()
        told = [feedback for _, feedback in whole[: len(whole) // 2]]
        _same(whole, self.talk(told=told))

    def test_ids_are_allowed_and_canonical(self) -> None:
        """Tokens of the space only; EMPTY to the right inside each slot."""
        space = planted_space(slots=(2, 2), min_length=2, length=4)
        for batch, _ in self.talk(space):
            if batch.ids is not None:
                allowed = np.isin(batch.ids, [*space.tokens, EMPTY])
                assert allowed.all(), f"not in space.tokens: {batch.ids[~allowed]}"
                full = batch.ids[:, : space.length]
                canonical = space.canonical(full)[:, : full.shape[1]]
                assert (canonical == full).all(), "EMPTY must stand last in its slot"

    def test_rows_that_fail_do_no_harm(self) -> None:
        """NaN, for some rows or all, is neither an error nor the best."""
        for broken in (0.1, 1.0):
            assert self.talk(broken=broken), "nothing was asked"
        found = best_loss(self.talk(broken=0.1), planted_space())
        assert np.isfinite(found), "no whole prompt was measured on all examples"

    def test_tiny_spaces_do_no_harm(self) -> None:
        """Fewer tokens than a strategy would like to choose from, down to one prompt."""
        for vocabulary, length in ((1, 1), (2, 1), (1, 3), (3, 2)):
            space = planted_space(vocabulary, length)
            assert self.talk(space, budget=30.0), f"nothing was asked of {space.size:g} prompts"

    def test_seeds_are_measured(self) -> None:
        """Prompts that the user begins with are tried."""
        space = planted_space()
        seed = np.array([space.tokens[:4]])
        if not self.beats_random:
            return  # the references take no advice
        asked = [
            space.canonical(batch.ids)
            for batch, _ in self.talk(replace(space, seeds=seed))
            if batch.ids is not None
        ]
        near = min(int((np.concatenate(asked) != seed).sum(axis=1).min()), 4)
        # Samplers that move in coordinates may land on the seed's nearest neighbours.
        assert near <= 1, f"the nearest row differs from the seed in {near} places"

    def test_global_generators_stay_untouched(self) -> None:
        """Neither numpy's nor torch's own generator is drawn from."""
        import torch

        before = np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]
        self.talk()
        assert (before[0] == np.random.get_state()[1]).all()  # type: ignore[index]
        assert torch.equal(before[1], torch.get_rng_state())

    def test_beats_random_search(self) -> None:
        """At equal budget, in the mean of five seeds."""
        if not self.beats_random:
            return
        from hardprompt.strategies.random import Random

        own, reference = [], []
        for seed in range(5):
            space = planted_space(seed=seed)
            objective = PlantedObjective(space)
            own.append(best_loss(converse(self.make(), objective, 300, seed=seed), space))
            talk = converse(Random(), objective, 300, seed=seed)
            reference.append(best_loss(talk, space))
        # No margin: a strategy that is only as good as random has no reason to be.
        assert np.mean(own) < np.mean(reference), "no better than random search"


def _same(a: Talk, b: Talk) -> None:
    assert len(a) == len(b), "more or fewer batches were asked"
    for (first, _), (second, _) in zip(a, b, strict=True):
        for left, right in ((first.ids, second.ids), (first.embeds, second.embeds)):
            assert (left is None) == (right is None)
            if left is not None and right is not None:
                np.testing.assert_array_equal(left, right)
