"""Evolution: its operators do exactly what they say."""

import numpy as np
import pytest

from hardprompt.strategies.evolution import CROSSOVERS, Evolution, cross, resize
from hardprompt.testing import PlantedObjective, converse, planted_space
from hardprompt.types import EMPTY, Feedback

A, B = np.zeros(6, dtype=np.int64), np.ones(6, dtype=np.int64)


def children(how, n=300):
    rng = np.random.default_rng(0)
    return np.array([cross(rng, how, A, B) for _ in range(n)])


def started(strategy, space):
    strategy.start(space, np.random.default_rng(0))
    return strategy


def test_uniform_crossover_draws_every_place():
    rows = children("uniform")
    assert rows.mean(axis=0) == pytest.approx(np.full(6, 0.5), abs=0.1)
    assert len(np.unique(rows, axis=0)) > 50


def test_one_point_crossover_takes_the_end_of_the_second():
    found = {tuple(row) for row in children("one-point")}
    assert found == {tuple(np.where(np.arange(6) >= cut, 1, 0)) for cut in range(1, 6)}


def test_two_point_crossover_takes_one_stretch_of_the_second():
    places = np.arange(6)
    stretches = {
        tuple(np.where((places >= low) & (places < high), 1, 0))
        for low in range(6)
        for high in range(low + 1, 7)
    }
    assert {tuple(row) for row in children("two-point")} == stretches


@pytest.mark.parametrize("how", CROSSOVERS)
def test_a_single_token_can_be_crossed(how):
    assert cross(np.random.default_rng(0), how, A[:1], B[:1])[0] in (0, 1)


def test_insertion_shifts_inside_the_slot_and_deletion_takes_one():
    space = planted_space(50, 5, slots=(3, 2), min_length=2)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        before = space.random(rng, 1)[0]
        row, change = before.copy(), np.zeros(5, dtype=bool)
        resize(rng, space, row, change)
        old, new = (space.split(ids) for ids in (before, space.canonical(row[None])[0]))
        gained = sum(map(len, new)) - sum(map(len, old))
        seen.add(gained)
        assert space.lengths_allowed(row[None])[0]
        longer, shorter = (new, old) if gained > 0 else (old, new)
        same = [a == b for a, b in zip(longer, shorter, strict=True)]
        assert sum(same) == (2 if gained == 0 else 1)
        if gained:
            slot = same.index(False)
            one_less = [longer[slot][:i] + longer[slot][i + 1 :] for i in range(len(longer[slot]))]
            assert shorter[slot] in one_less
        # What was inserted, and nothing else, is to be drawn anew.
        assert change.sum() == max(gained, 0)
        if gained > 0:
            place = int(np.flatnonzero(change)[0])
            rest = np.append(np.delete(row[: 3 if place < 3 else 5], place), EMPTY)
            np.testing.assert_array_equal(rest[:place], before[: len(rest)][:place])
    assert seen == {-1, 0, 1}


def test_lengths_stay_allowed_and_vary():
    space = planted_space(40, 5, min_length=2)
    talk = converse(Evolution(crossover="one-point"), PlantedObjective(space), 300)
    # Questions for proposals are about prompts that are not written to the end.
    rows = np.concatenate([batch.ids for batch, _ in talk if not batch.wants_proposals])
    assert set((rows != EMPTY).sum(axis=1)) == {2, 3, 4, 5}


def test_a_fixed_length_stays():
    space = planted_space(40, 4)
    talk = converse(Evolution(), PlantedObjective(space), 200)
    rows = np.concatenate([batch.ids for batch, _ in talk if not batch.wants_proposals])
    assert (rows != EMPTY).all()


def test_neighbours_are_the_nearest_others():
    space = planted_space(30, 3)
    strategy = started(Evolution(neighbours=1), space)
    nearest = space.nearest(space.embeddings[space.tokens], 2)
    np.testing.assert_array_equal(nearest[:, 0], space.tokens)
    np.testing.assert_array_equal(strategy._neighbours(space.tokens), nearest[:, 1])


def test_only_neighbours_change_a_prompt_where_only_they_may():
    space = planted_space(30, 3)
    strategy = started(Evolution(near=1.0, mutation=0.0, neighbours=1), space)
    parent = space.tokens[[3, 9, 20]]
    with pytest.raises(StopIteration) as end:
        next(strategy._brood(np.tile(parent, (2, 1)), np.zeros(2), 5))
    rows = end.value.value
    places = (rows != parent).argmax(axis=1)
    assert ((rows != parent).sum(axis=1) == 1).all()
    expected = space.nearest(space.embeddings[parent], 2)[:, 1]
    np.testing.assert_array_equal(rows[np.arange(5), places], expected[places])


def test_the_model_is_asked_only_for_its_share():
    def asked(share):
        talk = converse(Evolution(fluent=share), PlantedObjective(planted_space()), 100)
        return any(batch.wants_proposals for batch, _ in talk)

    assert asked(0.3)
    assert not asked(0.0)


def test_elites_outlive_better_placed_children_and_others_do_not():
    strategy = Evolution(population=3, elites=1)
    ids, children = np.array([[0], [2], [4]]), np.array([[6], [8]])
    found = strategy._survivors(ids, np.array([1.0, 2, 3]), children, np.array([9.0, 8.0]))
    np.testing.assert_array_equal(found[0][:, 0], [0, 8, 6])
    np.testing.assert_array_equal(found[1], [1, 8, 9])


def test_without_elites_the_best_survive():
    strategy = Evolution(population=3)
    ids, children = np.array([[0], [2], [4]]), np.array([[6], [8]])
    found = strategy._survivors(ids, np.array([1.0, np.nan, 3]), children, np.array([9.0, 2.0]))
    np.testing.assert_array_equal(found[0][:, 0], [0, 8, 4])


def test_nothing_is_asked_twice_while_there_is_something_new():
    talk = converse(Evolution(), PlantedObjective(planted_space()), 200)
    rows = np.concatenate([batch.ids for batch, _ in talk if not batch.wants_proposals])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_another_population_begins_where_nothing_is_gained():
    space = planted_space(6, 3)
    strategy = started(Evolution(population=4, children=3, patience=2, fluent=0), space)
    batches = []
    for _ in range(60):
        batch = strategy.ask()
        batches.append(len(batch))
        worse = np.arange(len(batch)) + float(len(batches))
        strategy.tell(batch, Feedback(worse, np.ones(len(batch), dtype=bool)))
    # A population, two generations that are worse, and again.
    assert batches[:6] == [4, 3, 3, 4, 3, 3]
