"""Masked models: batched scores equal those of one row at a time, wherever the mask stands."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.load import load_model
from hardprompt.objective import Objective
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.compile import Renderer
from hardprompt.scoring.losses import loss_named, normalise
from hardprompt.scoring.scorer import Scorer
from hardprompt.template import Template
from hardprompt.types import EMPTY, Batch
from tests.families import MASKED, save_masked
from tests.test_cli import call
from tests.test_scoring import GOLD, TEXTS, TOLERANCE, WORDS, build

TEMPLATES = (
    "{prompt} {text} {label}",
    "{text} {prompt} {label} .",
    "{prompt:2} {text} It was {label} , {prompt:2} !",
    "{label} {prompt} {text}",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("masked")
    return {kind: save_masked(kind, root / kind) for kind in MASKED}


@pytest.fixture(scope="module")
def plain(folders):
    """`plain[kind]`: model and tokenizer as transformers gives them."""
    return {
        kind: (
            AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager"),
            AutoTokenizer.from_pretrained(folder),
        )
        for kind, folder in folders.items()
    }


@pytest.fixture(scope="module")
def loaded(folders):
    return {kind: load_model(str(folder)) for kind, folder in folders.items()}


def by_hand(model, tokenizer, template, prompts, text, words):
    """Log-probabilities of the classes: a forward pass for each row and word, no batch."""

    def read(label):
        row = template.render(prompts, text, template.before_label + label)
        return tokenizer(row)["input_ids"]

    scores = []
    for word in words:
        one, whole = read(tokenizer.mask_token), read(word)
        start, m = one.index(tokenizer.mask_token_id), 1 + len(whole) - len(one)
        ids = torch.tensor([read(tokenizer.mask_token * m)])
        assert ids.shape[1] == len(whole)
        with torch.no_grad():
            log_probs = model(ids).logits[0, start : start + m].log_softmax(-1)
        scores.append(float(log_probs[torch.arange(m), whole[start : start + m]].sum()))
    return normalise(np.array(scores))


def some_ids(space, n, seed=0):
    return np.random.default_rng(seed).choice(space.tokens, size=(n, space.length))


def scored(scorer, ids):
    out = np.empty((len(ids), len(scorer.texts), len(scorer.labels)))
    scorer.by_ids(ids, scorer.within(None), out)
    return out


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("kind", MASKED)
def test_batched_scores_equal_the_naive_ones(loaded, plain, kind, source, words):
    scorer, space = build(loaded[kind], source, words)
    ids = some_ids(space, 3)
    assert scorer.survives(ids).all()
    out = scored(scorer, ids)
    assert np.abs(out[0] - out[1]).max() > 1e3 * TOLERANCE, "the model must react to the prompt"
    for row, scores in zip(ids, out, strict=True):
        prompts = scorer.renderer.prompt_texts(row, space.slots)
        np.testing.assert_allclose(scorer.by_text(prompts), scores, atol=TOLERANCE)
        for text, got in zip(TEXTS, scores, strict=True):
            expected = by_hand(*plain[kind], scorer.renderer.template, prompts, text, words)
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("size", [(1, None), (60, None), (10**6, None), (10**6, 3)])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_batch_size_and_padding_change_nothing(loaded, kind, size):
    model = loaded[kind]
    # Seven lengths within a tenth of each other: they share a batch, and are padded.
    texts = [" ".join(["it was a good film and"] * 8 + ["so"] * i) for i in range(7)]
    scorer, space = build(model, TEMPLATES[0])
    scorer = Scorer(model, scorer.renderer, texts, scorer.labels, space.slots, scorer._probes)
    assert any(group.spread for group in scorer.groups)
    ids = some_ids(space, 4)
    one_by_one = np.stack(
        [
            scored(
                Scorer(model, scorer.renderer, [text], scorer.labels, space.slots, scorer._probes),
                ids,
            )[:, 0]
            for text in texts
        ],
        axis=1,
    )
    before = model._batcher
    model._batcher = Batcher(*size)
    np.testing.assert_allclose(scored(scorer, ids), one_by_one, atol=TOLERANCE)
    model._batcher = before


@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_gradients_equal_finite_differences(loaded, kind, source):
    scorer, space = build(loaded[kind], source)
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    points = loaded[kind].embeddings[some_ids(space, 1)]
    told = objective.measure(Batch(embeds=points, wants_gradient=True))
    direction = np.random.default_rng(0).normal(size=points.shape).astype(np.float32)
    step = 1e-2 / np.linalg.norm(direction)
    ahead, behind = (
        objective.measure(Batch(embeds=points + sign * step * direction)).loss[0]
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * step)
    # float32 losses differ in the seventh digit, divided by a step of 1e-2: a few per cent.
    assert float((told.gradient * direction).sum()) == pytest.approx(expected, rel=0.05, abs=0.02)


@pytest.mark.parametrize("kind", MASKED)
def test_ids_and_their_embeddings_score_the_same(loaded, kind):
    scorer, space = build(loaded[kind], TEMPLATES[2])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    ids = some_ids(space, 2)
    by_ids = objective.measure(Batch(ids=ids))
    points = loaded[kind].embeddings[ids]
    by_points = objective.measure(Batch(embeds=points, wants_gradient=True))
    np.testing.assert_allclose(by_points.loss, by_ids.loss, atol=TOLERANCE)


@pytest.mark.parametrize("source", TEMPLATES[:2])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_proposals_are_the_likeliest_at_a_mask_after_the_prompt(loaded, plain, kind, source):
    scorer, space = build(loaded[kind], source)
    row = np.full((1, space.length), EMPTY)
    row[0, :2] = space.tokens[[7, 9]]
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    told = objective.measure(Batch(ids=row, wants_proposals=5))
    model, tokenizer = plain[kind]
    (prompt,) = scorer.renderer.prompt_texts(row[0], space.slots)
    lengths = [scorer.rows[i].length for i in range(len(TEXTS))]
    commonest = max(lengths, key=lengths.count)
    found = []
    for text, length in zip(TEXTS, lengths, strict=True):
        if length != commonest:
            continue
        written = scorer.renderer.write([f"{prompt} {tokenizer.mask_token}"], text)
        ids = tokenizer(written)["input_ids"]
        first = ids.index(tokenizer.mask_token_id)
        with torch.no_grad():
            found.append(model(torch.tensor([ids])).logits[0, first].log_softmax(-1).numpy())
    mean = np.mean(found, axis=0)[space.tokens]
    assert told.proposals.ids[0].tolist() == space.tokens[np.argsort(-mean)[:5]].tolist()
    np.testing.assert_allclose(told.proposals.log_probs[0], np.sort(mean)[::-1][:5], atol=1e-5)


def test_rows_that_hold_the_masks_own_name_are_scored_at_the_labels(loaded, plain):
    scorer, space = build(loaded["bert"], "{text} {prompt} {label} .")
    text = "the [MASK] was good"
    own = Scorer(scorer.model, scorer.renderer, [text], scorer.labels, space.slots, scorer._probes)
    ids = some_ids(space, 1)
    (prompt,) = scorer.renderer.prompt_texts(ids[0], space.slots)
    model, tokenizer = plain["bert"]
    row = torch.tensor([tokenizer(scorer.renderer.write([prompt], text))["input_ids"]])
    last = (row[0] == tokenizer.mask_token_id).nonzero()[-1, 0]
    with torch.no_grad():
        logits = model(row).logits[0, last]
    expected = normalise(logits[[label[0] for label in scorer.labels]].double().numpy())
    np.testing.assert_allclose(scored(own, ids)[0, 0], expected, atol=TOLERANCE)


def test_label_words_must_stand_apart_and_be_known(loaded):
    def labels(source, words):
        renderer = Renderer(loaded["bert"].codec, Template.parse(source))
        return renderer.label_ids(words, TEXTS[0], ["film"])

    assert [len(ids) for ids in labels("{prompt} {text} {label} .", ("not good", "great"))] == [
        2,
        1,
    ]
    with pytest.raises(HardpromptError, match="melts into the text"):
        labels("{prompt} {text}{label}s", ("good", "great"))
    with pytest.raises(HardpromptError, match="'中' has letters that the tokenizer does not know"):
        labels("{prompt} {text} {label}", ("中", "great"))
    with pytest.raises(UsageError, match="label words must differ, got Great, great"):
        labels("{prompt} {text} {label}", ("Great", "great"))  # lower case to this tokenizer


def test_text_after_the_label_is_for_masked_models(loaded, make_model):
    _, causal = make_model("gpt2")
    for source in ("{label} {prompt} {text}", "{prompt} {text} It was {label} ."):
        template = Template.parse(source)
        assert Renderer(loaded["bert"].codec, template).write(["so"], "T").count("[MASK]") == 1
        with pytest.raises(UsageError, match="must come last: a causal model reads"):
            Renderer(causal.codec, template)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_search_runs_from_end_to_end(folders, task_folder, tmp_path, kind):
    result = call(
        "search", "--task", task_folder, "--model", folders[kind], "--len", 2, "--budget", 20,
        "--template", "{prompt} {text} It was {label} .", "--output-dir", tmp_path, "--json",
    )  # fmt: skip
    results = json.loads(result.stdout)
    assert results["model"]["family"] == kind
    assert results["best"][0]["dev"] is not None
    assert results["best"][0]["fluency"] < 0


def test_models_without_their_head_are_refused(folders, tmp_path):
    from transformers import BertConfig, BertModel, ElectraConfig, ElectraForPreTraining

    width = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
    for model in (
        BertModel(BertConfig(**width)),
        ElectraForPreTraining(ElectraConfig(**width)),
    ):
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(folders["bert"]).save_pretrained(folder)
        with pytest.raises(HardpromptError, match="is no whole masked language model"):
            load_model(str(folder))
