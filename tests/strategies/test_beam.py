"""Beam search: the sources of tokens, what a pass visits, and known answers."""

import numpy as np
import pytest

from hardprompt.presets import preset_named
from hardprompt.registry import make_strategy
from hardprompt.strategies.beam import Beam
from hardprompt.strategies.fluent import drawn_tokens, likely_tokens
from hardprompt.testing import PlantedObjective, converse, planted_space
from hardprompt.types import EMPTY, Feedback, Proposals


class Table:
    """A loss of its own for every prompt, so that places cannot be solved one by one."""

    def __init__(self, space):
        self.space = space

    def measure(self, batch):
        loss = np.array([np.random.default_rng(list(row.tobytes())).random() for row in batch.ids])
        return Feedback(loss, np.ones(len(loss), dtype=bool))


def filled(batch):
    return (batch.ids != EMPTY).sum(axis=1)


def answer(script, proposals):
    """The result of a generator that asks once, for proposals."""
    batch = next(script)
    with pytest.raises(StopIteration) as end:
        script.send(
            Feedback(np.zeros(len(batch)), np.ones(len(batch), dtype=bool), None, proposals)
        )
    return batch, end.value.value


def test_draws_are_without_replacement_and_in_proportion():
    space, n = planted_space(3, 2), 20_000
    p = np.array([0.5, 0.3, 0.2])
    proposals = Proposals(np.tile(space.tokens, (n, 1)), np.tile(np.log(p), (n, 1)))
    rows = np.full((n, 2), EMPTY)
    _, drawn = answer(drawn_tokens(space, np.random.default_rng(0), rows, 0, 2, 3), proposals)
    for i, first in enumerate(space.tokens):
        for j, second in enumerate(space.tokens):
            share = ((drawn[:, 0] == first) & (drawn[:, 1] == second)).mean()
            wanted = 0.0 if i == j else p[i] * p[j] / (1 - p[i])
            # Four standard errors of a share of n draws.
            assert share == pytest.approx(wanted, abs=4 * np.sqrt(wanted * (1 - wanted) / n))


def test_a_model_without_a_beginning_draws_all_tokens_alike():
    space, n = planted_space(3, 1), 3000
    # Told are as many as were asked, the first of the vocabulary.
    proposals = Proposals(np.tile(space.tokens[:1], (n, 1)), np.full((n, 1), np.nan))
    rows = np.full((n, 1), EMPTY)
    _, drawn = answer(drawn_tokens(space, np.random.default_rng(0), rows, 0, 1, 1), proposals)
    shares = [(drawn == token).mean() for token in space.tokens]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)


def test_each_row_may_ask_for_a_place_of_its_own():
    space = planted_space(5, 3)
    rows = np.array([[0, 2, 4], [6, 8, 0]])
    proposals = Proposals(rows[:, :1], np.zeros((2, 1)))
    batch, _ = answer(likely_tokens(space, rows, np.array([1, 2]), 1), proposals)
    np.testing.assert_array_equal(batch.ids, [[0, EMPTY, EMPTY], [6, 8, EMPTY]])


def test_the_whole_vocabulary_is_tried_place_by_place():
    space = planted_space(10, 3)
    talk = converse(Beam(width=2, branch=10**6), PlantedObjective(space), 500)
    first, second, third = (batch for batch, _ in talk[:3])
    assert [len(batch) for batch in (first, second, third)] == [10, 20, 20]
    assert [set(filled(batch)) for batch in (first, second, third)] == [{1}, {2}, {3}]
    assert all(told.exact.sum() == batch.keep == 2 for batch, told in talk[:3])
    best_two = first.ids[talk[0][1].order()[:2], 0]
    np.testing.assert_array_equal(np.unique(second.ids[:, 0]), np.sort(best_two))


def test_the_whole_vocabulary_ends_where_no_single_swap_helps():
    space = planted_space(6, 3)
    objective = Table(space)
    talk = converse(Beam(width=1, branch=6), objective, 10**6)
    rows = np.concatenate([batch.ids for batch, _ in talk])
    loss = np.concatenate([told.loss for _, told in talk])
    loss[(rows == EMPTY).any(axis=1)] = np.inf
    best = rows[loss.argmin()]
    for place in range(3):
        swaps = np.tile(best, (6, 1))
        swaps[:, place] = space.tokens
        assert objective.measure(type(talk[0][0])(ids=swaps)).loss.min() == loss.min()


@pytest.mark.parametrize(("propose", "asks"), [("model", True), ("mixed", True), ("random", False)])
def test_tokens_come_from_where_they_are_said_to(propose, asks):
    space = planted_space(60, 3)
    strategy = Beam(width=2, branch=6, propose=propose, **({"likely": 10} if asks else {}))
    talk = converse(strategy, PlantedObjective(space), 60)
    assert any(batch.wants_proposals for batch, _ in talk) == asks
    tokens = np.unique(np.concatenate([batch.ids.ravel() for batch, _ in talk]))
    # The planted proposals are the first tokens of the vocabulary.
    assert np.isin(tokens, [EMPTY, *space.tokens[:10]]).all() == (propose == "model")


def test_more_branches_than_likely_tokens_are_still_drawn():
    talk = converse(
        Beam(branch=20, propose="model", likely=5), PlantedObjective(planted_space(60, 3)), 30
    )
    assert [len(batch) for batch, _ in talk if not batch.wants_proposals] == [20, 80]


@pytest.mark.parametrize(("keep", "shortest"), [("best", 3), ("beam", 1)])
def test_later_passes_go_on_from_the_best_or_begin_anew(keep, shortest):
    space = planted_space(60, 3)
    strategy = Beam(width=2, branch=6, propose="random", keep=keep)
    talk = converse(strategy, PlantedObjective(space), 60)
    assert [set(filled(batch)) for batch, _ in talk[:3]] == [{1}, {2}, {3}]
    assert filled(talk[4][0]).min() >= shortest
    assert set(filled(talk[3][0])) == {shortest}


def test_backward_growth_puts_new_tokens_to_the_left():
    space = planted_space(40, 4, slots=(2, 2))
    strategy = Beam(width=1, branch=5, propose="random", backward=True)
    rows = [batch.ids for batch, _ in converse(strategy, PlantedObjective(space), 25)]
    assert (rows[0][:, [0, 1, 3]] == EMPTY).all()
    assert (rows[0][:, 2] != EMPTY).all()
    assert (rows[1][:, :2] == EMPTY).all()
    # The token found first stands at the end of its slot, as it will stay.
    assert len(set(rows[1][:, 3])) == 1
    assert rows[1][0, 3] in rows[0][:, 2]
    assert (rows[2][:, 2:] == rows[2][0, 2:]).all()


def test_the_best_of_every_allowed_length_is_gone_on_from():
    space = planted_space(30, 3, min_length=1)

    class Shorter:
        """The shorter, the better."""

        space = planted_space(30, 3, min_length=1)

        def measure(self, batch):
            return Feedback(filled(batch) + batch.ids[:, 0] / 1000.0, np.ones(len(batch), bool))

    talk = converse(Beam(width=2, branch=30), Shorter(), 10**5)
    assert filled(talk[3][0]).min() == 1
    assert space.shortest == 1


def test_beast_keeps_k1_and_tries_k2_of_the_model_after_each():
    preset = preset_named("beast")
    strategy = make_strategy(preset.strategy, dict(preset.settings))
    talk = converse(strategy, PlantedObjective(planted_space(60, 3)), 600)
    asked = [batch for batch, _ in talk if not batch.wants_proposals]
    assert [len(batch) for batch in asked[:4]] == [15, 225, 225, 15]
    assert {batch.wants_proposals for batch, _ in talk} == {0, 60}
