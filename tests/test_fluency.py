"""How likely a model finds prompts: many at once as one by one, told, recorded and told again."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hardprompt.config import RunConfig, with_fluency
from hardprompt.models.codec import Codec
from hardprompt.models.load import load_model
from hardprompt.objective import Objective
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.fluency import Fluency
from hardprompt.scoring.losses import loss_named
from hardprompt.types import EMPTY, Batch
from tests.conftest import FAMILIES
from tests.families import MASKED, save_masked
from tests.test_race import GOLD as RACED_GOLD
from tests.test_race import SPACE as RACED_SPACE
from tests.test_race import Planted, rows
from tests.test_scoring import GOLD, TEMPLATES, TOLERANCE, _Framed, build
from tests.test_study import SPACE, fixed, some_rows


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """`masked(kind)` -> (transformers model, tokenizer, MaskedModel)."""
    known = {}

    def make(kind):
        if kind not in known:
            folder = save_masked(kind, tmp_path_factory.mktemp("masked") / kind)
            plain = AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager")
            known[kind] = plain, AutoTokenizer.from_pretrained(folder), load_model(str(folder))
        return known[kind]

    return make


def prompts_of(space, n, seed=0):
    """Prompts of every length, the empty one and two of one token included."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(space.tokens, size=(n, space.length))
    ids[0], ids[1:3, 1:] = EMPTY, EMPTY
    for row in ids[3:]:
        row[rng.random(space.length) < 0.3] = EMPTY  # holes as well: several slots have them
    return ids


def causal_by_hand(model, codec, tokens):
    """One row, one forward pass."""
    row = torch.tensor([[*codec.prefix, *tokens]], dtype=torch.int64)
    if not row.numel():
        return np.nan
    with torch.no_grad():
        log_probs = model(row).logits[0].float().log_softmax(-1)
    start = max(len(codec.prefix), 1)
    told = [float(log_probs[i - 1, row[0, i]]) for i in range(start, row.shape[1])]
    return np.mean(told) if told else np.nan


def masked_by_hand(model, tokenizer, codec, tokens):
    """One forward pass for each token."""
    row = torch.tensor([[*codec.prefix, *tokens, *codec.suffix]])
    told = []
    for place, token in enumerate(tokens, len(codec.prefix)):
        hidden = row.clone()
        hidden[0, place] = tokenizer.mask_token_id
        with torch.no_grad():
            told.append(float(model(hidden).logits[0, place].log_softmax(-1)[token]))
    return np.mean(told) if told else np.nan


@pytest.mark.parametrize("size", [(2048, None), (1, None), (10**6, 3)])
@pytest.mark.parametrize("family", FAMILIES)
def test_many_prompts_are_as_likely_as_one_by_one(make_model, family, size):
    plain, model = make_model(family, tokens=size[0], rows=size[1])
    _, space = build(model, TEMPLATES[2])
    ids = prompts_of(space, 12)
    found = model.prompt_log_probs(ids)
    expected = [causal_by_hand(plain, model.codec, row[row != EMPTY].tolist()) for row in ids]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert np.nanstd(found) > 0.1
    assert np.flatnonzero(np.isnan(found)).tolist() == [0]


@pytest.mark.parametrize("size", [(2048, None), (1, None), (10**6, 3)])
@pytest.mark.parametrize("kind", MASKED)
def test_many_prompts_of_a_masked_model_too(masked, kind, size):
    plain, tokenizer, model = masked(kind)
    _, space = build(model, "{prompt} {text} {label}")
    ids = prompts_of(space, 12)
    before, model._batcher = model._batcher, Batcher(*size)
    found = model.prompt_log_probs(ids)
    model._batcher = before
    expected = [
        masked_by_hand(plain, tokenizer, model.codec, row[row != EMPTY].tolist()) for row in ids
    ]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert np.flatnonzero(np.isnan(found)).tolist() == [0]


def test_without_a_beginning_the_first_token_is_not_told(make_model, tokenizer):
    codec = Codec(_Framed(tokenizer))
    plain, model = make_model("llama", codec=codec)
    _, space = build(model, TEMPLATES[0])
    ids = prompts_of(space, 8)
    ids[3] = space.tokens[:4]
    expected = [causal_by_hand(plain, codec, row[row != EMPTY].tolist()) for row in ids]
    np.testing.assert_allclose(model.prompt_log_probs(ids), expected, atol=TOLERANCE)
    assert np.isnan(expected[:3]).all()
    # As a price: none of the empty prompt, a guess of a token that nothing stands before.
    told = Fluency(model, space).of(ids)
    assert told[:3].tolist() == [0.0, *[np.log(len(model.embeddings))] * 2]
    np.testing.assert_allclose(told[3:], np.negative(expected[3:]), atol=TOLERANCE)


@pytest.mark.parametrize("wants_gradient", [False, True])
def test_the_objective_tells_it_where_it_is_asked_for(make_model, tokenizer, wants_gradient):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    ids = np.random.default_rng(0).choice(space.tokens, size=(4, space.length))
    # Two pieces of one word do not survive being written out.
    ids[2, :2] = [tokenizer.convert_tokens_to_ids(piece) for piece in ("Ġwonder", "ful")]
    plain = objective.measure(Batch(ids=ids, wants_gradient=wants_gradient))
    told = objective.measure(Batch(ids=ids, wants_gradient=wants_gradient, wants_fluency=True))
    assert plain.fluency is None
    np.testing.assert_array_equal(plain.loss, told.loss)
    expected = -model.prompt_log_probs(ids)
    expected[2] = np.nan
    np.testing.assert_allclose(told.fluency, expected, atol=TOLERANCE)
    points = model.embeddings[ids[:2]] * 1.01  # another length is no other direction
    told = objective.measure(Batch(embeds=points, wants_fluency=True))
    np.testing.assert_allclose(told.fluency, expected[:2], rtol=0.2)


def test_fluency_is_recorded_and_costs_no_row(tmp_path: Path):
    ids = some_rows(6)
    batches = [
        Batch(ids=ids[:4]),
        Batch(ids=ids[[0, 4, 4, 0]], wants_fluency=True),  # a known loss is paid
        Batch(ids=ids[[4, 0]], wants_fluency=True),  # and now its fluency is known, too
        Batch(ids=ids[[0, 5]], wants_fluency=True, wants_gradient=True),
        Batch(ids=ids[[0, 4]]),
    ]
    run, told = fixed(tmp_path / "l.db", *batches)
    assert run.study.spent == 4 + 1 + 2 * 3
    assert run.objective.rows == 4 + 2 + 2
    assert told[0].fluency is told[4].fluency is None
    surprises = run.objective.inner.surprises
    for batch, feedback in zip(batches[1:4], told[1:4], strict=True):
        filled = batch.ids != EMPTY
        expected = np.where(filled, surprises[batch.ids], 0).sum(1) / filled.sum(1)
        np.testing.assert_array_equal(feedback.fluency, expected)
    again, twice = fixed(tmp_path / "l.db", *batches)
    assert again.objective.rows == 0
    for first, second in zip(told, twice, strict=True):
        np.testing.assert_array_equal(first.loss, second.loss)
        np.testing.assert_array_equal(first.fluency, second.fluency)


def test_fluency_is_told_of_dropped_rows_and_known_ones_alike(tmp_path: Path):
    ids = some_rows(8)
    bar = np.full(8, float(np.median(planted_losses(ids))))
    asked = [Batch(ids=ids, bar=bar, wants_fluency=True), Batch(ids=ids, wants_fluency=True)]
    for piece in (1, 3, 64):
        _, (dropped, whole) = fixed(tmp_path / f"{piece}.db", *asked, piece=piece)
        assert 0 < dropped.exact.sum() < 8
        assert whole.exact.all()
        np.testing.assert_array_equal(dropped.fluency, whole.fluency)


def planted_losses(ids):
    from hardprompt.testing import PlantedObjective

    return PlantedObjective(SPACE).measure(Batch(ids=ids)).loss


def test_a_ledger_that_was_asked_without_it_is_another_story(tmp_path: Path):
    from hardprompt.errors import HardpromptError

    ids = some_rows(2)
    fixed(tmp_path / "l.db", Batch(ids=ids))
    with pytest.raises(HardpromptError, match="other fluency"):
        fixed(tmp_path / "l.db", Batch(ids=ids, wants_fluency=True))


def weighed(scorer, space, weight, name="nll", **options):
    return Objective(scorer, GOLD, space, loss_named(name), fluency=weight, **options)


def some_model(kind, make_model, masked):
    return masked(kind)[2] if kind in MASKED else make_model(kind)[1]


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert", "roberta"])
def test_what_is_read_from_a_token_has_the_gradient_of_finite_differences(make_model, masked, kind):
    model = some_model(kind, make_model, masked)
    _, space = build(model, "{prompt:2} about {text} so it is {prompt:3} {label}")
    rng = np.random.default_rng(0)
    ids = rng.choice(space.tokens, size=(3, space.length))
    ids[1, 1], ids[2, 1:] = EMPTY, EMPTY
    points = model.embeddings[np.maximum(ids, 0)]
    told, slopes, gains = model.prompt_gradient(ids, points, space.tokens)
    np.testing.assert_allclose(told, model.prompt_log_probs(ids), atol=TOLERANCE)
    assert not slopes[ids == EMPTY].any()
    direction = rng.normal(size=points.shape).astype(np.float32)
    step = 1e-2 / np.linalg.norm(direction, axis=(1, 2))[:, None, None]
    ahead, behind = (
        model.prompt_gradient(ids, points + sign * step * direction, space.tokens)[0]
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * step[:, 0, 0])
    found = (slopes * direction).sum(axis=(1, 2))
    # float32 values differ in the seventh digit, divided by a step of 1e-2: a few per cent.
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02)
    # What each token brings in its place: those that stand there bring the whole.
    for row, brought, whole in zip(ids, gains, told, strict=True):
        places = np.flatnonzero(row != EMPTY)
        own = brought[places, np.searchsorted(space.tokens, row[places])]
        assert own.sum() == pytest.approx(whole, abs=TOLERANCE)
        assert not brought[row == EMPTY].any()


def test_the_slope_of_a_last_token_is_its_exact_change(make_model):
    """Nothing is read from it, and GPT-2 writes with the embeddings that it reads."""
    _, model = make_model("gpt2")
    _, space = build(model, TEMPLATES[0])
    row = np.random.default_rng(0).choice(space.tokens, size=(1, space.length))
    fluency = Fluency(model, space)
    _, gradient = fluency.gradient(row, model.embeddings[row])
    swapped = np.repeat(row, len(space.tokens), axis=0)
    swapped[:, -1] = space.tokens
    exact = fluency.of(swapped)
    slope = space.slope(gradient[0])[-1]
    assert exact.std() > 0.1
    np.testing.assert_allclose(slope - slope.mean(), exact - exact.mean(), atol=0.01)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_the_weighed_fluency_is_in_every_loss(make_model, masked, kind):
    scorer, space = build(some_model(kind, make_model, masked), TEMPLATES[0])
    plain, heavy = (weighed(scorer, space, weight) for weight in (0.0, 0.3))
    rng = np.random.default_rng(0)
    ids = rng.choice(space.tokens, size=(6, space.length))
    ids[5, 2:] = EMPTY
    added = -0.3 * scorer.model.prompt_log_probs(ids)
    np.testing.assert_allclose(heavy.added(ids), added, atol=TOLERANCE)
    assert not plain.added(ids).any()
    for change in ({}, {"wants_gradient": True}, {"examples": np.array([0, 3])}):
        batch = Batch(ids=ids, wants_fluency=True, **change)
        expected = plain.measure(batch).loss + added
        told = heavy.measure(batch)
        np.testing.assert_allclose(told.loss, expected, atol=TOLERANCE)
        np.testing.assert_allclose(told.fluency, added / 0.3, atol=10 * TOLERANCE)


def test_points_are_read_as_they_are_and_likely_as_the_nearest_tokens(make_model):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    rng = np.random.default_rng(0)
    ids = rng.choice(space.tokens, size=(2, space.length))
    points = model.embeddings[ids] + rng.normal(0, 0.1, (2, space.length, 64))
    points = points.astype(np.float32)
    batch = Batch(embeds=points, wants_gradient=True)
    plain, heavy = (weighed(scorer, space, weight).measure(batch) for weight in (0.0, 0.3))
    near = space.nearest(points)[..., 0]
    told, _, _ = model.prompt_gradient(near, points, space.tokens)
    np.testing.assert_allclose(heavy.loss - plain.loss, -0.3 * told, atol=TOLERANCE)
    _, slope = Fluency(model, space).gradient(near, points)
    np.testing.assert_allclose(heavy.gradient - plain.gradient, 0.3 * slope, atol=1e-4)


@pytest.mark.parametrize("name", ["nll", "accuracy", "margin"])
def test_a_weight_changes_the_ranking_as_computed_by_hand_and_dropping_does_not(make_model, name):
    plain, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    ids = np.random.default_rng(0).choice(space.tokens, size=(40, space.length))
    by_hand = -np.array([causal_by_hand(plain, model.codec, row.tolist()) for row in ids])
    losses = weighed(scorer, space, 0.0, name, dropping=False).measure(Batch(ids=ids)).loss
    expected = losses + 0.2 * by_hand
    truth = weighed(scorer, space, 0.2, name, dropping=False).measure(Batch(ids=ids))
    np.testing.assert_allclose(truth.loss, expected, atol=TOLERANCE)
    order = np.argsort(expected, kind="stable")
    assert (truth.order() == order).all()
    assert (order[:5] != np.argsort(losses)[:5]).any()
    objective = weighed(scorer, space, 0.2, name)
    told = objective.measure(Batch(ids=ids, keep=5))
    assert (told.order()[:5] == order[:5]).all()
    bar = np.full(40, np.median(expected))
    told = objective.measure(Batch(ids=ids, bar=bar))
    kept = expected <= bar
    assert told.exact[kept].all()
    np.testing.assert_allclose(told.loss[kept], expected[kept], atol=TOLERANCE)
    if name != "margin":
        assert objective.pairs_saved > 0
        assert (told.loss[~told.exact] > bar[~told.exact]).all()


def test_a_race_weighs_it_as_well():
    surprises = np.random.default_rng(3).uniform(1, 9, size=len(RACED_SPACE.embeddings))
    scorer = Planted()
    scorer.model = SimpleNamespace(prompt_log_probs=lambda ids: -surprises[ids].mean(axis=1))

    def objective(**options):
        loss = loss_named("nll")
        return Objective(scorer, RACED_GOLD, RACED_SPACE, loss, fluency=0.2, **options)

    ids = rows(300)
    truth = objective(dropping=False).measure(Batch(ids=ids))
    told = objective(racing=np.random.default_rng(0)).measure(Batch(ids=ids, keep=10))
    best = truth.order()[:10]
    assert told.exact[best].sum() >= 8  # two of ten may be lost at the level of a look
    assert told.pairs_saved > 0.4 * told.pairs
    np.testing.assert_allclose(told.loss[told.exact], truth.loss[told.exact], atol=1e-12)
    bar = np.quantile(truth.loss, np.linspace(0.1, 0.6, 300))
    told = objective(racing=np.random.default_rng(0)).measure(Batch(ids=ids, bar=bar))
    np.testing.assert_array_equal(told.loss[~told.exact], bar[~told.exact])
    assert (truth.loss > bar)[~told.exact].mean() > 0.9


@pytest.mark.parametrize(
    ("asked", "n_labels", "weight"),
    [(None, 2, 0.01), (None, 4, 0.02), (None, 0, 0.01), (0.0, 4, 0.0), (0.5, 4, 0.5)],
)
def test_the_weight_left_open_grows_with_the_labels(asked, n_labels, weight):
    assert with_fluency(RunConfig(fluency=asked), n_labels).fluency == weight
