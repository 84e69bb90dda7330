"""What `optuna` promises beyond the common contract."""

import logging

import numpy as np
import pytest

from hardprompt.ledger import Ledger
from hardprompt.strategies.optuna import Optuna
from hardprompt.strategies.optuna_spaces import Axes, Shortlist, shortlist
from hardprompt.study import Study
from hardprompt.testing import PlantedObjective, StrategyContract, converse, planted_space
from hardprompt.types import EMPTY, Batch

SPACE = planted_space(slots=(3, 2), length=5, min_length=2)


class TestGaussianProcess(StrategyContract):
    """The contract in small: a Gaussian process takes a tenth of a second a prompt."""

    beats_random = False
    budget = 16.0
    make = staticmethod(lambda: Optuna(sampler="gp", starts=10, batch=4))

    def test_tiny_spaces_do_no_harm(self):
        assert self.talk(planted_space(3, 2), budget=16.0)


def lists(rng, n=8):
    return [rng.choice(SPACE.tokens, size=n, replace=False) for _ in range(SPACE.length)]


@pytest.fixture(params=["axes", "shortlist"])
def layout(request):
    if request.param == "axes":
        return Axes(SPACE, 8)  # as many axes as the embeddings have: no two tokens are one point
    return Shortlist(SPACE, lists(np.random.default_rng(0)))


def prompts_of(layout, n=50):
    rng = np.random.default_rng(1)
    places = [rng.choice(layout.choices(place), size=n) for place in range(SPACE.length)]
    rows = np.where(SPACE.random(rng, n) == EMPTY, EMPTY, np.column_stack(places))
    return SPACE.canonical(rows)


def test_a_prompt_comes_back_from_its_parameters(layout):
    for row in prompts_of(layout):
        params = layout.params(row)
        assert set(params) == set(layout.distributions())
        # Canonical rows may hold a token that was drawn for another place.
        if len(params) == len(layout.distributions()):
            np.testing.assert_array_equal(layout.row(params), row)


def test_every_trial_is_an_allowed_prompt(layout):
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    rows = [layout.row(study.ask(layout.distributions()).params) for _ in range(200)]
    assert np.isin(rows, [*SPACE.tokens, EMPTY]).all()
    assert SPACE.lengths_allowed(np.array(rows)).all()
    np.testing.assert_array_equal(SPACE.canonical(np.array(rows)), rows)


def test_a_token_that_cannot_be_shown_is_left_out(layout):
    foreign = np.full(SPACE.length, 1)  # odd ids may not be searched
    assert not [name for name in layout.params(foreign) if name.startswith("place")]


@pytest.mark.parametrize("fluent", [0, 0.5, 1])
def test_shortlists_hold_the_elite_and_only_allowed_tokens(fluent):
    rng = np.random.default_rng(0)
    elite = SPACE.random(rng, 3)
    elite[0, 0] = 1  # a seed may hold other ids
    asking = shortlist(SPACE, rng, elite[1], elite, 6, fluent)
    found = _answered(asking, PlantedObjective(SPACE))
    for place in range(SPACE.length):
        choices = found.choices(place)
        own = np.intersect1d(elite[:, place], SPACE.tokens)
        assert np.isin(choices, SPACE.tokens).all()
        assert np.isin(own, choices).all()
        assert len(np.unique(choices)) == len(choices) == len(own) + 6


def test_a_shortlist_holds_the_best_single_swap():
    """The planted loss is a sum over places, and smooth: the slope knows the way."""
    objective = PlantedObjective(SPACE)
    around = SPACE.random(np.random.default_rng(3), 1)
    around[around == EMPTY] = SPACE.tokens[5]
    told = objective.measure(Batch(ids=around, wants_gradient=True))
    steepest = SPACE.tokens[SPACE.slope(told.gradient[0]).argmin(axis=1)]
    asking = shortlist(SPACE, np.random.default_rng(0), around[0], around, 1, 0)
    found = _answered(asking, objective)
    assert all(token in found.choices(place) for place, token in enumerate(steepest))


def _answered(asking, objective):
    batch = next(asking)
    while True:
        try:
            batch = asking.send(objective.measure(batch))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp", "nsga2"])
def test_optuna_neither_logs_nor_warns(sampler, capfd, recwarn):
    import optuna

    optuna.logging.set_verbosity(logging.DEBUG)
    try:
        converse(Optuna(sampler=sampler), PlantedObjective(planted_space()), 32)
        assert optuna.logging.get_verbosity() == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(logging.INFO)
    assert capfd.readouterr().err == ""
    assert not recwarn.list


def test_prompts_are_not_asked_twice():
    talk = converse(Optuna(sampler="tpe"), PlantedObjective(planted_space(12, 3)), 150)
    rows = [row.tobytes() for b, _ in talk if b.examples is None and not b.wants_gradient
            for row in b.ids]  # fmt: skip
    assert len(rows) == len(set(rows))


def test_the_front_is_what_no_measured_prompt_dominates(tmp_path):
    space = planted_space(30, 4, min_length=1)
    objective = PlantedObjective(space, broken=0.1)
    with Ledger.create(tmp_path / "ledger.db", {}) as ledger:
        study = Study(objective, Optuna(sampler="nsga2"), space, ledger, budget=150)
        study.run()
        pieces = list(ledger.pieces())
    measured = {}
    for piece in pieces:
        if piece.wants_fluency:
            fluency = piece.feedback.fluency.tolist()
            for row, loss, nll in zip(
                piece.ids, piece.feedback.loss.tolist(), fluency, strict=True
            ):
                if np.isfinite(loss):
                    measured[row.tobytes()] = (loss, nll, int((row != EMPTY).sum()))
    front = {
        key
        for key, a in measured.items()
        if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True))
                   for b in measured.values())
    }  # fmt: skip
    assert {found.ids.tobytes() for found in study.front()} == front
    assert len(measured) > 100
    assert len({(found.ids != EMPTY).sum() for found in study.front()}) > 1


def test_fields_are_checked():
    with pytest.raises(ValueError, match="one of gp, tpe, cmaes, nsga2"):
        Optuna(sampler="tpee")
    with pytest.raises(ValueError, match="leave out over=shortlist"):
        Optuna(sampler="cmaes", over="shortlist")
    with pytest.raises(ValueError, match="population must be 2 or more"):
        Optuna(population=1)
