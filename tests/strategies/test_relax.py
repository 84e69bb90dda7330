"""Relaxations: answers known beforehand, and what a descent records."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hardprompt.encoders import make_encoder
from hardprompt.ledger import Ledger
from hardprompt.presets import PRESETS
from hardprompt.registry import make_strategy
from hardprompt.strategies.adafactor import Adafactor
from hardprompt.strategies.descent import ASKS_PROMPTS
from hardprompt.strategies.gumbel import mixture
from hardprompt.strategies.relax import ENCODERS, PROJECTIONS, Relax
from hardprompt.study import Study
from hardprompt.testing import PlantedObjective, best_loss, converse, planted_space
from hardprompt.types import EMPTY, Batch

SPACE = planted_space()


def talk(settings, budget=80, space=SPACE, **options):
    strategy = Relax(**settings)
    return strategy, converse(strategy, PlantedObjective(space, **options), budget)


def gradients(found):
    """The batches that asked one, in order, and what was told."""
    return [(batch, told) for batch, told in found if batch.wants_gradient]


def embedded(rows, space=SPACE):
    return space.embeddings[rows].astype(np.float32)


def test_gbda_at_zero_temperature_equals_its_argmax_prompt():
    objective = PlantedObjective(SPACE)
    settings = {"projection": "gumbel", "temperature": 0, "coldest": 0, "steps": 4, "mixtures": 3}
    _, found = talk(settings, 200)
    asked = gradients(found)
    assert len(asked) >= 4
    for batch, told in asked:
        rows = SPACE.nearest(batch.embeds)[..., 0]
        np.testing.assert_array_equal(batch.embeds, embedded(rows))
        np.testing.assert_allclose(told.loss, objective.measure(Batch(ids=rows)).loss)


def test_a_mixture_goes_from_all_tokens_to_the_likeliest():
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    assert mixture(logits, 0.0).tolist() == [[0, 1, 0]]
    torch.testing.assert_close(mixture(logits, 1.0), torch.softmax(logits, dim=-1))
    torch.testing.assert_close(mixture(logits, 1e9), torch.full((1, 3), 1 / 3))


def test_gbda_ends_with_hard_samples_that_are_measured_as_prompts():
    settings = {"projection": "gumbel", "steps": 2, "samples": 6, "logit": 0, "k_best": 1}
    _, found = talk(settings, 20)
    ends = [batch.ids for batch, _ in found if batch.ids is not None and len(batch) == 7]
    assert ends
    assert len(np.unique(ends[0], axis=0)) > 1


def test_gbda_stands_for_a_seed_that_may_not_be_searched_by_its_nearest():
    seed = np.array([[1, 3, 5, 7]])  # odd ids are not allowed
    space = replace(SPACE, seeds=seed)
    settings = {"projection": "gumbel", "temperature": 0, "coldest": 0, "logit": 99, "steps": 1}
    _, found = talk(settings, space=space)
    near = SPACE.nearest(SPACE.embeddings[seed])[..., 0]
    np.testing.assert_array_equal(gradients(found)[0][0].embeds, embedded(near))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_pez_first_projects_to_its_initial_tokens(encoder):
    _, found = talk({"encoder": encoder, "steps": 2})
    assert found[0][0].ids is not None
    np.testing.assert_array_equal(gradients(found)[0][0].ids, found[0][0].ids)


def test_pez_never_overwrites_its_points():
    # Each step is too small to leave the cell of a token; all of them together are not.
    few, many = ({"lr": 0.02, "optimizer": "sgd", "steps": n, "k_best": 1} for n in (1, 200))
    start = talk(few, 5)[1][0][0].ids[0]
    assert (talk(few)[0].descents[0].projected == start).all()
    assert (talk(many, 900)[0].descents[0].projected != start).any()


def test_langevin_without_noise_is_autoprompt_sgd():
    """Every state is the table's, and the next is the tokens nearest to one plain step."""
    space = planted_space(dim=3)
    settings = {"projection": "langevin", "beta": 0, "optimizer": "sgd", "raw": True, "lr": 0.7}
    _, found = talk({**settings, "steps": 8, "k_best": 1}, 90, space)
    objective, row = PlantedObjective(space), found[0][0].ids[0]
    states = [row]
    for _ in range(8):
        told = objective.measure(Batch(ids=row[None], wants_gradient=True))
        row = space.nearest(embedded(row, space) - 0.7 * told.gradient[0])[:, 0]
        if any((row == state).all() for state in states):
            break  # told before: it is not asked again
        states.append(row)
    assert len(states) > 3
    asked = [batch.ids[0] for batch, _ in gradients(found)]
    np.testing.assert_array_equal(asked[: len(states)], states)


def test_langevin_is_as_noisy_as_it_says():
    """Without a gradient a step of temperature beta leaves noise of variance 2 * lr * beta."""
    from hardprompt.strategies.projections import Langevin, Points

    space = planted_space(2000, 1, dim=64)
    drawn = []
    for kind in (Langevin, Points):
        strategy = Relax(projection="langevin", lr=0.5, beta=0.25, optimizer="sgd", raw=True)
        strategy.space, strategy.rng = space, np.random.default_rng(3)
        course = kind(strategy, np.array([0]))
        course._move_to_table = lambda share: None  # to see the state before it is overwritten
        course.learn(np.zeros((1, 1, 64)), 0.0)
        drawn.append(course.points())
    assert np.std(drawn[0] - drawn[1]) == pytest.approx(0.5, rel=0.25)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_pull_ends_on_the_table(encoder):
    settings = {"projection": "pull", "encoder": encoder, "steps": 5, "k_best": 1}
    strategy, _ = talk(settings)
    descent = strategy.descents[0]
    np.testing.assert_allclose(descent.points, embedded(descent.projected), atol=1e-5)
    # There is no gap where nothing is left to round.
    np.testing.assert_allclose(descent.alone, descent.soft, rtol=1e-4)
    assert descent.soft == pytest.approx(descent.hard, rel=1e-4)


def test_the_gap_is_what_the_objective_says_of_each_place():
    strategy, _ = talk({"projection": "end", "steps": 5})
    objective, descent = PlantedObjective(SPACE), strategy.descents[0]
    assert descent.soft == pytest.approx(objective.measure(Batch(embeds=descent.points[None])).loss)
    hard = objective.measure(Batch(ids=descent.projected[None])).loss
    assert descent.hard == pytest.approx(hard)
    for place, alone in enumerate(descent.alone):
        points = descent.points.copy()
        points[place] = SPACE.embeddings[descent.projected[place]]
        assert alone == pytest.approx(objective.measure(Batch(embeds=points[None])).loss)
    assert descent.after <= descent.hard


def test_the_places_that_lose_most_are_repaired_first():
    strategy, found = talk({"projection": "end", "steps": 3, "batch": 4})
    repairs = [b.ids for b, _ in found if b.keep and len(b) == 4][: SPACE.length]
    changed = [int(np.flatnonzero((rows != rows[0]).any(axis=0))[0]) for rows in repairs]
    lost = strategy.descents[0].alone
    assert changed == np.argsort(-lost, kind="stable").tolist()


def test_a_record_is_json_and_says_nothing_of_points_that_were_not_asked():
    soft, hard = (talk({"projection": p, "steps": 3})[0] for p in ("end", "straight-through"))
    first = json.loads(json.dumps(soft.record()))["descents"][0]
    assert len(first["places"]) == len(first["prompt"]) == SPACE.length
    assert np.isfinite([first["soft"], *(place["alone"] for place in first["places"])]).all()
    assert np.isnan(hard.record()["descents"][0]["soft"])


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_prompts_may_be_shorter(projection):
    space = planted_space(min_length=1)
    settings = {"projection": projection, "steps": 3}
    strategy, found = talk(settings, 80, space)
    assert {len(d.points) for d in strategy.descents} > {SPACE.length}
    assert best_loss(found, space) < np.inf
    # Where slots may be empty, points have no holes: they are filled.
    slots = planted_space(slots=(2, 2), min_length=1)
    strategy, _ = talk(settings, 80, slots)
    for descent in strategy.descents:
        assert (descent.repaired != EMPTY).sum() == len(descent.points)


class Once(Relax):
    """A single descent."""

    def search(self):
        self.descents, self._known = [], {}
        yield from self._descend(self.space.starts(self.rng, 1)[0])


@pytest.mark.parametrize("batch", [4, 99])
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_descent_reserves_what_it_asks(projection, batch, tmp_path):
    settings = {"samples": 3, "mixtures": 2} if projection == "gumbel" else {}
    strategy = Once(projection=projection, steps=10**6, batch=batch, **settings)
    space = replace(SPACE, budget=60)
    with Ledger.create(tmp_path / "ledger.db", {}) as ledger:
        study = Study(PlantedObjective(space), strategy, space, ledger, budget=60)
        assert study.run() == "exhausted"  # not by the budget, which would lose the end
    assert len(strategy.descents) == 1
    assert study.backward >= 5
    if projection not in ASKS_PROMPTS:  # whose prompts come again, for nothing
        # What is left is less than a step, but for places and samples that were known already.
        step = study.space.gradient_price * strategy.mixtures
        assert study.spent > 60 - step - SPACE.length - 3


class Counted(Relax):
    """Notes what was asked before each descent."""

    def _descend(self, start):
        self.begun = [*getattr(self, "begun", []), self.asked]
        yield from super()._descend(start)


def spent(strategy, folder, budget):
    space = replace(SPACE, budget=budget)
    with Ledger.create(folder / f"{type(strategy).__name__}{budget}.db", {}) as ledger:
        study = Study(PlantedObjective(space), strategy, space, ledger, budget=budget)
        study.run()
    return study.spent


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_every_descent_comes_to_its_end_for_which_the_rest_is_enough(projection, tmp_path):
    settings = {"samples": 3, "mixtures": 2} if projection == "gumbel" else {}
    settings |= {"projection": projection, "batch": 4}
    least = spent(Once(**settings, steps=1), tmp_path, 1000)
    for budget in range(60, 120, 10):
        strategy = Counted(**settings, steps=20)
        spent(strategy, tmp_path, budget)
        assert strategy.descents
        if len(strategy.begun) > len(strategy.descents):
            assert len(strategy.begun) == len(strategy.descents) + 1
            assert budget - strategy.begun[-1] < least + 1


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_rows_that_fail_are_never_the_best_of_a_descent(projection):
    strategy, _ = talk({"projection": projection, "steps": 4}, broken=1.0)
    assert strategy.descents
    assert all(descent.after == np.inf for descent in strategy.descents)


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_begin_at_words_move_as_told_and_draw_from_the_given_generator(kind):
    before = torch.get_rng_state()
    start = torch.arange(12.0).reshape(3, 4)
    found = [make_encoder(kind, start, 6, np.random.default_rng(7)) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    for left, right in zip(found[0].weights, found[1].weights, strict=True):
        assert torch.equal(left, right)
    torch.testing.assert_close(found[0].points().detach(), start)
    found[0].move(torch.ones(3, 4))
    torch.testing.assert_close(found[0].points().detach(), start + 1)
    torch.testing.assert_close(start, torch.arange(12.0).reshape(3, 4))


def test_adafactor_keeps_averages_of_rows_and_columns():
    """Two steps by hand; at a matrix of rank one the factors are exact."""
    weight = torch.zeros(2, 3, requires_grad=True)
    optimizer = Adafactor([weight], lr=0.5)
    slope = torch.tensor([[1.0, 2.0, -4.0], [-2.0, 4.0, 8.0]])
    weight.grad = slope.clone()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), -0.5 * slope.sign())
    weight.grad = 10 * slope
    optimizer.step()
    keep = 1 - 2**-0.8
    update = 10 / (keep + (1 - keep) * 100) ** 0.5  # above 1, and so cut to 1
    assert update > 1
    torch.testing.assert_close(weight.detach(), -1.0 * slope.sign())


@pytest.mark.parametrize("name", ["pez", "gbda", "fluentprompt"])
def test_published_relaxations_run(name):
    preset = PRESETS[name]
    strategy = make_strategy(preset.strategy, dict(preset.settings))
    found = converse(strategy, PlantedObjective(SPACE), 300)
    assert strategy.descents
    assert best_loss(found, SPACE) < np.inf


def test_an_encoder_has_no_logits():
    with pytest.raises(ValueError, match="gumbel trains logits and takes encoder none"):
        Relax(projection="gumbel", encoder="mlp")


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        ({"beta": 0.5}, "langevin"),
        ({"projection": "gumbel", "pull": 2.0}, "pull"),
        ({"projection": "end", "temperature": 2.0}, "gumbel"),
        ({"projection": "langevin", "mixtures": 3}, "gumbel"),
    ],
)
def test_a_setting_of_another_projection_is_refused(settings, own):
    with pytest.raises(ValueError, match=f"counts with projection={own} only"):
        Relax(**settings)
