"""Attention in its own products against torch's."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from hardprompt.models import cascade
from hardprompt.models.cascade import Context

ROWS, HEADS, KV, DIM, SCALE = 6, 4, 2, 8, 0.3


def drawn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def usual(query, key, value, own):
    """(rows, w, heads, dim); `own` (rows, w, t) bool."""
    mask = own[:, None]
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=SCALE, enable_gqa=True
    )
    return out.transpose(1, 2)


def masks(t, n):
    """(n, t, t): what is read beside the token itself, at random."""
    return torch.rand(n, t, t) < 0.5 + torch.eye(t)


@pytest.mark.parametrize("n", [1, ROWS])
@pytest.mark.parametrize("w", [1, 5])
def test_products_are_torchs_attention(n, w):
    torch.manual_seed(0)
    query, key, value = drawn(ROWS, HEADS, w, DIM), drawn(ROWS, KV, w, DIM), drawn(ROWS, KV, w, DIM)
    own = masks(w, n)
    found = cascade._by_products(query, key, value, own, SCALE, causal=False)
    right = usual(query, key, value, own.expand(ROWS, -1, -1))
    torch.testing.assert_close(found, right, atol=1e-6, rtol=1e-6)
    causal = torch.ones(ROWS, w, w, dtype=torch.bool).tril()
    found = cascade._by_products(query, key, value, None, SCALE, causal=True)
    torch.testing.assert_close(found, usual(query, key, value, causal), atol=1e-6, rtol=1e-6)
    found = cascade._by_products(query, key, value, None, SCALE, causal=False)
    every = torch.ones_like(causal)
    torch.testing.assert_close(found, usual(query, key, value, every), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("n", [1, ROWS])
@pytest.mark.parametrize("w", [1, 2, 5])
@pytest.mark.parametrize("lengths", [(7, 7, 7), (3, 7, 5), (3, 5, 7)])
@pytest.mark.parametrize("run_cost", [0, 10**9])
def test_shared_keys_are_as_copies_of_them(monkeypatch, n, w, lengths, run_cost):
    monkeypatch.setattr(cascade, "RUN_COST", run_cost)
    monkeypatch.setattr(cascade, "LEAST_KEYS", 4)
    torch.manual_seed(0)
    x, t = 3, 7
    query, key, value = drawn(ROWS, HEADS, w, DIM), drawn(ROWS, KV, w, DIM), drawn(ROWS, KV, w, DIM)
    keys, values, own = drawn(x, KV, t, DIM), drawn(x, KV, t, DIM), masks(w, n)
    read = torch.arange(t) < torch.tensor(lengths)[:, None]
    bias = torch.zeros(x, t, dtype=torch.float64).masked_fill_(~read, float("-inf"))
    context = Context((keys,), (values,), np.array(lengths), None if read.all() else bias)
    found = cascade._attend(query, key, value, own, context, 0, SCALE)
    each = ROWS // x
    whole = torch.cat([keys.repeat_interleave(each, 0), key], 2)
    seen = read.repeat_interleave(each, 0)[:, None].expand(-1, w, -1)
    right = usual(
        query,
        whole,
        torch.cat([values.repeat_interleave(each, 0), value], 2),
        torch.cat([seen, own.expand(ROWS, -1, -1)], 2),
    )
    torch.testing.assert_close(found, right, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("lengths", "cost", "runs"), [
    ((3, 5, 7), 0, [(0, 1), (1, 2), (2, 3)]),
    ((3, 3, 7), 40, [(0, 2), (2, 3)]),
    ((3, 5, 7), 1000, [(0, 3)]),
    ((7, 3, 5), 0, [(0, 3)]),
])  # fmt: skip
def test_beginnings_of_unlike_lengths_are_cut_where_it_pays(monkeypatch, lengths, cost, runs):
    """At 8 bytes a score and 2 queries, 40 bytes are 2 keys, and two narrower rows save 8."""
    monkeypatch.setattr(cascade, "RUN_COST", cost)
    monkeypatch.setattr(cascade, "LEAST_KEYS", 1)
    part, bias = drawn(3, KV, 7, DIM), torch.zeros(3, 7, dtype=torch.float64)
    assert Context((part,), (part,), np.array(lengths), bias).runs(2) == runs


@pytest.mark.skipif(not cascade.HAS_BFLOAT16, reason="oneDNN has no bfloat16 on this CPU")
def test_bfloat16_takes_products_and_stays_near(monkeypatch):
    torch.manual_seed(0)
    parts = [drawn(ROWS, heads, 5, DIM).bfloat16() for heads in (HEADS, KV, KV)]
    own = masks(5, ROWS)
    right = usual(*(part.double() for part in parts), own)
    monkeypatch.setattr(cascade.functional, "scaled_dot_product_attention", None)
    found = cascade._by_rows(*parts, own, SCALE)
    torch.testing.assert_close(found.double(), right, atol=0.03, rtol=0.03)


def test_long_rows_keep_to_the_attention_that_needs_no_scores_in_memory(monkeypatch):
    monkeypatch.setattr(cascade, "HAS_BFLOAT16", True)
    query = torch.zeros(1, HEADS, 1, DIM, dtype=torch.bfloat16)
    for keys, by_products in ((cascade.MOST_KEYS, True), (cascade.MOST_KEYS + 1, False)):
        assert cascade._multiplied(query, torch.zeros(1, KV, keys, DIM)) is by_products
    assert not cascade._multiplied(query.float(), torch.zeros(1, KV, 1, DIM))
