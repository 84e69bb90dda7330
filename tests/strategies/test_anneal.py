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


def allowances(**settings):
    """How far above its loss the chain would have gone in each step, and the first losses."""
    space = planted_space(200, 5)
    strategy = Anneal(chains=1, patience=10**6, **settings)  # never back to the best
    talk = converse(strategy, PlantedObjective(space), 800)
    first = talk[0][1].loss
    loss, rises = first.min(), []
    for batch, told in talk[1:]:
        rises.append(batch.bar[0] - loss)
        loss = told.loss[0] if told.exact[0] else loss
    return np.array(rises), first


def test_a_rise_is_accepted_by_chance_at_a_temperature_in_spreads_of_the_first_losses():
    rises, first = allowances(heat=0.5, cold=1.0)
    temperature = 0.5 * first.std()
    # exp(-rise / T) is the chance that an exponential variable of mean T is larger; mean and
    # deviation of 776 draws within four standard errors.
    assert rises.mean() == pytest.approx(temperature, rel=4 / 776**0.5)
    assert rises.std() == pytest.approx(temperature, rel=4 * (2 / 776) ** 0.5)


def test_the_temperature_falls_with_the_budget():
    rises, _ = allowances(cold=0.001)
    assert rises[-100:].mean() < rises[:100].mean() / 100


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
