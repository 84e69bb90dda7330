"""What single strategies promise beyond the common contract."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from hardprompt.errors import UsageError
from hardprompt.registry import hyperparameters, make_strategy, strategy_class, strategy_names
from hardprompt.strategies.auto import choose
from hardprompt.strategies.beam import Beam
from hardprompt.strategies.exhaustive import Exhaustive, every_prompt
from hardprompt.strategies.random import Random
from hardprompt.strategies.swap import Swap
from hardprompt.testing import PlantedObjective, best_loss, converse, planted_space
from hardprompt.types import EMPTY, Feedback


def test_exhaustive_asks_every_prompt_once():
    space = planted_space(4, 3, min_length=1)
    talk = converse(Exhaustive(batch=7), PlantedObjective(space), 10**6)
    rows = np.concatenate([batch.ids for batch, _ in talk])
    assert len(rows) == len(np.unique(rows, axis=0)) == 4 + 16 + 64


@pytest.mark.parametrize("slots", [(3,), (2, 2), (1, 3, 1)])
@pytest.mark.parametrize("shortest", [None, 1, 2])
def test_the_size_of_a_space_is_that_of_its_table(slots, shortest):
    space = planted_space(5, slots=slots, min_length=shortest)
    size = sum(1 for _ in every_prompt(space))
    assert space.size == size
    assert space.fitting(size) == 5
    assert space.fitting(size - 1) == 4


def test_a_prompt_that_is_taken_apart_can_be_joined():
    space = planted_space(5, slots=(2, 3), min_length=1)
    rows = space.random(np.random.default_rng(0), 20)
    np.testing.assert_array_equal([space.join(space.split(row)) for row in rows], rows)


def test_a_space_of_any_length_has_a_size():
    assert planted_space(7, 100).size == 7**100
    many = planted_space(7, slots=(10,) * 10, min_length=1)
    assert many.size == sum(7**n for n in range(11)) ** 10 - 1  # all but the empty prompt
    assert many.size_text == "1.5e+85"
    assert planted_space(2, 40).fitting(1000) == 1


def test_exhaustive_keeps_the_best_when_the_bar_is_honoured():
    space = planted_space(6, 3)
    objective = PlantedObjective(space)
    talk = converse(Exhaustive(keep=5, batch=16), objective, 10**6)
    rows = np.concatenate([batch.ids for batch, _ in talk])
    loss = np.concatenate([told.trusted() for _, told in talk])
    truth = np.concatenate([objective.measure(replace(b, bar=None)).loss for b, _ in talk])
    best = np.argsort(truth, kind="stable")[:5]
    np.testing.assert_array_equal(np.sort(loss)[:5], truth[best])
    assert (rows[np.argsort(loss, kind="stable")[:5]] == rows[best]).all()


def test_exhaustive_may_keep_more_than_there_are():
    space = planted_space(4, 2)
    talk = converse(Exhaustive(keep=10**15), PlantedObjective(space), 10**6)
    assert all(told.exact.all() for _, told in talk)


def test_beam_with_the_whole_vocabulary_finds_a_separable_optimum():
    space = planted_space(10, 3)  # the planted loss is a sum over places: greedy is enough
    objective = PlantedObjective(space)
    talk = converse(Beam(width=2), objective, 10**6)
    row = objective.hidden[None]
    assert best_loss(talk, space) == pytest.approx(objective.measure(_ids(row)).loss[0])


def test_swap_starts_from_the_seeds():
    space = replace(planted_space(), seeds=np.array([[0, 2, EMPTY, EMPTY]]))
    talk = converse(Swap(), PlantedObjective(space), 10)
    first = next(batch.ids for batch, _ in talk if batch.examples is None)
    # A seed that is too short keeps its words at the end of the slot.
    assert any((row[-2:] == [0, 2]).all() for row in first)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("swap", {}),
        ("swap", {"starts": 1, "fluent": 0.5}),
        ("evolution", {}),
        ("anneal", {"starts": 2}),
        ("optuna", {"sampler": "tpe"}),
        ("policy", {}),
        ("edit", {}),
        ("beam", {}),
        ("portfolio", {}),
    ],
)
def test_a_users_own_seeds_are_all_measured(name, settings):
    space = planted_space()
    own = space.random(np.random.default_rng(5), 26)
    objective = PlantedObjective(replace(space, seeds=own, own_seeds=26))
    talk = converse(make_strategy(name, settings), objective, 60)
    asked = {tuple(row) for batch, _ in talk if batch.examples is None for row in batch.ids}
    assert asked >= {tuple(row) for row in own}


def test_other_seeds_are_as_many_as_a_strategy_begins_with():
    space = planted_space()
    seeds = space.random(np.random.default_rng(5), 26)
    talk = converse(Swap(starts=8), PlantedObjective(replace(space, seeds=seeds)), 8)
    np.testing.assert_array_equal(talk[0][0].ids, np.unique(seeds[:8], axis=0))


def test_swap_follows_an_exact_gradient_to_the_optimum():
    space = planted_space(30, 3)
    objective = PlantedObjective(space)
    talk = converse(Swap(), objective, 600)
    assert best_loss(talk, space) == pytest.approx(
        objective.measure(_ids(objective.hidden)).loss[0]
    )


def test_auto_is_exhaustive_where_that_fits():
    space = replace(planted_space(5, 2), budget=25)
    strategy, reason = choose(space)
    assert isinstance(strategy, Exhaustive)
    assert "25 prompts" in reason
    assert isinstance(choose(replace(space, budget=24))[0], Swap)


class Holed(PlantedObjective):
    """No gradient of a prompt with an empty slot, as a model has none; such a prompt looks good."""

    def measure(self, batch):
        told = super().measure(batch)
        if batch.ids is None:
            return told
        holed = (self.space.canonical(batch.ids)[:, [0, 2]] == EMPTY).any(axis=1)
        if not batch.wants_gradient:
            return replace(told, loss=np.where(holed, told.loss / 9, told.loss))
        told.gradient[holed] = np.nan
        return replace(told, loss=np.where(holed, np.nan, told.loss))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("swap", {}),
        ("swap", {"accept": "always", "starts": 1}),
        ("swap", {"places": "turn", "average": 4}),
        ("relax", {"steps": 4}),
        ("relax", {"projection": "langevin", "steps": 4, "batch": 4}),
        ("optuna", {"sampler": "tpe"}),
    ],
)
def test_a_prompt_without_a_gradient_is_left_and_the_search_goes_on(name, settings):
    space = planted_space(30, slots=(2, 2), min_length=2)
    empty = replace(space, seeds=np.array([[0, 2, EMPTY, EMPTY]]))
    talk = converse(make_strategy(name, settings), Holed(empty), 200)
    slopes = [told.gradient for batch, told in talk if batch.wants_gradient]
    assert any(np.isnan(slope).any() for slope in slopes)
    assert best_loss(talk, space) < np.inf
    assert sum(len(batch) * space.price(batch) for batch, _ in talk) >= 200


@pytest.mark.parametrize(
    ("name", "settings"),
    [("swap", {}), ("swap", {"accept": "always"}), ("swap", {"places": "turn"}), ("edit", {})],
)
def test_no_patience_is_spent_where_nothing_new_is_left(name, settings):
    space = planted_space(2, 1)
    strategy = make_strategy(name, {"patience": 10**15, **settings})
    talk = converse(strategy, PlantedObjective(space), 20)  # or it would never end
    assert sum(len(batch) * space.price(batch) for batch, _ in talk) >= 20


def test_unknown_names_get_a_hint():
    with pytest.raises(UsageError, match="Did you mean 'evolution'"):
        strategy_class("evoltion")
    with pytest.raises(UsageError, match="Did you mean 'width'"):
        make_strategy("beam", {"widht": 3})
    with pytest.raises(UsageError, match="width must be 1 or more, got 0"):
        make_strategy("beam", {"width": 0})
    with pytest.raises(UsageError, match="one of gp, tpe, cmaes"):
        make_strategy("optuna", {"sampler": "tpee"})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("swap", "explore"),
        ("evolution", "mutation"),
        ("evolution", "near"),
        ("evolution", "resize"),
        ("anneal", "resize"),
        ("edit", "written"),
        ("optuna", "fluent"),
    ],
)
def test_a_share_is_at_most_all(name, field):
    with pytest.raises(UsageError, match=f"{field} must be between 0 and 1, got 1.5"):
        make_strategy(name, {field: 1.5})
    assert make_strategy(name, {field: 1.0})


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("swap", "width", "abc", "width must be a whole number, got 'abc'"),
        ("swap", "width", 2.5, "width must be a whole number, got 2.5"),
        ("swap", "width", None, "width must be a whole number, got null"),
        ("swap", "width", [1], r"width must be a whole number, got \[1\]"),
        ("swap", "width", True, "width must be a whole number, got true"),
        ("swap", "temperature", "hot", "temperature must be a number or null, got 'hot'"),
        ("swap", "stay", 1, "stay must be true or false, got 1"),
        ("beam", "branch", "all", "branch must be a whole number or null, got 'all'"),
        ("portfolio", "members", 3, "members must be a word, got 3"),
    ],
)
def test_a_value_of_another_kind_is_one_line(name, field, value, message):
    with pytest.raises(UsageError, match=f"^strategy '{name}': {message}$"):
        make_strategy(name, {field: value})


@pytest.mark.parametrize(
    ("name", "field", "value", "shown"),
    [
        ("random", "batch", 10**20, 10**20),
        ("anneal", "heat", float("inf"), "inf"),
        ("relax", "logit", float("nan"), "nan"),
        ("relax", "lr", -1e300, r"-1e\+300"),
    ],
)
def test_a_number_past_all_use_is_one_line(name, field, value, shown):
    limits = r"must be between -1e\+15 and 1e\+15"
    with pytest.raises(UsageError, match=f"^strategy '{name}': {field} {limits}, got {shown}$"):
        make_strategy(name, {field: value})


@pytest.mark.parametrize(
    ("name", "settings", "counts"),
    [
        ("swap", {"likely": 50}, {"fluent": 0.1}),
        ("swap", {"probe": 0, "keep": 5}, {"probe": 4}),
        ("evolution", {"probe": 0, "keep": 5}, {"probe": 4}),
        ("evolution", {"near": 0, "neighbours": 5}, {"near": 1}),
        ("evolution", {"fluent": 0, "likely": 50}, {"fluent": 1}),
        ("anneal", {"near": 0, "likest": 5}, {"near": 1}),
        ("policy", {"hidden": 8}, {"generator": "mlp"}),
        ("beam", {"propose": "random", "likely": 5}, {"propose": "mixed"}),
        ("edit", {"heat": 1.0}, {"accept": "anneal"}),
        ("edit", {"written": 1, "near": 4}, {"written": 0.9}),
        ("relax", {"hidden": 8}, {"encoder": "mlp"}),
        ("relax", {"projection": "gumbel", "raw": True}, {"projection": "end"}),
        ("relax", {"projection": "end", "check": 2}, {"projection": "langevin"}),
        ("optuna", {"population": 8}, {"sampler": "nsga2"}),
        ("optuna", {"sampler": "cmaes", "renew": 8}, {"sampler": "gp"}),
        ("optuna", {"sampler": "nsga2", "memory": 8}, {"sampler": "tpe"}),
        ("optuna", {"over": "axes", "elite": 8}, {"over": "shortlist"}),
        ("optuna", {"over": "axes", "width": 8}, {"over": None}),
        ("optuna", {"axes": 2}, {"sampler": "cmaes"}),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(name, settings, counts):
    *_, field = settings
    with pytest.raises(UsageError, match=f"^strategy '{name}': {field} counts with"):
        make_strategy(name, settings)
    assert make_strategy(name, settings | counts)


def test_a_whole_number_is_a_number_and_none_where_it_may_be():
    assert make_strategy("swap", {"explore": 1, "temperature": None}).explore == 1
    assert make_strategy("anneal", {"near": np.float64(0.5), "chains": np.int64(3)})


def test_a_kind_of_field_that_is_not_known_is_not_checked(monkeypatch):
    @dataclass(kw_only=True)
    class Own(Random):
        ladder: "list[float]" = field(default_factory=list)
        there: "Nowhere | None" = None  # noqa: F821

    monkeypatch.setattr("hardprompt.registry.strategy_class", lambda name: Own)
    assert make_strategy("own", {"ladder": [1.0], "there": "x", "batch": 3}).ladder == [1.0]


def test_hyperparameters_are_listed():
    assert hyperparameters(Swap)["width"] == Swap().width
    assert set(strategy_names()) >= {"auto", "swap", "relax"}


def test_nothing_is_asked_after_the_end():
    strategy = Exhaustive()
    space = planted_space(2, 1)
    strategy.start(space, np.random.default_rng(0))
    batch = strategy.ask()
    strategy.tell(batch, Feedback(np.zeros(2), np.ones(2, dtype=bool)))
    assert len(strategy.ask()) == 0
    assert len(strategy.ask()) == 0


def _ids(rows):
    from hardprompt.types import Batch

    return Batch(ids=np.atleast_2d(rows))
