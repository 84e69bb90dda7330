"""Texts to be written, as the ends of rows: every way of scoring gives what the model says."""

import numpy as np
import pytest
import torch

from hardprompt.models.shared import SharedCausalModel
from hardprompt.scoring.plan import Row
from tests.conftest import FAMILIES

# float32 means of a few log-probabilities: rounding is about 1e-6.
TOLERANCE = 1e-5
NONE = ((),)  # in the place of label words: one column
TEXTS = [(21, 22, 23), (24, 25, 26, 27, 28, 29, 30), (31,), (32, 33, 34), (35, 36, 37, 38)] * 2
ENDS = [(60, 61, 62), (63,), (64, 65, 66, 67, 68, 69), (70, 71), (72, 73, 74, 75)] * 2
TEMPLATES = {
    "text first": lambda text: (text, ()),
    "text first, then words": lambda text: (text, (40, 41)),
    "prompt first": lambda text: ((2,), text),
    "nothing before the prompt": lambda text: ((), (*text, 40)),
    "around": lambda text: ((2,), text, (40,)),
    "around, then nothing": lambda text: ((2,), text, ()),
    "around one text, then nothing": lambda text: ((2,), tuple(range(200, 212)), ()),
}


def rows_of(template):
    found = []
    for text, end in zip(TEXTS, ENDS, strict=True):
        *heads, last = TEMPLATES[template](text)
        found.append(Row((*heads, last + end), target=len(end)))
    return found


def prompts_for(rows, n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(80, 400, (n, 3)) for _ in rows[0].segments[1:]]


def scores(model, rows, prompts):
    out = np.full((len(prompts[0]), len(rows)), np.nan)
    for group in model.groups(rows, range(len(rows))):
        out[:, group.examples] = model.label_log_probs(group, NONE, prompts)[..., 0]
    return out


def said(model, rows, prompts):
    """The same by one plain forward pass for each pair."""
    out = np.empty((len(prompts[0]), len(rows)))
    for c, e in np.ndindex(out.shape):
        ids = torch.tensor([rows[e].joined([slot[c].tolist() for slot in prompts])])
        with torch.no_grad():
            log_probs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        told = log_probs[torch.arange(len(log_probs)), ids[0, 1:]]
        out[c, e] = told[-rows[e].target :].mean()
    return out


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_row_ends_in_scores_as_the_model_says(make_model, family, template):
    rows = rows_of(template)
    prompts = prompts_for(rows, 5)
    raw, model = make_model(family)
    expected = said(raw, rows, prompts)
    assert np.abs(expected[0] - expected[-1]).max() > 0.05, "the model must react to the prompt"
    np.testing.assert_allclose(scores(model, rows, prompts), expected, atol=TOLERANCE)
    _, plain = make_model(family, plain=True)
    assert not isinstance(plain, SharedCausalModel)
    np.testing.assert_allclose(scores(plain, rows, prompts), expected, atol=TOLERANCE)


@pytest.mark.parametrize(("tokens", "rows_at_once"), [(1, None), (50, None), (10**6, 3)])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_size_of_batches_changes_nothing(make_model, template, tokens, rows_at_once):
    rows = rows_of(template)
    prompts = prompts_for(rows, 7)
    _, whole = make_model("llama")
    _, small = make_model("llama", tokens=tokens, rows=rows_at_once)
    expected = scores(whole, rows, prompts)
    np.testing.assert_allclose(scores(small, rows, prompts), expected, atol=TOLERANCE)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_gradients_are_those_of_whole_rows(make_model, family, template):
    rows = rows_of(template)
    found = []
    for plain in (False, True):
        _, model = make_model(family, plain=plain)
        points = [model.embeddings[ids] for ids in prompts_for(rows, 3)]
        out, slopes = np.zeros((3, len(rows))), [np.zeros_like(p) for p in points]
        for group in model.groups(rows, range(len(rows))):
            gold = np.zeros(len(group), dtype=np.int64)
            told, each = model.gradient(group, NONE, gold, points)
            out[:, group.examples] = told[..., 0]
            slopes = [a + b for a, b in zip(slopes, each, strict=True)]
        found.append([out, *slopes])
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        assert np.abs(expected).max() > 0


@pytest.mark.parametrize("template", ["text first", "prompt first"])
def test_some_members_are_scored_as_all_are(make_model, template):
    _, model = make_model("llama")
    rows = rows_of(template)
    prompts = prompts_for(rows, 4)
    for group in model.groups(rows, range(len(rows))):
        some = np.arange(len(group))[::2]
        whole = model.label_log_probs(group, NONE, prompts)
        part = model.label_log_probs(group, NONE, prompts, some)
        np.testing.assert_allclose(part, whole[:, some], atol=TOLERANCE)


def test_texts_that_go_on_alike_but_for_what_is_written_are_read_together(make_model):
    _, model = make_model("llama")
    rows = rows_of("text first")
    groups = model.groups(rows, range(len(rows)))
    assert all(group.first is not None for group in groups)
    assert len(groups) < len(rows)


@pytest.mark.parametrize("template", ["around, then nothing", "around one text, then nothing"])
def test_a_text_alone_is_scored_as_among_others(make_model, template):
    raw, model = make_model("llama")
    _, plain = make_model("llama", plain=True)
    rows = rows_of(template)[:1]
    prompts = prompts_for(rows, 5)
    np.testing.assert_allclose(
        scores(model, rows, prompts), said(raw, rows, prompts), atol=TOLERANCE
    )
    (group,) = model.groups(rows, [0])
    points = [model.embeddings[ids] for ids in prompts]
    gold = np.zeros(1, dtype=np.int64)
    _, found = model.gradient(group, NONE, gold, points)
    _, expected = plain.gradient(group, NONE, gold, points)
    for got, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())
        assert np.abs(right).max() > 0
