"""The generators, their policy gradient, and what they learn."""

import itertools

import numpy as np
import pytest
import torch

from hardprompt.config import RunConfig
from hardprompt.errors import UsageError
from hardprompt.presets import preset_named
from hardprompt.registry import make_strategy
from hardprompt.scoring.losses import loss_named
from hardprompt.strategies.generators import Factored, Mlp, Simplex, Table, project
from hardprompt.strategies.policy import Policy
from hardprompt.testing import PlantedObjective, best_loss, converse, planted_space
from hardprompt.types import EMPTY, Batch

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 3))
POINTS = RNG.normal(size=(2, 3, 4))
GENERATORS = {
    "table": lambda: Table(LOGITS),
    "simplex": lambda: Simplex(LOGITS),
    "factored": lambda: Factored(LOGITS, POINTS),
    "mlp": lambda: Mlp(LOGITS, POINTS, 5, np.random.default_rng(1)),
}
PROMPTS = np.array(list(itertools.product(range(3), range(3))))


def gradients(value, generator):
    return [g.numpy() for g in torch.autograd.grad(value, generator.weights)]


@pytest.mark.parametrize("name", GENERATORS)
def test_all_prompts_together_are_certain(name):
    generator = GENERATORS[name]()
    total = generator.log_likelihood(torch.from_numpy(PROMPTS)).exp().sum()
    assert float(total.detach()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", GENERATORS)
def test_draws_are_as_frequent_as_they_are_likely(name):
    generator = GENERATORS[name]()
    drawn = generator.draw(np.random.default_rng(2), 20_000)
    share = (drawn[:, None] == PROMPTS).all(axis=2).mean(axis=0)
    expected = generator.log_likelihood(torch.from_numpy(PROMPTS)).exp().detach().numpy()
    np.testing.assert_allclose(share, expected, atol=0.015)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_policy_gradient_is_right_in_expectation(name):
    """Over all pairs of the nine prompts, weighted by their probability."""
    generator = GENERATORS[name]()
    loss = np.random.default_rng(3).normal(size=9) + 5
    chances = generator.log_likelihood(torch.from_numpy(PROMPTS)).exp()
    analytic = gradients((chances * torch.from_numpy(loss)).sum(), generator)
    estimate = [np.zeros_like(g) for g in analytic]
    policy = Policy(reward="plain")
    weights = chances.detach().numpy()
    for pair in itertools.product(range(9), repeat=2):
        pair = list(pair)
        found = gradients(policy._surrogate(generator, PROMPTS[pair], loss[pair]), generator)
        for total, part in zip(estimate, found, strict=True):
            total += weights[pair].prod() * part
    for a, b in zip(analytic, estimate, strict=True):
        if name == "simplex":
            # What moves all choices of a place alike is projected away.
            a, b = (g - g.mean(axis=1, keepdims=True) for g in (a, b))
        np.testing.assert_allclose(b, a, atol=1e-9)


def test_rewards_may_be_z_scores():
    generator, drawn = Table(LOGITS), PROMPTS[:4]
    loss = np.array([1.0, 2.0, 4.0, 9.0])
    score = (loss - 4) / (loss.std() + 1e-4)
    likelihood = generator.log_likelihood(torch.from_numpy(drawn)).detach().numpy()
    found = Policy(reward="zscore")._surrogate(generator, drawn, loss)
    assert float(found.detach()) == pytest.approx((score * likelihood).sum() / 3)


def test_ranked_rewards_are_those_of_nes():
    """u_i = max(0, ln(n / 2 + 1) - ln i) over their sum, minus 1 / n; whatever the losses are."""
    best = np.maximum(0, np.log(3) - np.log([1, 2, 3, 4]))
    expected = best / best.sum() - 1 / 4
    for loss in ([3.0, 1.0, 2.0, 900.0], [0.3, 0.1, 0.2, 0.4]):
        gains = Policy(reward="rank")._gains(np.array(loss))
        np.testing.assert_allclose(-gains / 4, expected[[2, 0, 1, 3]])
        assert gains.sum() == pytest.approx(0)


def test_projection_on_the_simplex():
    points = np.random.default_rng(4).normal(size=(50, 7)) * 2
    found = project(points)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found >= 0).all()
    # The nearest point is max(p - t, 0) for the one t that makes it sum to 1, found by halving.
    low, high = points.min(axis=1) - 1, points.max(axis=1)
    for _ in range(60):
        middle = (low + high) / 2
        above = np.maximum(points - middle[:, None], 0).sum(axis=1) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    np.testing.assert_allclose(found, np.maximum(points - low[:, None], 0), atol=1e-12)
    others = np.random.default_rng(5).dirichlet(np.ones(7), size=2000)
    distance = ((points[:, None] - others) ** 2).sum(axis=2).min(axis=1)
    assert (((points - found) ** 2).sum(axis=1) <= distance).all()
    np.testing.assert_allclose(project(found), found, atol=1e-12)


def test_a_step_keeps_the_simplex():
    generator = Simplex(LOGITS)
    with torch.no_grad():
        generator.table += torch.from_numpy(RNG.normal(size=(2, 3)))
    generator.settle()
    np.testing.assert_allclose(generator.table.detach().numpy().sum(axis=1), 1.0)
    drawn = generator.draw(np.random.default_rng(0), 500)
    chances = generator.table.detach().numpy()
    assert all(chances[place, drawn[:, place]].min() > 0 for place in range(2))


@pytest.mark.parametrize("generator", GENERATORS)
def test_prompts_have_the_greatest_length(generator):
    space = planted_space(12, 4, slots=(1, 3), min_length=1)
    talk = converse(Policy(generator=generator), PlantedObjective(space), 100)
    learning = [batch.ids for batch, _ in talk if batch.examples is None][2:]
    assert len(learning) > 2
    assert (np.concatenate(learning) != EMPTY).all()


def test_the_whole_vocabulary_may_come():
    space = planted_space(12, 2)
    talk = converse(Policy(shortlist=None, prior=0.0, lr=0.0), PlantedObjective(space), 600)
    asked = np.concatenate([batch.ids for batch, _ in talk[4:] if batch.examples is None])
    assert set(asked.ravel().tolist()) == set(space.tokens.tolist())


def test_a_generator_learns_the_best_prompt():
    space = planted_space(10, 3)
    objective = PlantedObjective(space)
    talk = converse(Policy(generator="table", prior=0.0), objective, 1500)
    truth = objective.measure(Batch(ids=objective.hidden[None])).loss[0]
    assert best_loss(talk, space) == pytest.approx(truth)
    means = [told.loss.mean() for batch, told in talk if len(batch) == 12]
    assert np.mean(means[5:10]) < np.mean(means[:3])


@pytest.mark.parametrize(
    ("right", "reward"),
    [(0.7, 80.0), (1.0, 200.0), (0.3, -72.0), (0.0, -180.0), (0.5, 0.0)],
)
@pytest.mark.parametrize("gold", [0, 1])
def test_piecewise_is_the_reward_of_rlprompt(right, reward, gold):
    """A tie is worth nothing, on both sides; RLPrompt's code rewards it as p + 1."""
    probabilities = np.array([right, 1 - right]) if gold == 0 else np.array([1 - right, right])
    with np.errstate(divide="ignore"):
        log_probs = np.log(probabilities)[None, None]
    loss = loss_named("piecewise").total(log_probs, np.array([gold]), 1)[0]
    assert 200 * (1 - loss) == pytest.approx(reward)


def test_piecewise_looks_at_the_strongest_rival_and_is_a_mean():
    log_probs = np.log([[[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]])
    loss = loss_named("piecewise")
    gold = np.array([0, 2, 1])
    terms = [1 - 0.2, 1 + 0.9 * 0.3, 1.0]
    np.testing.assert_allclose(loss.terms(log_probs, gold)[0], terms)
    assert loss.total(log_probs, gold, 3)[0] == pytest.approx(np.mean(terms))
    assert loss.total(log_probs[:, :2], gold[:2], 3)[0] <= np.mean(terms)


@pytest.mark.parametrize("name", ["bdpl", "rlprompt", "grips"])
def test_the_presets_are_runs(name):
    preset = preset_named(name)
    config = RunConfig(**preset.search)
    assert loss_named(config.objective)
    space = planted_space()
    strategy = make_strategy(preset.strategy, dict(preset.settings))
    assert best_loss(converse(strategy, PlantedObjective(space), 60), space) < np.inf


def test_settings_are_checked():
    with pytest.raises(UsageError, match="one of factored, mlp, table, simplex"):
        make_strategy("policy", {"generator": "lstm"})
    with pytest.raises(UsageError, match="samples must be 2 or more, got 1"):
        make_strategy("policy", {"samples": 1})
