"""Known answers of the swap family, and what its settings promise."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hardprompt.config import RunConfig
from hardprompt.errors import UsageError
from hardprompt.presets import PRESETS
from hardprompt.registry import make_strategy
from hardprompt.strategies.moves import Moves, join
from hardprompt.strategies.pool import Walk
from hardprompt.strategies.relax import Relax
from hardprompt.strategies.swap import Swap
from hardprompt.testing import PlantedObjective, converse, planted_space
from hardprompt.types import EMPTY, Batch

PLAIN = {"starts": 1, "replace": 1, "probe": 0, "merge": 0, "explore": 0.0, "fluent": 0.0}


def split(talk):
    """The batches that asked a gradient, and the swaps measured after each, with what was told."""
    steps = []
    for batch, told in talk:
        if batch.wants_gradient:
            steps.append((batch.ids, []))
        elif steps:
            steps[-1][1].append((batch.ids, told))
    return steps


def path(talk):
    """The prompt that each step of a walk began at, when `always` is what it accepts, and the
    swaps measured there."""
    start = next(batch.ids for batch, _ in talk if batch.wants_gradient)[0]
    steps = [(batch.ids, told) for batch, told in talk[1:] if not batch.wants_gradient]
    ends = [rows[told.order()[0]] for rows, told in steps]
    return [(at, rows) for at, (rows, _) in zip([start, *ends], steps, strict=False)]


def singles(space, row, places):
    """Every prompt that differs from the row in one of these places."""
    rows = np.repeat(row[None], len(places) * len(space.tokens), axis=0)
    rows[np.arange(len(rows)), np.repeat(places, len(space.tokens))] = np.tile(
        space.tokens, len(places)
    )
    return rows[(rows != row).any(axis=1)]


@pytest.mark.parametrize("places", ["any", "even", "one", "turn"])
def test_the_whole_vocabulary_as_shortlist_finds_the_best_single_swap(places):
    space = planted_space(20, 4)
    objective = PlantedObjective(space)
    one = places in ("one", "turn")
    strategy = Swap(width=20 if one else 80, top_k=20, places=places, **PLAIN)
    parent, swaps = split(converse(strategy, objective, 100))[0]
    rows, told = swaps[0]
    changed = np.unique(np.nonzero(rows != parent)[1])
    assert len(changed) == (1 if one else 4)
    everything = singles(space, parent[0], changed)
    assert {tuple(row) for row in rows} == {tuple(row) for row in everything}
    lowest = objective.measure(Batch(ids=everything)).loss.min()
    assert np.nanmin(told.trusted()) == pytest.approx(lowest)


def changed(talk):
    """The place in which the rows of each batch of swaps differ; there is one."""
    batches = [batch.ids for batch, _ in talk[1:] if not batch.wants_gradient]
    places = [np.flatnonzero((rows != rows[0]).any(axis=0)) for rows in batches]
    assert all(len(place) == 1 for place in places)
    return [int(place[0]) for place in places]


def test_places_come_in_turn():
    space = planted_space(40, 4)
    strategy = Swap(width=3, top_k=3, places="turn", accept="always", **PLAIN)
    visited = changed(converse(strategy, PlantedObjective(space), 100))
    assert len(visited) > 8
    assert visited == [number % 4 for number in range(len(visited))]


def test_single_places_come_once_a_round():
    space = planted_space(40, 4)
    strategy = Swap(width=3, top_k=3, places="one", accept="always", **PLAIN)
    visited = changed(converse(strategy, PlantedObjective(space), 120))
    assert len(visited) > 8
    for start in range(0, len(visited) - 3, 4):
        assert sorted(visited[start : start + 4]) == [0, 1, 2, 3]


def test_even_places_get_as_many_rows_each():
    space = planted_space(40, 4)
    strategy = Swap(width=12, top_k=20, places="even", **PLAIN)
    parent, swaps = split(converse(strategy, PlantedObjective(space), 40))[0]
    assert ((swaps[0][0] != parent).sum(axis=0) == 3).all()


def test_a_gradient_is_averaged_over_other_tokens_in_the_place():
    space = planted_space(40, 4)
    objective = PlantedObjective(space)
    strategy = Swap(width=8, top_k=8, places="turn", average=6, **PLAIN)
    rows, swaps = split(converse(strategy, objective, 60))[0]
    assert len(np.unique(rows[:, 0])) == 6
    assert (rows[:, 1:] == rows[0, 1:]).all()
    told = objective.measure(Batch(ids=rows, wants_gradient=True))
    slope = space.slope(told.gradient.mean(axis=0))[0]
    best = set(space.tokens[slope.argsort()[:8]].tolist())
    measured = set(swaps[0][0][:, 0].tolist())
    assert measured <= best
    assert len(measured) >= 7  # the token that stands there may be one of them


def test_the_gradient_at_a_prompt_is_asked_once():
    strategy = Swap(patience=3, momentum=0.4)
    steps = split(converse(strategy, PlantedObjective(planted_space(60, 4)), 400))
    asked = [parent[0].tobytes() for parent, _ in steps]
    assert len(set(asked)) == len(asked) < strategy.record()["steps"]


def test_only_the_latest_gradients_stay_in_memory(monkeypatch):
    monkeypatch.setattr("hardprompt.strategies.gradients.KEPT", 3)
    strategy = Swap(patience=3)
    steps = split(converse(strategy, PlantedObjective(planted_space(60, 4)), 400))
    assert len(steps) > 3
    assert len(strategy._gradients._known) == 3
    relaxed = Relax(steps=8)
    converse(relaxed, PlantedObjective(planted_space(60, 4)), 200)
    assert len(relaxed._known) == 3


@dataclass
class Rough(PlantedObjective):
    """Gradients that have nothing to do with each other, so that their average shows."""

    def measure(self, batch):
        told = super().measure(batch)
        if not batch.wants_gradient:
            return told
        rng = np.random.default_rng(list(batch.ids.tobytes()))
        return replace(told, gradient=rng.normal(size=told.gradient.shape))


def test_momentum_is_the_running_mean_of_the_gradients():
    space = planted_space(40, 3)
    objective = Rough(space)
    # The best token of every place, and always a new prompt: each step shows its whole average.
    strategy = Swap(width=3, top_k=1, momentum=0.4, accept="always", **PLAIN)
    steps = path(converse(strategy, objective, 60))
    average = None
    for parent, rows in steps:
        gradient = objective.measure(Batch(ids=parent[None], wants_gradient=True)).gradient[0]
        average = gradient if average is None else 0.4 * average + 0.6 * gradient
        best = space.tokens[space.slope(average).argmin(axis=1)]
        place = (rows != parent).argmax(axis=1)
        np.testing.assert_array_equal(rows[np.arange(len(rows)), place], best[place])
    assert len(steps) > 5


def test_the_default_leaves_no_prompt_for_a_worse_one_before_it_is_exhausted():
    objective = PlantedObjective(planted_space(60, 4))
    strategy = Swap(buffer=1, patience=10**6)
    asked = [parent for parent, _ in split(converse(strategy, objective, 300))]
    losses = [objective.measure(Batch(ids=parent)).loss[0] for parent in asked]
    assert len(losses) > 3
    assert (np.diff(losses) < 0).all()
    assert strategy.record()["uphill"] == 0


def test_always_goes_on_from_the_best_of_a_step_and_says_how_often_that_was_worse():
    objective = PlantedObjective(planted_space(60, 4))
    strategy = Swap(width=3, top_k=10, accept="always", **PLAIN)
    steps = path(converse(strategy, objective, 300))
    assert all(((rows != parent).sum(axis=1) == 1).all() for parent, rows in steps)
    losses = [objective.measure(Batch(ids=parent[None])).loss[0] for parent, _ in steps]
    worse = int((np.diff(losses) > 0).sum())
    assert worse > 5
    assert strategy.record() == {"accept": "always", "steps": len(steps), "uphill": worse}


def test_a_walk_that_may_stay_leaves_no_good_token():
    objective = PlantedObjective(planted_space(12, 4))
    settings = {**PLAIN, "width": 12, "top_k": 12, "places": "turn", "accept": "always"}
    uphill = []
    for stay in (True, False):
        strategy = Swap(**settings, stay=stay)
        converse(strategy, objective, 300)
        uphill.append(strategy.record()["uphill"])
    # The planted loss is a sum over places: after a round each has its best token.
    assert uphill[0] == 0 < uphill[1]


def walked(temperature, taken, steps, n=4000):
    """The share of steps in which a walk of this temperature goes up by 1."""
    walk = Walk(np.random.default_rng(0), False, temperature, steps, keep=1, patience=1)
    rows, up = np.array([[0], [1]]), 0
    for _ in range(n):
        walk.begin(rows[:1], np.array([0.0]))
        walk.taken = 0
        walk.current()
        walk.taken = taken
        walk.enter(rows[1:], np.array([1.0]))
        up += walk.current()[0][0] == 1
    return up / n


def test_annealing_accepts_a_rise_with_the_probability_of_its_temperature():
    # Four standard errors of 4,000 draws.
    assert walked(2.0, 0, 100) == pytest.approx(np.exp(-1 / 2), abs=0.032)
    assert walked(2.0, 50, 100) == pytest.approx(np.exp(-1 / 1), abs=0.032)
    assert walked(2.0, 100, 100) == 0
    assert walked(0.0, 0, 100) == 0


def test_annealing_goes_uphill_less_than_always():
    objective = PlantedObjective(planted_space(60, 4))
    settings = {**PLAIN, "width": 3, "top_k": 10}
    rises = []
    for how in ({"accept": "anneal", "temperature": 0.5}, {"accept": "always"}):
        strategy = Swap(**settings, **how)
        converse(strategy, objective, 300)
        rises.append(strategy.record()["uphill"])
    cold, hot = rises
    assert 0 < cold < hot


def test_the_best_single_swaps_are_joined_one_after_the_other():
    parent = np.array([0, 0, 0])
    rows = np.array([[4, 0, 0], [0, 4, 0], [6, 0, 0], [0, 0, 4], [4, 4, 0]])
    loss = np.array([0.2, 0.3, 0.4, 0.9, 0.1])
    # Not the second token of place 0, not what was worse than before, not the double swap.
    joined = join(parent, rows, loss, before=0.5)
    np.testing.assert_array_equal(joined, [[4, 4, 0]])
    joined = join(parent, rows, loss, before=1.0)
    np.testing.assert_array_equal(joined, [[4, 4, 0], [4, 4, 4]])


def test_a_step_measures_no_swap_twice_and_ends_where_none_is_left():
    rng, tokens = np.random.default_rng(0), np.arange(4)
    moves = Moves(rng, tokens, 9, 1, 0.0, 0.0, even=False)
    lists = {0: tokens, 2: tokens[:2]}
    seen = {np.array([0, EMPTY, 0]).tobytes()}
    rows = moves.draw(np.array([0, EMPTY, 0]), lists, lists, seen)
    assert len(rows) == len(np.unique(rows, axis=0)) == 4
    assert not len(moves.draw(np.array([0, EMPTY, 0]), lists, lists, seen))


def test_a_seed_that_cannot_be_measured_gives_way_to_random_prompts():
    space = planted_space(40, 3)
    seed = space.tokens[None, :3]

    class Broken(PlantedObjective):
        def measure(self, batch):
            told = super().measure(batch)
            lost = (batch.ids == seed).all(axis=1)
            return replace(told, loss=np.where(lost, np.nan, told.loss))

    strategy = Swap(accept="always", **PLAIN)
    talk = converse(strategy, Broken(replace(space, seeds=seed)), 100)
    assert split(talk)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"places": "two"}, "places must be one of any, even, one, turn, got 'two'"),
        ({"accept": "never"}, "accept must be one of better, anneal, always, got 'never'"),
        ({"average": 3}, "average needs one place at a time"),
        ({"momentum": 1.0}, "momentum must be below 1, got 1"),
        ({"accept": "anneal", "starts": 1}, "accept=anneal needs a temperature"),
        ({"temperature": -1.0}, "temperature must be 0 or more, got -1"),
        ({"fluent": 3}, "fluent must be between 0 and 1, got 3"),
        ({"temperature": 1.0}, "temperature counts with accept=anneal only, got temperature=1.0"),
        ({"accept": "always", "buffer": 3}, "buffer counts with accept=better only, got buffer=3"),
        ({"stay": True}, "stay counts with accept=always or accept=anneal only"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        make_strategy("swap", settings)


@pytest.mark.parametrize("name", ["gcg", "autoprompt", "arca"])
def test_published_settings_make_a_search(name):
    preset = PRESETS[name]
    strategy = make_strategy(preset.strategy, dict(preset.settings))
    RunConfig(**preset.search)
    space = planted_space(300, 6)
    steps = split(converse(strategy, PlantedObjective(space), 2000))
    assert len(steps) > 2
    assert len(steps[0][1][0][0]) >= 0.9 * strategy.width
