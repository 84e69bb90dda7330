"""Edits of phrases: each does what it says, and lengths stay allowed."""

from dataclasses import replace

import numpy as np
import pytest

from hardprompt.errors import UsageError
from hardprompt.registry import make_strategy
from hardprompt.strategies.edit import Edit
from hardprompt.strategies.fluent import HOLE, Writer
from hardprompt.strategies.phrases import Draft, cut, parse
from hardprompt.testing import PlantedObjective, converse, planted_space
from hardprompt.types import EMPTY, Feedback, Proposals

DRAFT = Draft((((1, 2), (3,), (4, 5)),))
NEVER = -np.inf
# name -> space, of which every place and length is put to use
SPACES = {
    "fixed": planted_space(12, 5),
    "any length": planted_space(12, 5, min_length=1),
    "two slots": planted_space(12, 5, slots=(2, 3)),
    "two slots, any length": planted_space(12, 5, slots=(2, 3), min_length=2),
}


def play(script, objective):
    """Runs one of a strategy's parts; its value, and what it asked."""
    asked, told = [], None
    try:
        while True:
            batch = script.send(told)
            asked.append(batch)
            told = objective.measure(batch)
    except StopIteration as end:
        return end.value, asked


def test_the_four_edits():
    shorter = DRAFT.delete((0, 1))
    assert shorter.slots == (((1, 2), (4, 5)),)
    assert shorter.removed == ((3,),)
    assert DRAFT.swap((0, 0), (0, 2)).slots == (((4, 5), (3,), (1, 2)),)
    assert DRAFT.substitute((0, 0), (9,)).slots == (((9,), (3,), (4, 5)),)
    assert DRAFT.substitute((0, 0), (9,)).removed == ()
    back = shorter.add((0, 2), (3,))
    assert back.slots == (((1, 2), (4, 5), (3,)),)
    assert back.removed == ()
    assert DRAFT.slots == (((1, 2), (3,), (4, 5)),)  # a draft is never changed


def test_what_was_never_written_is_not_put_back():
    draft = DRAFT.substitute((0, 0), (HOLE, HOLE))
    assert draft.delete((0, 0)).removed == ()
    assert draft.delete((0, 1)).removed == ((3,),)


def test_phrases_of_two_slots_change_places():
    draft = Draft((((1,), (2,)), ((3, 4),)))
    assert draft.places == [(0, 0), (0, 1), (1, 0)]
    swapped = draft.swap((0, 1), (1, 0))
    assert swapped.slots == (((1,), (3, 4)), ((2,),))
    assert swapped.row(planted_space(slots=(3, 2))).tolist() == [1, 3, 4, 2, EMPTY]
    assert swapped.row(planted_space(slots=(2, 2))) is None
    assert len(swapped) == 4


@pytest.mark.parametrize(
    ("bonds", "longest", "expected"),
    [
        ([NEVER, -1, -2, -1], 4, ((1, 2, 3, 4),)),
        ([NEVER, -1, NEVER, -1], 4, ((1, 2), (3, 4))),  # the third word was not expected
        ([NEVER, -1, -2, -1], 3, ((1, 2), (3, 4))),  # too long: parted at the weakest bond
        ([NEVER, -3, -2, -1], 2, ((1,), (2,), (3, 4))),
        ([NEVER, -1, -2, -1], 1, ((1,), (2,), (3,), (4,))),
    ],
)
def test_phrases_part_where_the_model_binds_least(bonds, longest, expected):
    assert cut((1, 2, 3, 4), np.array(bonds, dtype=float), longest) == expected


def test_a_prompt_is_parsed_by_what_the_model_expects():
    space = planted_space(30, 4, slots=(3, 1))  # proposes its first tokens: 0, 2, 4, ...
    row = np.array([40, 2, 50, 4])
    draft, asked = play(parse(space, Writer(space, 5), row, 3), PlantedObjective(space))
    assert draft.slots == (((40, 2), (50,)), ((4,),))
    assert [EMPTY] * 4 in asked[0].ids.tolist()


def test_no_beginning_is_asked_about_twice():
    space = planted_space(30, 3)
    writer, objective = Writer(space, 8), PlantedObjective(space)
    rows = np.array([[HOLE, 2, 4], [HOLE, 6, HOLE], [8, 10, 12]])
    filled, asked = play(writer.fill(np.random.default_rng(0), rows), objective)
    assert (filled[rows != HOLE] == rows[rows != HOLE]).all()
    assert np.isin(filled[rows == HOLE], space.tokens[:8]).all()
    assert [len(batch) for batch in asked] == [1, 1]  # two rows begin with the same nothing
    _, again = play(writer.fill(np.random.default_rng(0), rows), objective)
    assert not again


@pytest.mark.parametrize("accept", ["greedy", "anneal", "tabu"])
@pytest.mark.parametrize("name", SPACES)
def test_lengths_stay_allowed(name, accept):
    space = SPACES[name]
    short = np.full((1, 5), EMPTY)
    short[0, 0] = space.tokens[0]
    strategy = Edit(accept=accept, compose=3, starts=2, patience=2)
    talk = converse(strategy, PlantedObjective(replace(space, seeds=short)), 150)
    rows = np.concatenate([batch.ids for batch, _ in talk if batch.examples is None])
    lengths = (rows != EMPTY).sum(axis=1)
    assert lengths.min() >= space.shortest
    if space.shortest < space.length:
        assert len(np.unique(lengths)) > 2


def test_a_short_seed_keeps_its_words_at_the_end_of_the_slot():
    space = replace(planted_space(), seeds=np.array([[10, 20, EMPTY, EMPTY]]))
    talk = converse(Edit(), PlantedObjective(space), 20)
    first = next(batch.ids for batch, _ in talk if batch.examples is None)
    assert [10, 20] in first[:, -2:].tolist()


def test_every_edit_happens_and_phrases_come_back():
    space = planted_space(40, 6, min_length=1)
    strategy = Edit()
    strategy.start(space, np.random.default_rng(3))
    draft = Draft((((2,), (4, 6), (8,)),), removed=((70,),))
    seen = {strategy._edit(draft).slots[0] for _ in range(300)}
    assert {((4, 6), (8,)), ((4, 6), (2,), (8,)), ((70,), (2,), (4, 6), (8,))} <= seen
    assert any(phrases[0][0] == HOLE for phrases in seen)
    near = set(space.nearest(space.embeddings[2], 17).tolist()) - {2}
    stands_in = {p[0][0] for p in seen if len(p) == 3 and p[1:] == ((4, 6), (8,))} - {HOLE, 2}
    assert len(stands_in) > 5
    assert stands_in <= near


def test_where_nothing_fits_an_added_phrase_drives_others_out():
    space = planted_space(40, 4)
    strategy = Edit()
    strategy.start(space, np.random.default_rng(0))
    draft = Draft((((2,), (4, 6), (8,)),), removed=((70, 72),))
    for _ in range(30):
        added = strategy._filled(strategy._added(draft))
        assert (70, 72) in added.slots[0]
        assert len(added) == 4


def test_greedy_never_goes_on_from_worse_and_tabu_always():
    greedy, tabu = Edit(), Edit(accept="tabu")
    for strategy in (greedy, tabu):
        strategy.start(planted_space(), np.random.default_rng(0))
        assert strategy._accepts(-0.1, 1)
        assert not strategy._accepts(np.nan, 1)
    assert not greedy._accepts(0.0, 1)
    assert tabu._accepts(9.0, 1)


@pytest.mark.parametrize("worse", [0.5, 3.0])
def test_the_annealed_chance_falls_with_the_loss_and_the_step(worse):
    strategy = Edit(accept="anneal", heat=1.0)
    strategy.rng = np.random.default_rng(0)
    strategy._losses = [0.0, 2.0]  # of standard deviation 1
    for step in (1, 4):
        share = np.mean([strategy._accepts(worse, step) for _ in range(4000)])
        assert share == pytest.approx(np.exp(-worse / np.exp(-step / 5)), abs=0.03)
    assert strategy._accepts(-0.1, 99)
    assert not strategy._accepts(np.nan, 1)


def test_a_search_without_losses_ends_nothing():
    space = planted_space(6, 3)
    strategy = Edit()
    strategy.start(space, np.random.default_rng(0))
    for _ in range(50):
        batch = strategy.ask()
        n = len(batch)
        proposals = Proposals(np.tile(space.tokens, (n, 1)), np.full((n, 6), np.nan))
        strategy.tell(batch, Feedback(np.full(n, np.nan), np.ones(n, dtype=bool), None, proposals))
    assert n


def test_settings_are_checked():
    with pytest.raises(UsageError, match="one of greedy, anneal, tabu"):
        make_strategy("edit", {"accept": "always"})
    with pytest.raises(UsageError, match="steps must be 1 or more, got 0"):
        make_strategy("edit", {"steps": 0})
