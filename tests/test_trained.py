"""Training of weights within a comparison: known answers, and what is promised of each method."""

import dataclasses
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch

from hardprompt.adapt import peft_files
from hardprompt.adapt.bottleneck import Bottleneck
from hardprompt.adapt.finetune import FineTuning
from hardprompt.adapt.tensors import write_tensors
from hardprompt.baselines.base import Bench
from hardprompt.baselines.bbt import BlackBoxTuning, Subspace, _coordinates
from hardprompt.baselines.soft_files import OWN
from hardprompt.baselines.table import make_method
from hardprompt.baselines.trained import FOLDER, Loaded
from hardprompt.baselines.training import Training, no_prompt_rows, row_losses, warmed
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError
from hardprompt.models.load import fingerprints
from hardprompt.models.trainable import Copy
from hardprompt.session import Session
from hardprompt.space import SearchSpace
from tests.families import save_causal, save_masked
from tests.test_scoring import TOLERANCE

WEIGHTS = {"adapter-3": Bottleneck, "adapter-0.1": Bottleneck, "top-2": FineTuning,
           "fine-tune": FineTuning}  # fmt: skip


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory):
    """A Llama, a GPT-2 (whose layers the search fuses) and a BERT."""
    root = tmp_path_factory.mktemp("trained")
    return {
        "llama": tiny_folder,
        "gpt2": save_causal("byte-level", root / "gpt2"),
        "bert": save_masked("bert", root / "bert"),
    }


@pytest.fixture(params=["llama", "gpt2", "bert"])
def bench(request, models, task_folder, tmp_path):
    return bench_of(models[request.param], task_folder, tmp_path / "bench")


def bench_of(model, task, folder, **options):
    given = {"length": 2, "budget": 100.0, "vocabulary_top": 200} | options
    session = Session.prepare(RunConfig(task=str(task), model=str(model), **given))
    budget = session.budget * len(session.task.search)
    return Bench(session, np.random.default_rng(0), budget, folder)


def nll(log_probs, gold):
    return -log_probs[np.arange(len(gold)), gold]


@pytest.mark.parametrize("labels", [None, ((40, 41), (42,))], ids=["own", "of two tokens"])
def test_losses_of_rows_are_those_of_the_empty_prompt(bench, labels):
    session, copy = bench.session, Copy.of(bench.session.model)
    gold, scorer = session.gold("search"), session.scorers["search"]
    labels = labels or scorer.labels
    numbers = np.array([7, 3, 20])  # of unlike lengths, in no order
    rows = no_prompt_rows(bench, "search")
    losses = row_losses(copy.scoring(copy.module), rows, labels, gold, numbers)
    expected = nll(scorer.by_text(session.no_prompt, labels), gold)
    np.testing.assert_allclose(losses.detach().numpy(), expected[numbers], atol=TOLERANCE)


def test_gradients_do_not_depend_on_what_fits_into_a_batch(bench):
    found = []
    for tokens in (2048, 30):
        training = Training(bench, FineTuning())
        training._copy.batcher.tokens = tokens
        found.append(training._slopes(np.arange(8)))
    for whole, pieces in zip(*found, strict=True):
        # Sums in another order, in float32.
        torch.testing.assert_close(whole, pieces, rtol=1e-3, atol=1e-5)


def test_rates_rise_and_then_fall_towards_zero():
    shares = [warmed(step, 100) for step in range(1, 101)]
    assert shares.index(1.0) == 5  # the sixth of a hundred steps
    assert all(before < after for before, after in pairwise(shares[:6]))
    assert all(before > after for before, after in pairwise(shares[5:]))
    assert 0 < shares[-1] < 0.02
    assert warmed(1, 1) == 1


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_was_chosen_on_dev_is_what_is_saved_and_predicts(bench, name):
    fitted = make_method(name).fit(bench)
    best = max(trial["quality"] for trial in fitted.details["trials"])
    # Qualities in the record have six digits.
    assert bench.quality(fitted.predict("dev")) == pytest.approx(best, abs=1e-6)
    folder = bench.folder / FOLDER
    assert {path.name for path in folder.iterdir()} == set(fitted.details["files"])
    again = Loaded(bench, WEIGHTS[name], folder)
    np.testing.assert_array_equal(again.log_probs("test"), fitted.predict("test"))


@pytest.mark.parametrize("name", [*WEIGHTS, "prefix"])
def test_one_copy_of_the_model_is_held_at_a_time(models, task_folder, tmp_path, monkeypatch, name):
    bench = bench_of(models["llama"], task_folder, tmp_path / "bench", budget=30.0)
    made, held = [], []

    def copied(cls, model, of=Copy.of.__func__):
        held.append(sum(module() is not None for module in made))
        copy = of(cls, model)
        made.append(weakref.ref(copy.module))
        return copy

    monkeypatch.setattr(Copy, "of", classmethod(copied))
    make_method(name).fit(bench)
    assert held == [0] * len(made)
    assert len(made) >= 2


@pytest.mark.parametrize("name", ["bbt", *WEIGHTS])
def test_the_frozen_model_stays_as_it_was(bench, name):
    model = bench.session.model
    tokenizer = model.codec._tokenizer
    scorer = bench.session.scorers["dev"]
    before, scores = fingerprints(model._model, tokenizer), scorer.by_text(("so",))
    make_method(name).fit(bench)
    assert fingerprints(model._model, tokenizer) == before
    assert not any(weight.requires_grad for weight in model._model.parameters())
    np.testing.assert_array_equal(scorer.by_text(("so",)), scores)


@pytest.mark.parametrize("name", WEIGHTS)
def test_training_lowers_the_search_loss(models, task_folder, tmp_path, name):
    bench = bench_of(models["llama"], task_folder, tmp_path / "bench", budget=200.0)
    fitted = make_method(name).fit(bench)
    gold, scorer = bench.session.gold("search"), bench.session.scorers["search"]
    before = nll(scorer.by_text(bench.session.no_prompt), gold).mean()
    assert nll(fitted.predict("search"), gold).mean() < before
    assert len({trial["rate"] for trial in fitted.details["trials"]}) > 1


def test_each_trial_begins_where_the_first_began(bench):
    training = Training(bench, Bottleneck())
    start = [weight.clone() for weight in training.adapted.trained]
    bench.rng = np.random.default_rng(1)
    first = training.run(1e-2, plan_of(steps=3))
    bench.rng = np.random.default_rng(1)
    second = training.run(1e-2, plan_of(steps=3))
    for one, other, begun in zip(first.state, second.state, start, strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, begun)


def plan_of(steps):
    from hardprompt.baselines.tuning import Plan

    return Plan(steps, frozenset({steps}))


def test_a_rate_that_runs_off_leaves_numbers_that_can_be_saved(bench):
    training = Training(bench, FineTuning())
    found = training.run(1e6, plan_of(steps=3))
    assert found.quality < 1  # and not an error
    assert all(torch.isfinite(weight).all() for weight in found.state)


def test_half_precision_is_trained_in_float32(models, task_folder, tmp_path):
    bench = bench_of(models["llama"], task_folder, tmp_path, dtype="bfloat16")
    copy = Copy.of(bench.session.model)
    assert bench.session.model._model.dtype == torch.bfloat16
    assert {weight.dtype for weight in copy.module.parameters()} == {torch.float32}


def test_black_box_tuning_reads_forwards_only_and_keeps_points(bench):
    fitted = make_method("bbt").fit(bench)
    assert bench.spent == bench.forward <= bench.budget
    assert bench.backward == 0
    assert fitted.trained == fitted.details["coordinates"]
    assert fitted.n_bytes == 4 * fitted.stored == 4 * 2 * 64
    assert {OWN, peft_files.WEIGHTS} & set(fitted.details["files"])


def test_black_box_tuning_begins_at_words_and_goes_nowhere_else_without_its_coordinates(bench):
    space = Subspace(bench, 5)
    session = bench.session
    table = session.space.embeddings.astype(np.float64)
    nearest = session.space.nearest(space.best)[:, 0]
    words = [token for label in session.scorers["search"].labels for token in label]
    if space.start == "labels":
        np.testing.assert_array_equal(space.best, table[words[:2]])
    else:
        np.testing.assert_array_equal(space.best, table[nearest])
    gold = session.gold("search")
    loss = nll(session.scorers["search"].by_points(space.best), gold).mean()
    moved = space.losses(np.stack([np.zeros(5), np.ones(5)]))
    assert moved[0] == pytest.approx(loss, abs=TOLERANCE)
    assert moved[1] != pytest.approx(loss, abs=TOLERANCE)


@pytest.mark.parametrize(("prompts", "expected"), [(0, 2), (41, 10), (1e9, 500)])
def test_black_box_tuning_has_coordinates_as_it_has_prompts(
    models, task_folder, tmp_path, prompts, expected
):
    bench = bench_of(models["llama"], task_folder, tmp_path)
    embeddings = np.zeros((3, 400), np.float32)
    space = SearchSpace(np.arange(3), (2,), embeddings, n_examples=4)
    wide = dataclasses.replace(bench, session=dataclasses.replace(bench.session, space=space))
    assert _coordinates(prompts, wide) == expected
    assert _coordinates(prompts, bench) == min(expected, 2 * 64)


def test_black_box_tuning_lowers_the_search_loss(models, task_folder, tmp_path):
    bench = bench_of(models["llama"], task_folder, tmp_path / "bench", budget=200.0)
    fitted = BlackBoxTuning().fit(bench)
    rng = np.random.default_rng(0)
    rng.integers(2**31)  # the seed of CMA-ES
    begun = Subspace(dataclasses.replace(bench, rng=rng), fitted.trained)
    assert begun.start == fitted.details["start"]
    loss = nll(fitted.predict("search"), bench.session.gold("search")).mean()
    assert loss < begun.lowest


@pytest.mark.parametrize("way", ["a file for a folder", "a folder for a file"])
def test_weights_that_cannot_be_written_are_one_line(tmp_path, way):
    path = tmp_path / "weights" / "weights.safetensors"
    if way == "a file for a folder":
        path.parent.write_text("in the way")
    else:
        path.with_suffix(".part").mkdir(parents=True)
    with pytest.raises(HardpromptError, match=r"cannot write '.*weights.safetensors'") as caught:
        write_tensors(path, {"a": torch.zeros(2)})
    assert "\n" not in str(caught.value)
