"""Rows read whole: what of them reaches the head, and beginnings that are read once."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from hardprompt.models import causal
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.plan import Row, pack_rows
from tests.conftest import FAMILIES

TOLERANCE = 1e-5
LABELS = ((7, 8, 9), (7, 8, 5), (11, 4))
LENGTHS = (1, 9, 30, 4)  # of the texts: a group of such spread is one of few prompts
HEADS = {
    "alike": [tuple(range(20, 40))] * 10,
    "unlike": [tuple(range(i, i + 20)) for i in range(10)],
}


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [tuple(rng.integers(20, 400, n).tolist()) for n in LENGTHS]


def group_of(texts, target=0):
    rows = [
        Row(((2,), text), target=target and 1 + number % 2) for number, text in enumerate(texts)
    ]
    return pack_rows(rows, list(range(len(rows))))


def places_read(model, compute):
    """The most places of a row whose logits are computed in a call, and what it returns."""
    seen = []
    head = model._model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _, __, logits: seen.append(logits.shape[1]))
    found = compute()
    handle.remove()
    return max(seen), found


def scored(model, group, prompts):
    return normalise(model.label_log_probs(group, LABELS, prompts))


def by_hand(raw, row, prompt):
    """Class log-probabilities of a row by one forward pass for each label word."""
    scores = []
    for label in LABELS:
        ids = torch.tensor([row.joined([prompt.tolist()]) + list(label)])
        with torch.no_grad():
            told = raw(input_ids=ids).logits[0, :-1].log_softmax(-1)
        scores.append(sum(float(told[i - len(label), t]) for i, t in enumerate(label)))
    return normalise(np.array(scores))


@pytest.mark.parametrize("family", FAMILIES)
def test_only_places_that_are_told_reach_the_head(make_model, texts, family):
    raw, model = make_model(family, plain=True)
    group, prompts = group_of(texts), [np.array([[50, 51], [60, 61]])]
    most, found = places_read(model, lambda: scored(model, group, prompts))
    assert group.spread > 20
    assert most == 3  # of the longest label word
    for c, e in np.ndindex(found.shape[:2]):
        expected = by_hand(raw, Row(((2,), texts[e])), prompts[0][c])
        np.testing.assert_allclose(found[c, e], expected, atol=TOLERANCE)


@pytest.mark.parametrize("target", [0, 1])
def test_gradients_and_words_need_no_more(make_model, texts, target):
    _, model = make_model("llama", plain=True)
    group, points = group_of(texts, target), [model.embeddings[np.array([[50, 51]])]]
    labels = ((),) if target else LABELS
    gold = np.zeros(len(group), dtype=np.int64)
    most, (_, slopes) = places_read(model, lambda: model.gradient(group, labels, gold, points))
    assert most == (2 if target else 3)
    assert np.abs(slopes[0]).max() > 0
    whole = pack_rows([Row((text,)) for text in texts], list(range(len(texts))))
    most, _ = places_read(model, lambda: list(model.word_log_probs(whole, np.array([5, 6]))))
    assert most == 1


def test_a_model_without_an_output_layer_of_its_own_is_scored_alike(make_model, texts, monkeypatch):
    _, model = make_model("llama", plain=True)
    group, prompts = group_of(texts), [np.array([[50, 51]])]
    expected = scored(model, group, prompts)
    monkeypatch.setattr(causal, "_head_reading", lambda *_: nullcontext())
    np.testing.assert_allclose(scored(model, group, prompts), expected, atol=TOLERANCE)
    model._keeps_logits = False
    np.testing.assert_allclose(scored(model, group, prompts), expected, atol=TOLERANCE)


@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_beginnings_fit_in_batches_and_are_read_once(make_model, heads):
    raw, model = make_model("llama", plain=True, tokens=100)
    rows = [Row((head, (40 + number,))) for number, head in enumerate(heads)]
    group, prompts, read = pack_rows(rows, list(range(len(rows)))), [np.array([[50, 51]])], []
    layer = model._model.get_input_embeddings()
    handle = layer.register_forward_hook(lambda _, given, __: read.append(given[0].shape))
    most, found = places_read(model, lambda: scored(model, group, prompts))
    handle.remove()
    assert most == 3
    beginnings = [n for n, width in read if width == 20]
    assert beginnings == ([1] if len(set(heads)) == 1 else [5, 5])
    for number, row in enumerate(rows):
        expected = by_hand(raw, row, prompts[0][0])
        np.testing.assert_allclose(found[0, number], expected, atol=TOLERANCE)


def test_beginnings_that_run_out_of_memory_are_halved(make_model, monkeypatch):
    _, model = make_model("llama", plain=True)
    rows = [Row((head, (40,))) for head in HEADS["unlike"]]
    group, prompts = pack_rows(rows, list(range(len(rows)))), [np.array([[50, 51]])]
    expected = scored(model, group, prompts)
    model._heads.clear()
    whole = type(model._model.base_model).forward

    def short(self, input_ids, **options):
        if input_ids.numel() > 60:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(model._model.base_model), "forward", short)
    np.testing.assert_allclose(scored(model, group, prompts), expected, atol=TOLERANCE)
