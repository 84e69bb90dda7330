"""What simulated annealing promises beyond the common contract."""

from itertools import pairwise

import numpy as np
import pytest

from hardprompt.strategies.anneal import Anneal
from hardprompt.testing import PlantedObjective, best_loss, converse, planted_space
from hardprompt.types import EMPTY, Batch


def thresholds(**settings):
    """The losses up to which each step accepted, `(steps, chains)`."""
    space = planted_space(200, 5)
    talk = converse(Anneal(**settings), PlantedObjective(space), 300)
    return np.array([batch.bar for batch, _ in talk[1:]])


def test_without_heat_no_chain_goes_up():
    assert (np.diff(thresholds(heat=0.0), axis=0) <= 0).all()


def test_heat_is_what_a_rise_is_accepted_by_and_it_falls_with_the_budget():
    space = planted_space(200, 5)
    # No way back to the best, so that every change of a chain's loss is a step of its own.
    talk = converse(
        Anneal(chains=1, starts=2, patience=10**6, cold=0.001), PlantedObjective(space), 600
    )
    loss, rises = np.nanmin(talk[0][1].loss), []
    for batch, told in talk[1:]:
        rises.append(batch.bar[0] - loss)
        loss = told.trusted()[0] if told.exact[0] else loss
    rises = np.array(rises)
    assert (rises >= 0).all()
    assert rises[-100:].max() < rises[:100].max() / 10


def test_a_chain_without_gain_goes_on_from_the_best():
    space = planted_space(200, 5)
    strategy = Anneal(chains=3, patience=1, heat=0.0)
    talk = converse(strategy, PlantedObjective(space), 200)
    best, returned = np.nanmin(talk[0][1].loss), 0
    for (batch, told), (then, _) in pairwise(talk[1:]):
        failed = ~(told.trusted() <= batch.bar)
        best = min(best, np.nanmin(np.append(told.trusted(), np.inf)))
        np.testing.assert_allclose(then.bar[failed], best)
        returned += int((batch.bar[failed] > best).sum())
    assert returned


def test_edits_change_one_token_and_reach_every_length():
    space = planted_space(30, slots=(3, 2), min_length=2)
    objective = PlantedObjective(space)
    talk = converse(Anneal(chains=1, starts=1, patience=10**6, resize=0.7), objective, 400)
    row, loss, lengths = talk[0][0].ids[0], talk[0][1].loss[0], set()
    for batch, told in talk[1:]:
        before, after = space.split(row), space.split(batch.ids[0])
        change = [len(b) - len(a) for a, b in zip(before, after, strict=True)]
        assert sorted(map(abs, change)) in ([0, 0], [0, 1])
        if not any(change):
            assert (row != batch.ids[0]).sum() <= 1
        lengths.add(int((batch.ids[0] != EMPTY).sum()))
        if told.exact[0] and told.loss[0] <= batch.bar[0]:
            row, loss = batch.ids[0], told.loss[0]
    assert loss <= objective.measure(Batch(ids=talk[0][0].ids)).loss[0] * 2
    assert lengths == {2, 3, 4, 5}


def test_a_small_space_is_solved():
    space = planted_space(10, 3)
    objective = PlantedObjective(space)
    lowest = objective.measure(Batch(ids=objective.hidden[None])).loss[0]
    talk = converse(Anneal(), objective, 600)
    assert best_loss(talk, space) == pytest.approx(lowest)
