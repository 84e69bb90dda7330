"""Who of a portfolio goes on, and what its members learn from each other."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from hardprompt.errors import UsageError
from hardprompt.registry import make_strategy
from hardprompt.strategies import portfolio
from hardprompt.strategies.base import Strategy
from hardprompt.strategies.portfolio import Portfolio
from hardprompt.testing import PlantedObjective, best_loss, converse, planted_space
from hardprompt.types import Batch, Feedback

SPACE = planted_space(40, 3)
LADDER = SPACE.random(np.random.default_rng(5), 200)


class Scripted(Strategy):
    """Asks rows of the ladder one by one, from a place of its own on."""

    def __init__(self, name, first, step):
        self.name, self.place, self.step = name, first, step

    def search(self):
        BEGAN.append((self.name, self.space.seeds, self.space.budget))
        while True:
            yield Batch(ids=LADDER[[self.place]])
            self.place += self.step


BEGAN: list = []


@pytest.fixture
def scripted(monkeypatch):
    """`climber` betters its loss row by row, `stuck` asks the same bad row for ever."""
    BEGAN.clear()
    kinds = {"climber": (0, 1), "stuck": (150, 0)}
    monkeypatch.setattr(portfolio, "strategy_class", lambda name: kinds[name])
    monkeypatch.setattr(portfolio, "make_strategy", lambda name: Scripted(name, *kinds[name]))


class Ladder:
    """The loss of a row falls with its place on the ladder, but for the bad one."""

    space = SPACE

    def measure(self, batch):
        places = [int((row == LADDER).all(axis=1).argmax()) for row in batch.ids]
        loss = np.array([2.0 if place == 150 else 1 - place / 200 for place in places])
        return Feedback(loss, np.ones(len(loss), dtype=bool))


def test_the_budget_goes_to_who_gains(scripted):
    talk = converse(Portfolio(members="stuck,climber", turn=4), Ladder(), 120)
    asked = Counter(bool((batch.ids == LADDER[150]).all()) for batch, _ in talk)
    assert asked[True] > 0  # but is not forgotten
    assert asked[False] > 2 * asked[True]


def test_who_stalls_begins_again_from_the_best_of_all(scripted):
    settings = {"turn": 4, "patience": 2, "elite": 2}
    talk = converse(Portfolio(members="stuck,climber", **settings), Ladder(), 120)
    again = [(seeds, budget) for name, seeds, budget in BEGAN if name == "stuck"][1:]
    assert again
    seeds, budget = again[0]
    losses = Ladder().measure(Batch(ids=seeds)).loss
    assert (losses < 1).all()
    assert len(losses) == 2
    assert budget < 60  # a share of what was left
    assert talk


def test_who_stalls_at_the_best_of_all_begins_elsewhere(scripted):
    converse(Portfolio(members="stuck", turn=4, patience=2), Ladder(), 60)
    assert len(BEGAN) > 2
    assert all(seeds is None for _, seeds, _ in BEGAN)


def test_a_portfolio_takes_seeds_and_finds_no_less_than_they():
    space = planted_space(40, 3)
    objective = PlantedObjective(space)
    seed = replace(space, seeds=np.array([objective.hidden]))
    talk = converse(Portfolio(), PlantedObjective(seed), 60)
    assert best_loss(talk, space) == 0


def test_members_are_named_and_not_nested():
    with pytest.raises(UsageError, match="Did you mean 'evolution'"):
        make_strategy("portfolio", {"members": "swap,evoltion"})
    for members in ("", "swap,auto", "portfolio"):
        with pytest.raises(UsageError, match="members must be strategies other than auto and"):
            make_strategy("portfolio", {"members": members})
