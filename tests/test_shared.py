"""What rows begin with is read once, and the scores are those of whole rows."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from hardprompt.errors import HardpromptError
from hardprompt.models import gelu
from hardprompt.models.causal import CausalModel
from hardprompt.models.choose import causal_model, unusual
from hardprompt.models.codec import Codec
from hardprompt.models.gelu import ROWS, FusedMLP, TanhGelu
from hardprompt.models.labels import LabelTrie
from hardprompt.models.linear import HAS_BFLOAT16, HAS_ONEDNN
from hardprompt.models.load import _info, load_model, screening_model
from hardprompt.models.reader import Reader
from hardprompt.models.shared import PARTS, ROOM, SharedCausalModel
from hardprompt.models.texts import Texts
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.plan import Row, ending
from hardprompt.scoring.scorer import WRITTEN
from hardprompt.scoring.walk import Extend, walk
from tests.conftest import FAMILIES

# float32 log-probabilities of sums of up to three tokens: rounding is about 1e-6.
TOLERANCE = 1e-5
LABELS = {
    "one token": ((7,), (9,)),
    "a word that begins another": ((7,), (7, 8), (5,)),
    "several": ((7, 8, 9), (7, 8, 5), (11, 4)),
}
TEXTS = [(21, 22, 23), (24, 25, 26, 27, 28, 29, 30), (31,), (32, 33, 34), (35, 36, 37, 38)] * 2
TEMPLATES = {
    "text first": [Row((text, (40, 41))) for text in TEXTS],
    "text first, then nothing": [Row((text, ())) for text in TEXTS],
    "prompt first": [Row(((2,), text)) for text in TEXTS],
    "nothing before the prompt": [Row(((), text)) for text in TEXTS],
    "around": [Row(((2,), text, (40,))) for text in TEXTS],
    "two behind": [Row((text, (40,), ())) for text in TEXTS],
    "unlike ends": [Row((text, (40 + i % 2,))) for i, text in enumerate(TEXTS)],
}


def prompts_for(rows, n, rng, width=3):
    """n prompts for each slot, a third of which begin alike."""
    slots = [rng.integers(50, 400, (n, width)) for _ in rows[0].segments[1:]]
    slots[0][: n // 3] = slots[0][0]
    slots[0][: n // 3, -1] = np.arange(50, 50 + n // 3)
    return slots


def scores(model, rows, labels, prompts, examples=None):
    examples = range(len(rows)) if examples is None else examples
    out = np.full((len(prompts[0]), len(rows), len(labels)), np.nan)
    for group in model.groups(rows, examples):
        out[:, group.examples] = normalise(model.label_log_probs(group, labels, prompts))
    return out


@pytest.fixture(scope="module")
def both(make_model):
    """`both(family)` -> the model as it shares beginnings, and as it reads whole rows."""
    return lambda family, **options: (
        make_model(family, **options)[1],
        make_model(family, plain=True)[1],
    )


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "gemma2"])
def test_scores_are_those_of_whole_rows(both, family, template, labels):
    shared, plain = both(family)
    assert isinstance(shared, SharedCausalModel)
    assert not isinstance(plain, SharedCausalModel)
    rows = TEMPLATES[template]
    prompts = prompts_for(rows, 12, np.random.default_rng(0))
    expected = scores(plain, rows, labels, prompts)
    assert np.abs(expected[0] - expected[-1]).max() > 0.1, "the model must react to the prompt"
    np.testing.assert_allclose(scores(shared, rows, labels, prompts), expected, atol=TOLERANCE)


@pytest.mark.parametrize(("tokens", "rows_at_once"), [(1, None), (50, None), (10**6, 3)])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_size_of_batches_changes_nothing(both, template, tokens, rows_at_once):
    shared, plain = both("llama", tokens=tokens, rows=rows_at_once)
    rows = TEMPLATES[template]
    prompts = prompts_for(rows, 7, np.random.default_rng(1))
    expected = scores(plain, rows, LABELS["several"], prompts)
    found = scores(shared, rows, LABELS["several"], prompts)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_gradients_are_those_of_whole_rows(both, family, template):
    shared, plain = both(family)
    rows, labels = TEMPLATES[template], LABELS["a word that begins another"]
    rng = np.random.default_rng(2)
    points = [shared.embeddings[ids] for ids in prompts_for(rows, 3, rng)]
    found = [total(model, rows, labels, points) for model in (shared, plain)]
    for got, expected in zip(*found, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def total(model, rows, labels, points):
    """Scores and summed gradients over all groups."""
    gold = np.arange(len(rows)) % len(labels)
    out, slopes = np.zeros((3, len(rows), len(labels))), [np.zeros_like(p) for p in points]
    for group in model.groups(rows, range(len(rows))):
        found, each = model.gradient(group, labels, gold[group.examples], points)
        out[:, group.examples] = normalise(found)
        slopes = [a + b for a, b in zip(slopes, each, strict=True)]
    return [out, *slopes]


@pytest.mark.parametrize("template", ["text first", "prompt first"])
def test_some_members_are_scored_as_all_are(both, template):
    shared, _ = both("llama")
    rows, labels = TEMPLATES[template], LABELS["one token"]
    prompts = prompts_for(rows, 6, np.random.default_rng(3))
    gold = np.zeros(len(rows), dtype=np.int64)
    points = [shared.embeddings[ids] for ids in prompts]
    for group in shared.groups(rows, range(len(rows))):
        some = np.arange(len(group))[::2]
        whole = shared.label_log_probs(group, labels, prompts)
        part = shared.label_log_probs(group, labels, prompts, some)
        np.testing.assert_allclose(normalise(part), normalise(whole[:, some]), atol=TOLERANCE)
        graded, _ = shared.gradient(group, labels, gold[group.examples], points, some)
        np.testing.assert_allclose(normalise(graded), normalise(part), atol=TOLERANCE)


def test_prompts_of_several_lengths_are_not_mistaken_for_each_other(both):
    shared, plain = both("gpt2")
    rows, labels = TEMPLATES["nothing before the prompt"], LABELS["one token"]
    for ids in ([[11], [12]], [[11, 12]]):  # the same bytes
        prompts = [np.array(ids)]
        expected = scores(plain, rows, labels, prompts)
        np.testing.assert_allclose(scores(shared, rows, labels, prompts), expected, atol=TOLERANCE)


def test_half_precision_leaves_the_rotary_frequencies_whole(both):
    shared, _ = both("llama")
    half = screening_model(shared)
    assert type(half) is type(shared)
    assert half.info.dtype == "bfloat16"
    assert {p.dtype for p in half._model.parameters()} == {torch.bfloat16}
    assert {b.dtype for b in half._model.buffers()} == {torch.float32}


@pytest.mark.parametrize(
    "changes",
    [
        {"logits_scaling": 1.03},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"attention_chunk_size": 64},
    ],
)
def test_what_short_rows_would_not_show_is_known_by_its_name(changes):
    assert unusual(SimpleNamespace(**changes))
    assert not unusual(SimpleNamespace(rope_parameters={"rope_type": "default"}, logit_scale=1))


@pytest.mark.parametrize(
    "template", ["text first", "prompt first", "around", "nothing before the prompt"]
)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_proposals_are_those_of_whole_rows(both, family, template):
    shared, plain = both(family)
    heads = [
        Row((*row.segments[:1], ())) for row in TEMPLATES[template] if len(row.segments[0]) < 4
    ]
    prompts = prompts_for(heads, 4, np.random.default_rng(4))
    for group in plain.groups(heads, range(len(heads))):
        found = shared.next_token_log_probs(group, prompts)
        np.testing.assert_allclose(
            found, plain.next_token_log_probs(group, prompts), atol=TOLERANCE
        )


def tokens_read(model, compute):
    """How many tokens the model reads in a call."""
    read = []
    layer = model._model.get_input_embeddings()
    handle = layer.register_forward_hook(lambda _, given, __: read.append(given[0].numel()))
    compute()
    handle.remove()
    return sum(read)


def test_no_token_of_a_beam_or_of_a_text_is_read_twice(both):
    shared, _ = both("llama")
    rows, labels = TEMPLATES["text first, then nothing"], LABELS["one token"]
    (group,) = shared.groups(rows, range(len(rows)))
    parent = np.full((60, 5), 99)
    parent[:, -1] = np.arange(100, 160)
    shared.label_log_probs(group, labels, [parent])  # reads the texts
    found = tokens_read(shared, lambda: shared.label_log_probs(group, labels, [parent]))
    assert found == len(rows) * (4 + 60)


def test_of_texts_that_are_not_kept_only_those_asked_for_are_read(both, monkeypatch):
    shared, _ = both("llama")
    rows, labels = TEMPLATES["text first, then nothing"], LABELS["one token"]
    (group,) = shared.groups(rows, range(len(rows)))
    prompts = [np.array([[99]])]
    whole = shared.label_log_probs(group, labels, prompts)
    shared._texts.clear()
    monkeypatch.setattr(shared, "_kept_bytes", 0)
    found = []
    short = int(group.first.argmin())

    def alone():
        found.append(shared.label_log_probs(group, labels, prompts, np.array([short])))

    assert tokens_read(shared, alone) == group.first[short] + 1
    np.testing.assert_allclose(
        normalise(found[0][:, 0]), normalise(whole[:, short]), atol=TOLERANCE
    )


@pytest.mark.parametrize("written", [False, True])
def test_texts_that_are_read_together_take_a_part_of_what_may_be_kept(both, monkeypatch, written):
    shared, plain = both("llama")
    rows = TEMPLATES["text first"]
    labels = LABELS["one token"]
    if written:
        rows, labels = [ending(row, (7,) * (1 + i % 3)) for i, row in enumerate(rows)], WRITTEN
    prompts = prompts_for(rows, 5, np.random.default_rng(3))
    expected = scores(plain, rows, labels, prompts)
    each = shared._reader.token_bytes
    monkeypatch.setattr(shared, "_kept_bytes", PARTS * 2 * (ROOM + 5) * each)
    found, read = Texts.read.__func__, []

    def counted(cls, *given):
        texts = found(cls, *given)
        read.append(texts.n_bytes)
        return texts

    monkeypatch.setattr(Texts, "read", classmethod(counted))
    np.testing.assert_allclose(scores(shared, rows, labels, prompts), expected, atol=TOLERANCE)
    assert len(read) > 1
    assert max(read) <= 2 * (ROOM + 5) * each < len(rows) * ROOM * each


def test_where_memory_ends_sooner_less_is_kept_and_all_goes_on(both, monkeypatch):
    shared, plain = both("llama")
    rows, labels = TEMPLATES["text first"], LABELS["several"]
    prompts = prompts_for(rows, 5, np.random.default_rng(3))
    expected = scores(plain, rows, labels, prompts)
    groups = [*shared.groups(rows[:5], range(5)), *shared.groups(rows[5:], range(5))]
    found, read = Texts.read.__func__, []

    def short(cls, *given):
        read.append(len(given[-1]))
        if len(read) == 2:
            _fail()
        return found(cls, *given)

    monkeypatch.setattr(Texts, "read", classmethod(short))
    told = [normalise(shared.label_log_probs(group, labels, prompts)) for group in groups]
    for group, got, first in zip(groups, told, (0, 5), strict=True):
        np.testing.assert_allclose(got, expected[:, first + group.examples], atol=TOLERANCE)
    assert read == [5, 5, 5]
    assert not shared._texts


@pytest.mark.parametrize("family", ["gemma2", "bloom", "mistral"])
def test_other_attention_is_read_row_by_row(tokenizer, family):
    """Soft caps, biases by distance, and sliding windows."""
    size = {"vocab_size": len(tokenizer), "hidden_size": 64, "bos_token_id": 0, "eos_token_id": 0}
    wide = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = {
        "gemma2": lambda: transformers.Gemma2Config(
            **size, **wide, intermediate_size=96, head_dim=16, sliding_window=8
        ),
        "bloom": lambda: transformers.BloomConfig(**size, n_layer=2, n_head=4),
        "mistral": lambda: transformers.MistralConfig(
            **size, **wide, intermediate_size=96, sliding_window=4
        ),
    }[family]()
    codec = Codec(tokenizer)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        weight.data.mul_(4 if weight.ndim == 2 else 1)
    info = _info(family, model, tokenizer)
    rows, labels = TEMPLATES["text first"], LABELS["several"]
    prompts = prompts_for(rows, 3, np.random.default_rng(5))
    expected = scores(CausalModel(model, codec, info, Batcher(2048)), rows, labels, prompts)
    chosen = causal_model(model, codec, info, Batcher(2048))
    assert not isinstance(chosen, SharedCausalModel)
    np.testing.assert_allclose(scores(chosen, rows, labels, prompts), expected, atol=TOLERANCE)


@pytest.mark.parametrize("family", ["gemma2", "gptj"])
def test_models_without_fast_attention_are_loaded_with_their_own(tokenizer, tmp_path, family):
    common = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0}
    config = {
        "gemma2": lambda: transformers.Gemma2Config(
            **common, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, intermediate_size=96, head_dim=16,
        ),
        "gptj": lambda: transformers.GPTJConfig(
            **common, n_embd=64, n_layer=2, n_head=4, rotary_dim=8, n_positions=64
        ),
    }[family]()  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    rows, labels = TEMPLATES["text first"], LABELS["one token"]
    found = scores(model, rows, labels, prompts_for(rows, 3, np.random.default_rng(7)))
    assert np.isfinite(found).all()


def test_a_walk_scores_every_row_once_behind_its_own_beginning():
    rng = np.random.default_rng(0)
    kinds = ((0, 3), (1, 3), (40, 2), (200, 3), (64, 1000))
    for (n, tokens), dear in itertools.product(kinds, (0.0, 2.0, 50.0)):
        tails = rng.integers(0, tokens, (n, 5))
        path, scored, cost = np.full(5, -1), [], 0.0
        for step in walk(tails, dear):
            if isinstance(step, Extend):
                path[step.depth : step.depth + len(step.tokens)] = step.tokens
                cost += dear + len(step.tokens)
            else:
                assert (tails[step.rows, : step.depth] == path[: step.depth]).all()
                assert step.depth < 5
                scored += step.rows.tolist()
                cost += dear + (5 - step.depth) * len(step.rows)
        assert sorted(scored) == list(range(n))
        assert cost <= dear + 5 * n


def test_a_walk_makes_a_batch_of_its_own_where_that_saves_more_than_it_costs():
    swaps = np.where(np.eye(5, dtype=bool)[np.arange(40) % 5], 9 + np.arange(40)[:, None], 1)
    steps = list(walk(swaps, 1.0))
    assert [step.depth for step in steps] == [0, 4, 3, 2, 1, 0]  # the parent, then each place
    assert steps[0].tokens.tolist() == [1, 1, 1, 1]
    assert [len(step.rows) for step in steps[1:]] == [8] * 5
    # 217 tokens' worth read whole, 226 by all places; 214 where the last three are read together.
    assert [(step.depth, len(getattr(step, "rows", ""))) for step in walk(swaps, 17.0)] == [
        (0, 0), (2, 24), (1, 8), (0, 8),
    ]  # fmt: skip
    assert [step.depth for step in walk(swaps, 100.0)] == [0]
    beam = np.stack([np.append([1, 2, 3, 4], token) for token in range(40)])
    assert [step.depth for step in walk(beam, 50.0)] == [0, 4]
    two = np.concatenate([beam, beam + 1])
    assert [step.depth for step in walk(two, 50.0)] == [0, 4, 0, 4]


def test_a_walk_takes_prompts_of_thousands_of_tokens():
    tails = np.zeros((3, 5000), dtype=np.int64)
    tails[:, -2:] = [[1, 1], [1, 2], [2, 2]]
    steps = [(step.depth, len(getattr(step, "rows", ""))) for step in walk(tails, 0.0)]
    assert steps == [(0, 0), (4999, 2), (4998, 1)]


def test_label_words_share_what_they_begin_with():
    trie = LabelTrie.of(((1, 2, 3), (1, 2, 4), (1,), (5, 6)))
    assert trie.tokens == (1, 5, 2)
    assert trie.depths == (1, 1, 2)
    assert trie.words[0] == ((0, 1), (1, 2), (3, 3))
    own = trie.mask(2, torch.tensor([2, 1]), torch.device("cpu"))
    assert own[0, 4].tolist() == [True, True, True, False, True]
    assert own[1, 4].tolist() == [True, False, True, False, True]


def test_tiles_that_run_out_of_memory_are_cut_and_none_is_done_twice():
    for limit in (1, 5, 30, 10**6):
        batcher, done = Batcher(tokens=10**4), np.zeros((17, 13), dtype=int)

        def run(low, high, start, stop, limit=limit, done=done):
            if (high - low) * (stop - start) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            done[low:high, start:stop] += 1

        list(batcher.tiles(17, 13, 1, run))
        assert (done == 1).all()
    with pytest.raises(HardpromptError, match="out of memory with a single row"):
        list(batcher.tiles(2, 2, 1, lambda *tile: _fail()))


@pytest.mark.parametrize("n", [1, 3, 40])
def test_tiles_hold_few_texts_where_many_prompts_fill_them(n):
    done = np.zeros((n, 32), dtype=int)

    def run(low, high, start, stop):
        done[low:high, start:stop] += 1
        return stop - start

    widths = [width for _, width in Batcher(tokens=400).tiles(n, 32, 5, run, fewest=8)]
    assert (done == 1).all()
    assert widths[0] == {1: 32, 3: 26, 40: 8}[n]


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-6), (torch.bfloat16, 0.04)])
def test_the_fast_gelu_is_the_tanh_approximation(dtype, atol):
    x = torch.linspace(-12, 12, 3 * (ROWS + 7) * 5).view(3, -1, 5).to(dtype)
    found = TanhGelu()(x)
    right = torch.nn.functional.gelu(x.double(), approximate="tanh")
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), right, atol=atol, rtol=0)
    leaf = x.clone().requires_grad_()
    TanhGelu()(leaf).sum().backward()
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 5e-6), (torch.bfloat16, 0.04)])
def test_a_layer_and_its_gelu_in_one_step_are_both(dtype, atol):
    """In float32 oneDNN sums in another order than addmm: some units of the last place of 5."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_embd=8)
    plain = GPT2MLP(24, config).to(dtype).eval()
    for weight in plain.parameters():
        weight.data.normal_()
    fused, x = FusedMLP(plain), torch.randn(3, 5, 8).to(dtype)
    assert fused.state_dict().keys() == plain.state_dict().keys()
    inputs = [part.double() for part in (x, plain.c_fc.weight, plain.c_fc.bias)]
    states, weight, bias = inputs
    active = torch.nn.functional.gelu(states @ weight + bias, approximate="tanh")
    right = active @ plain.c_proj.weight.double() + plain.c_proj.bias.double()
    with torch.no_grad():
        assert fused._plain(x) == (HAS_ONEDNN if dtype == torch.float32 else HAS_BFLOAT16)
        torch.testing.assert_close(fused(x).double(), right, atol=atol, rtol=0.02)
    tracked = fused(x)
    tracked.sum().backward()
    torch.testing.assert_close(tracked.double(), right, atol=atol, rtol=0.02)
    assert torch.isfinite(plain.c_fc.weight.grad).all()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_precision_that_onednn_lacks_takes_the_layers(monkeypatch, dtype):
    monkeypatch.setattr(gelu, "HAS_BFLOAT16", False)
    torch.manual_seed(0)
    plain = GPT2MLP(24, transformers.GPT2Config(n_embd=8)).eval()
    fused, x = FusedMLP(plain), torch.randn(3, 5, 8)
    expected = plain(x)
    found = fused.to(dtype)(x.to(dtype))
    assert not fused._plain(x.to(dtype))
    torch.testing.assert_close(found.float(), expected, atol=1e-3, rtol=0.02)


def test_gpt2_is_usable_in_float16_on_a_cpu(make_model, tokenizer, tmp_path):
    raw, _ = make_model("gpt2")
    raw.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    half, whole = (
        load_model(str(tmp_path), device="cpu", dtype=dtype) for dtype in ("float16", "float32")
    )
    rows, labels = TEMPLATES["around"], LABELS["several"]
    prompts = prompts_for(rows, 3, np.random.default_rng(8))
    expected = scores(whole, rows, labels, prompts)
    np.testing.assert_allclose(scores(half, rows, labels, prompts), expected, atol=0.1)


@torch.no_grad()
def test_a_layer_that_was_adapted_is_called_as_such():
    fused, x = FusedMLP(GPT2MLP(24, transformers.GPT2Config(n_embd=8)).eval()), torch.ones(1, 8)
    plain, own = fused(x), fused.c_fc
    handle = own.register_forward_hook(lambda layer, inputs, output: output + 1)
    assert not torch.equal(fused(x), plain)
    handle.remove()
    torch.testing.assert_close(fused(x), plain)
    fused.c_fc = torch.nn.Sequential(own, torch.nn.ReLU())
    assert not torch.equal(fused(x), plain)


@pytest.mark.parametrize("template", ["text first", "prompt first", "around"])
@pytest.mark.parametrize("limit", [30, 80, 300])
def test_short_memory_changes_no_score_and_repeats_none(both, monkeypatch, template, limit):
    """`limit` is how many tokens of a forward pass the memory holds."""
    shared, plain = both("llama")
    rows, labels = TEMPLATES[template], LABELS["several"]
    prompts = prompts_for(rows, 9, np.random.default_rng(6))
    expected = scores(plain, rows, labels, prompts)
    whole, done = Reader.label_scores, []

    def short(self, tokens, *rest):
        if tokens.shape[0] * tokens.shape[1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.append(len(tokens))
        return whole(self, tokens, *rest)

    monkeypatch.setattr(Reader, "label_scores", short)
    np.testing.assert_allclose(scores(shared, rows, labels, prompts), expected, atol=TOLERANCE)
    assert sum(done) == 9 * len(rows)
    limit = 1
    with pytest.raises(HardpromptError, match="out of memory with a single row"):
        scores(shared, rows, labels, prompts)


@pytest.mark.parametrize("template", ["around", "nothing before the prompt"])
@pytest.mark.parametrize("alike", [True, False])
def test_no_batch_has_more_rows_than_asked_for(both, monkeypatch, template, alike):
    """However many prompts begin alike, and their keys and values are read once."""
    shared, plain = both("llama", rows=4)
    rows, labels = TEMPLATES[template], LABELS["several"]
    prompts = prompts_for(rows, 12, np.random.default_rng(9))
    if alike:
        prompts[0][:] = prompts[0][0]
    expected = scores(plain, rows, labels, prompts)
    whole, done = Reader.label_scores, []

    def counted(self, tokens, *rest):
        done.append(len(tokens))
        return whole(self, tokens, *rest)

    monkeypatch.setattr(Reader, "label_scores", counted)
    np.testing.assert_allclose(scores(shared, rows, labels, prompts), expected, atol=TOLERANCE)
    assert max(done) <= 4
    assert sum(done) == 12 * len(rows)


@pytest.mark.parametrize("template", ["prompt first", "around"])
def test_no_more_heads_are_held_than_there_is_room_for(both, monkeypatch, template):
    shared, plain = both("llama")
    rows, labels = TEMPLATES[template], LABELS["several"]
    prompts = prompts_for(rows, 9, np.random.default_rng(10))
    expected = scores(plain, rows, labels, prompts)
    room, held = 20 * shared._reader.token_bytes, []  # of one to five heads
    monkeypatch.setattr(shared, "_kept_bytes", room)
    whole = SharedCausalModel._context

    def counted(self, heads):
        context = whole(self, heads)
        held.append(context.n_bytes)
        return context

    monkeypatch.setattr(SharedCausalModel, "_context", counted)
    np.testing.assert_allclose(scores(shared, rows, labels, prompts), expected, atol=TOLERANCE)
    assert 0 < max(held) <= room


def _fail():
    raise torch.OutOfMemoryError("CUDA out of memory")
