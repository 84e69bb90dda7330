"""The ways of other tools that `benchmarks.scoring` measures give what a plain forward gives."""

import sys

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from benchmarks import flops, peers
from tests.conftest import configs, shared

VOCABULARY, LENGTH = 300, 5
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configs(VOCABULARY)[request.param])
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.data.mul_(4)  # random models of the usual scale hardly react to a prompt
    return model.eval().requires_grad_(False)


def rows(lengths, generator):
    return tuple(torch.randint(1, VOCABULARY, (n,), generator=generator) for n in lengths)


@pytest.fixture(params=["text-first", "prefix-first"])
def examples(request):
    generator = torch.Generator().manual_seed(1)
    texts, none = rows((3, 11, 7, 4), generator), rows((0,) * 4, generator)
    heads, tails = (texts, none) if request.param == "text-first" else (none, texts)
    return peers.Examples(heads, tails, torch.tensor([17, 42]), torch.tensor([0, 1, 1, 0]))


@pytest.fixture
def prompts():
    return torch.randint(1, VOCABULARY, (7, LENGTH), generator=torch.Generator().manual_seed(2))


def by_hand(model, examples, prompts):
    found = torch.empty(len(prompts), len(examples), 2)
    for c, prompt in enumerate(prompts.tolist()):
        for n, (head, tail) in enumerate(zip(examples.heads, examples.tails, strict=True)):
            ids = torch.tensor([head.tolist() + prompt + tail.tolist()])
            with torch.no_grad():
                found[c, n] = model(ids).logits[0, -1, examples.labels].log_softmax(0)
    return found


def test_scores_are_those_of_a_plain_forward(model, examples, prompts):
    expected = by_hand(model, examples, prompts)
    assert (expected[0] - expected[1]).abs().max() > 0.1, "the model must react to the prompt"
    caches = peers.cache_heads(model, examples)
    for found in (
        peers.pair_by_pair(model, examples, prompts),
        peers.padded(model, examples, prompts),
        peers.padded(model, examples, prompts, rows=5),
        peers.nanogcg(model, examples, prompts),
        peers.nanogcg(model, examples, prompts, caches, width=3),
    ):
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def gradient_by_hand(model, examples, prompt):
    """`(P, dim)` with the prompt's embeddings as leaf, one example after the other."""
    embed = model.get_input_embeddings()
    leaf = embed(prompt).requires_grad_()
    loss = 0.0
    for head, tail, gold in zip(examples.heads, examples.tails, examples.gold, strict=True):
        points = torch.cat([embed(head), leaf, embed(tail)])[None]
        logits = model(inputs_embeds=points).logits[0, -1, examples.labels]
        loss = loss - logits.log_softmax(0)[gold] / len(examples)
    return torch.autograd.grad(loss, leaf)[0]


def test_gradients_are_those_of_a_plain_forward(model, examples, prompts):
    expected = gradient_by_hand(model, examples, prompts[0])
    table = model.get_input_embeddings().weight
    caches = peers.cache_heads(model, examples)
    for found in (
        peers.gradient_pair_by_pair(model, examples, prompts[0]),
        peers.autoprompt_gradient(model, examples, prompts[0]),
    ):
        torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=TOLERANCE)
    for found in (
        peers.nanogcg_gradient(model, examples, prompts[0]),
        peers.nanogcg_cached_gradient(model, examples, prompts[0], caches),
    ):
        torch.testing.assert_close(found, expected @ table.T, atol=TOLERANCE, rtol=TOLERANCE)
    assert not any(weight.requires_grad or weight.grad is not None for weight in model.parameters())


def test_flops_are_what_torch_counts(model, examples, prompts):
    sizes = flops.Sizes.of(model)
    model.set_attn_implementation("eager")  # of which torch counts every product
    with FlopCounterMode(display=False) as counter:
        peers.pair_by_pair(model, examples, prompts[:1])
    model.set_attn_implementation("sdpa")
    lengths = [len(examples.row(n, prompts[0])) for n in range(len(examples))]
    # Torch counts what a causal model may not see as well.
    unseen = sum(n * n - flops.causal(0, n) for n in lengths)
    expected = flops.of_pairs(sizes, examples, LENGTH) + sizes.forward(0, unseen, 0)
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-3)


def test_the_least_work_is_what_is_left_when_nothing_is_repeated():
    sizes = flops.Sizes(layers=2, width=1, keys=2, rest=10, vocabulary=100, shapes=())
    nothing, text = torch.zeros(0, dtype=torch.long), torch.arange(3)
    texts = peers.Examples((text, text), (nothing, nothing), torch.arange(2), torch.arange(2))
    ids = np.array([[5, 6], [5, 7], [8, 9]])  # five nodes, three of them read
    tokens, read, labels = 2 * 5, 2 * 3, 2 * 3 * 2
    first = tokens * 12 + 2 * 2 * (2 * 4 + 3 * 5)  # layer: all, with what they see
    last = tokens * 2 + read * 10 + 2 * read * 5
    assert flops.least(sizes, texts, ids) == 2 * (first + last + labels)


@pytest.fixture
def prototype(monkeypatch):
    """The module `methods` of the prototypes, which measured the demands."""
    monkeypatch.syspath_prepend(str(shared("prototypes/scoring")))
    for name in ("methods", "common"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import methods

    yield methods
    for name in ("methods", "common"):
        sys.modules.pop(name, None)


def test_the_prototypes_give_the_same(prototype, model, prompts):
    from common import Task

    generator = torch.Generator().manual_seed(1)
    texts, suffix = rows((3, 11, 7, 4), generator), rows((2,), generator)[0]
    labels, gold = torch.tensor([17, 42]), torch.tensor([0, 1, 1, 0])
    task = Task(list(texts), gold, suffix, labels)
    none = (texts[0][:0],) * 4
    layouts = {
        "text": peers.Examples(texts, (suffix,) * 4, labels, gold),
        "prefix": peers.Examples(none, tuple(torch.cat([t, suffix]) for t in texts), labels, gold),
    }
    for layout, examples in layouts.items():
        with torch.inference_mode():
            pairs = {
                "A0": (prototype.naive_single, peers.pair_by_pair(model, examples, prompts)),
                "A": (prototype.per_candidate, peers.padded(model, examples, prompts)),
                "B": (prototype.batched, peers.padded(model, examples, prompts, rows=128)),
                "G": (prototype.nanogcg_like, peers.nanogcg(model, examples, prompts)),
            }
            for method, found in pairs.values():
                expected = method(model, task, prompts, layout).log_softmax(-1)
                torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
