"""Batched scores equal those of one row at a time, for every family, template and batch size."""

from collections import Counter

import numpy as np
import pytest
import torch

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.codec import Codec
from hardprompt.objective import Objective
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.compile import Renderer, cut_texts
from hardprompt.scoring.losses import LOSSES, loss_named, normalise
from hardprompt.scoring.places import find_probes
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.template import Template
from hardprompt.types import EMPTY, Batch
from hardprompt.vocabulary import Vocabulary
from tests.conftest import FAMILIES

TEXTS = (
    "a fine film",
    "the food was cold and the waiter rude , never again",
    "it works",
    "so good that we went twice",
    "this is a longer text about nothing much in particular and it goes on for a while",
)
GOLD = np.array([1, 0, 1, 1, 0])
TEMPLATES = (
    "{prompt} {text} {label}",
    "{text} {prompt} {label}",
    "{prompt:2} about {text} so it is {prompt:3} {label}",
)
WORDS = {"one token": ("terrible", "great"), "several": ("not good", "great")}
# float32 log-probabilities of sums of up to two tokens: rounding is about 1e-6.
TOLERANCE = 1e-5


def build(model, source, words=("terrible", "great"), kind="words"):
    codec = model.codec
    vocabulary = Vocabulary.build(codec, len(model.embeddings), kind, label_words=words)
    template = Template.parse(source)
    slots = template.slots(template.fixed_length or 4)
    renderer = Renderer(codec, template)
    probes = (int(vocabulary.tokens[0]), int(vocabulary.tokens[-1]))
    filler = renderer.prompt_texts(np.full(sum(slots), probes[0]), slots)
    labels = renderer.label_ids(words, TEXTS[0], filler)
    space = SearchSpace(vocabulary.tokens, slots, model.embeddings, len(TEXTS), min_length=1)
    return Scorer(model, renderer, TEXTS, labels, slots, probes), space


def by_hand(model, codec, context, words):
    """Log-probabilities of the classes, one full forward pass for each row and word."""
    scores = []
    for word in words:
        start, full = codec.encode(context), codec.encode(f"{context} {word}")
        with torch.no_grad():
            logits = model(torch.tensor([full])).logits[0].float().log_softmax(-1)
        scores.append(sum(float(logits[i - 1, full[i]]) for i in range(len(start), len(full))))
    return normalise(np.array(scores))


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_scores_equal_the_naive_ones(make_model, family, source, words):
    plain, model = make_model(family)
    scorer, space = build(model, source, words)
    ids = space.random(np.random.default_rng(0), 3)
    ids = ids[(ids[:, [0, *np.cumsum(space.slots)[:-1]]] != EMPTY).all(axis=1)]
    whole = np.random.default_rng(1).choice(space.tokens, size=(2, space.length))
    ids = np.concatenate([whole, ids])
    out = np.empty((len(ids), len(TEXTS), 2))
    scorer.by_ids(ids, scorer.within(None), out)
    assert np.abs(out[0] - out[1]).max() > 0.1, "the model must react to the prompt"
    for row, scores in zip(ids, out, strict=True):
        prompts = scorer.renderer.prompt_texts(row, space.slots)
        np.testing.assert_allclose(scorer.by_text(prompts), scores, atol=TOLERANCE)
        for text, got in zip(TEXTS, scores, strict=True):
            context = scorer.renderer.template.render(prompts, text)
            expected = by_hand(plain, model.codec, context, words)
            np.testing.assert_allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("source", TEMPLATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_few_prompts_are_read_in_other_groups_with_the_same_scores(make_model, family, source):
    _, model = make_model(family)
    scorer, space = build(model, source)
    ids = np.random.default_rng(1).choice(space.tokens, size=(1, space.length))
    expected = np.empty((1, len(TEXTS), 2))
    scorer.by_ids(ids, scorer.within(None), expected)
    for examples in (None, np.array([0, len(TEXTS) - 1])):
        out = np.full(expected.shape, np.nan)
        scorer.by_ids(ids, scorer.within(examples, 1), out)
        read = slice(None) if examples is None else examples
        assert np.isnan(out).all(axis=(0, 2)).sum() == len(TEXTS) - len(expected[0, read])
        np.testing.assert_allclose(out[0, read], expected[0, read], atol=TOLERANCE)


def test_an_empty_slot_costs_no_more_than_the_examples_asked_for(make_model, monkeypatch):
    _, model = make_model("llama")
    scorer, space = build(model, "{prompt} {text} {label}")
    ids = np.full((1, space.length), EMPTY)
    examples = np.array([1, 2])
    parts = scorer.within(examples)
    out = np.full((1, len(TEXTS), 2), np.nan)
    read, rows_of = [], scorer.renderer.rows

    def rows(renderer, prompts, texts):
        read.extend(texts)
        return rows_of(prompts, texts)

    with monkeypatch.context() as patch:
        patch.setattr(type(scorer.renderer), "rows", rows)
        scorer.by_ids(ids, parts, out)
    assert sorted(read) == sorted(TEXTS[i] for i in examples)
    np.testing.assert_allclose(out[0, examples], scorer.by_text([""])[examples], atol=TOLERANCE)
    assert np.isnan(out[0, 0]).all()


@pytest.mark.parametrize(("tokens", "rows"), [(1, None), (40, None), (10**6, None), (10**6, 3)])
@pytest.mark.parametrize("source", TEMPLATES[:2])
def test_batch_size_changes_nothing(make_model, source, tokens, rows):
    results = []
    for size in ((2048, None), (tokens, rows)):
        _, model = make_model("llama", tokens=size[0], rows=size[1])
        scorer, space = build(model, source)
        ids = space.random(np.random.default_rng(0), 7)
        out = np.empty((7, len(TEXTS), 2))
        scorer.by_ids(ids, scorer.within(None), out)
        results.append(out)
    np.testing.assert_allclose(*results, atol=TOLERANCE)


class _Framed:
    """A tokenizer without a beginning token, padding on the left: neither may matter."""

    def __new__(cls, tokenizer, **changes):
        import copy

        from tokenizers import processors

        twin = copy.deepcopy(tokenizer)
        twin.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
        for name, value in changes.items():
            setattr(twin, name, value)
        return twin


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_beginning_token_and_with_any_padding_side(make_model, tokenizer, side):
    codec = Codec(_Framed(tokenizer, padding_side=side))
    assert codec.prefix == ()
    plain, model = make_model("llama", codec=codec)
    scorer, space = build(model, "{prompt} {text} {label}")
    row = space.tokens[[3, 5, 8, 13]]
    out = np.empty((1, len(TEXTS), 2))
    scorer.by_ids(row[None], scorer.within(None), out)
    prompts = scorer.renderer.prompt_texts(row, space.slots)
    context = scorer.renderer.template.render(prompts, TEXTS[1])
    expected = by_hand(plain, codec, context, ("terrible", "great"))
    np.testing.assert_allclose(out[0, 1], expected, atol=TOLERANCE)


@pytest.mark.parametrize("source", TEMPLATES)
def test_gradients_equal_finite_differences(make_model, source):
    _, model = make_model("llama")
    scorer, space = build(model, source)
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    rng = np.random.default_rng(0)
    points = model.embeddings[rng.choice(space.tokens, size=(1, space.length))].astype(np.float32)
    told = objective.measure(Batch(embeds=points, wants_gradient=True))
    direction = rng.normal(size=points.shape).astype(np.float32)
    step = 1e-2 / np.linalg.norm(direction)
    ahead, behind = (
        objective.measure(Batch(embeds=points + sign * step * direction)).loss[0]
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * step)
    # float32 losses differ in the seventh digit, divided by a step of 1e-2: a few per cent.
    assert float((told.gradient * direction).sum()) == pytest.approx(expected, rel=0.05, abs=0.02)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_prompt_with_an_empty_slot_has_no_gradient_and_the_others_keep_theirs(make_model, weight):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[2])
    objective = Objective(scorer, GOLD, space, loss_named("nll"), fluency=weight)
    ids = np.random.default_rng(1).choice(space.tokens, size=(3, space.length))
    ids[1, :2] = EMPTY
    told = objective.measure(Batch(ids=ids, wants_gradient=True))
    assert np.isnan(told.loss).tolist() == [False, True, False]
    assert np.isnan(told.gradient[1]).all()
    whole = objective.measure(Batch(ids=ids[[0, 2]], wants_gradient=True))
    np.testing.assert_allclose(told.gradient[[0, 2]], whole.gradient, atol=1e-6)


def test_gradient_of_ids_equals_that_of_their_embeddings(make_model):
    _, model = make_model("gpt2")
    scorer, space = build(model, TEMPLATES[1])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    ids = space.tokens[[[1, 2, 3, 4]]]
    some = np.array([0, 3])
    a = objective.measure(Batch(ids=ids, wants_gradient=True, examples=some))
    b = objective.measure(Batch(embeds=model.embeddings[ids], wants_gradient=True, examples=some))
    plain = objective.measure(Batch(ids=ids, examples=some))
    np.testing.assert_allclose(a.gradient, b.gradient, atol=1e-6)
    np.testing.assert_allclose([a.loss, b.loss], [plain.loss, plain.loss], atol=TOLERANCE)


@pytest.mark.parametrize("name", LOSSES)
def test_dropping_keeps_the_best(make_model, name):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    rows = np.random.default_rng(0).choice(space.tokens, size=(40, space.length))
    exact = Objective(scorer, GOLD, space, loss_named(name), dropping=False)
    dropping = Objective(scorer, GOLD, space, loss_named(name))
    truth = exact.measure(Batch(ids=rows))
    told = dropping.measure(Batch(ids=rows, keep=5))
    assert (told.order()[:5] == truth.order()[:5]).all()
    bar = np.full(40, np.median(truth.loss))
    told = dropping.measure(Batch(ids=rows, bar=bar))
    kept = truth.loss <= bar
    assert told.exact[kept].all()
    np.testing.assert_allclose(told.loss[kept], truth.loss[kept], atol=TOLERANCE)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_few_words_are_enough_to_find_the_slots(make_model, n):
    _, model = make_model("gpt2")
    words = Vocabulary.build(model.codec, len(model.embeddings)).tokens[:n]
    renderer = Renderer(model.codec, Template.parse("{prompt} {text} {label}"))
    first, second = find_probes(renderer, words, 1, TEXTS[0])
    assert first != second
    assert {first, second} <= set(words.tolist())
    with pytest.raises(UsageError, match="one token is no search"):
        find_probes(renderer, words[:1], 1, TEXTS[0])


def test_empty_prompts_are_scored_as_text(make_model):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    told = objective.measure(Batch(ids=np.full((1, 4), EMPTY)))
    expected = -scorer.by_text([""])[np.arange(len(GOLD)), GOLD].mean()
    assert told.loss[0] == pytest.approx(expected, abs=TOLERANCE)


def test_prompts_that_do_not_survive_are_nan(make_model, tokenizer):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    # Two pieces of one word: written out, they are read as the word.
    word = tokenizer("wonderful", add_special_tokens=False)["input_ids"]
    assert len(word) == 1
    pieces = [tokenizer.convert_tokens_to_ids(piece) for piece in ("Ġwonder", "ful")]
    assert None not in pieces
    ids = np.array([[*pieces, EMPTY, EMPTY], [space.tokens[0], EMPTY, EMPTY, EMPTY]])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    for batch in (Batch(ids=ids), Batch(ids=ids, wants_gradient=True)):
        told = objective.measure(batch)
        assert np.isnan(told.loss).tolist() == [True, False]
    # Tokens that nobody can write down still have neighbours: PEZ goes on from them.
    points = Batch(embeds=model.embeddings[ids[:1, :2]], wants_gradient=True)
    expected = objective.measure(points).gradient
    np.testing.assert_allclose(told.gradient[:1, :2], expected, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_points_are_measured_without_a_gradient_where_none_is_asked(make_model, weight):
    _, model = make_model("gpt2")
    scorer, space = build(model, TEMPLATES[2])
    objective = Objective(scorer, GOLD, space, loss_named("nll"), fluency=weight)
    points = model.embeddings[space.random(np.random.default_rng(0), 3)]
    for some in (None, np.array([0, 3])):
        asked = {"embeds": points, "examples": some, "wants_fluency": True}
        told = objective.measure(Batch(**asked))
        full = objective.measure(Batch(**asked, wants_gradient=True))
        assert told.gradient is None
        assert full.gradient is not None
        np.testing.assert_allclose(told.loss, full.loss, atol=TOLERANCE)
        np.testing.assert_allclose(told.fluency, full.fluency, atol=TOLERANCE)
        assert told.pairs == full.pairs


def test_a_gradient_and_proposals_may_be_asked_together(make_model):
    _, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    ids = space.random(np.random.default_rng(0), 2)
    told = objective.measure(Batch(ids=ids, wants_gradient=True, wants_proposals=4))
    assert told.gradient is not None
    alone = objective.measure(Batch(ids=ids, wants_proposals=4)).proposals
    np.testing.assert_array_equal(told.proposals.ids, alone.ids)


def test_proposals_are_the_likeliest_allowed_tokens(make_model):
    plain, model = make_model("llama")
    scorer, space = build(model, TEMPLATES[0])
    row = np.array([[space.tokens[7], space.tokens[9], EMPTY, EMPTY]])
    objective = Objective(scorer, GOLD, space, loss_named("nll"))
    told = objective.measure(Batch(ids=row, wants_proposals=5))
    ids = [*model.codec.prefix, *row[0, :2]]
    with torch.no_grad():
        log_probs = plain(torch.tensor([ids])).logits[0, -1].log_softmax(-1).numpy()
    best = space.tokens[np.argsort(-log_probs[space.tokens], kind="stable")[:5]]
    assert (told.proposals.ids[0] == best).all()


def test_proposals_for_an_empty_slot_follow_the_text(make_model):
    plain, model = make_model("llama")
    scorer, space = build(model, "{text} {prompt} {label}")
    row = np.full((1, space.length), EMPTY)
    told = Objective(scorer, GOLD, space, loss_named("nll")).measure(
        Batch(ids=row, wants_proposals=5)
    )
    heads = [row.segments[0] for row in scorer.rows]
    common = Counter(map(len, heads)).most_common(1)[0][0]
    with torch.no_grad():
        log_probs = [
            plain(torch.tensor([head])).logits[0, -1].log_softmax(-1).numpy()
            for head in heads
            if len(head) == common
        ]
    mean = np.mean(log_probs, axis=0)[space.tokens]
    assert (told.proposals.ids[0] == space.tokens[np.argsort(-mean, kind="stable")[:5]]).all()
    np.testing.assert_allclose(told.proposals.log_probs[0], np.sort(mean)[::-1][:5], atol=1e-5)


def test_long_texts_are_cut_at_their_end(make_model):
    _, model = make_model("llama")
    renderer = Renderer(model.codec, Template.parse("{prompt} {text} {label}"))
    long = "word after word after word " * 40
    texts, n = cut_texts(renderer, ["short", long], room=30, prompt=1)
    assert n == 1
    assert texts[0] == "short"
    assert long.startswith(texts[1])
    lengths = [len(ids) for ids in renderer.encode(["the"], texts)]
    assert 25 <= max(lengths) <= 30
    with pytest.raises(UsageError, match="no room for a text"):
        cut_texts(renderer, [long], room=20, prompt=40)


def test_memory_back_off_halves_and_keeps_what_is_finished():
    batcher, calls = Batcher(tokens=64), []

    def run(low, high):
        calls.append((low, high))
        if high - low > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(low, high))

    found = [i for *_, part in batcher.split(20, 1, run) for i in part]
    assert found == list(range(20))
    assert len(calls) == 20 // 5 + len([c for c in calls if c[1] - c[0] > 5])
    with pytest.raises(HardpromptError, match="out of memory with a single row"):
        list(
            batcher.split(
                1, 1, lambda low, high: (_ for _ in ()).throw(RuntimeError("out of memory"))
            )
        )
