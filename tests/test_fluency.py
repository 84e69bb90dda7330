"""How likely a model finds prompts: many at once as one by one, told, recorded and told again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hardprompt.models.codec import Codec
from hardprompt.models.load import load_model
from hardprompt.objective import Objective
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.fluency import Fluency
from hardprompt.scoring.losses import loss_named
from hardprompt.types import EMPTY, Batch
from tests.conftest import FAMILIES
from tests.families import MASKED, save_masked
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
    told = Fluency(model).of(ids)
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
