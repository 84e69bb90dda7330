"""What a way of scoring must compute, and how fast this machine multiplies matrices.

A floating-point operation is an addition or a multiplication; norms, activation functions and the
softmax are not counted, and of attention only what a causal model may see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.peers import Examples
from hardprompt.models.linear import linear
from hardprompt.types import IntArray

ROWS = 2048  # of the matrices that the peak is measured on: a batch of so many tokens
SECONDS = 0.04  # on each shape of matrix


@dataclass(frozen=True)
class Sizes:
    """A model's matrices, in numbers of weights."""

    layers: int
    width: int
    keys: int  # of one layer, for keys and values
    rest: int  # of one layer, for queries, attention's output and the MLP
    vocabulary: int
    shapes: tuple[tuple[int, int], ...]  # (inputs, outputs) of one layer's matrices

    @classmethod
    def of(cls, model: Any) -> Sizes:
        """Counted on a transformers model with `hidden_size` and the like, GPT-2 or Llama."""
        config = model.config
        d = config.hidden_size
        heads = config.num_attention_heads
        keys = 2 * d * d * getattr(config, "num_key_value_heads", heads) // heads
        gated = hasattr(config, "intermediate_size")
        inner = config.intermediate_size if gated else 4 * d
        rest = 2 * d * d + (3 if gated else 2) * d * inner
        shapes = ((d, 3 * d), (d, d), (d, inner), (inner, d))
        return cls(config.num_hidden_layers, d, keys, rest, config.vocab_size, shapes)

    def forward(self, tokens: float, seen: float, logits: float) -> float:
        """FLOPs of so many tokens, (query, key) pairs a layer, and single logits."""
        layer = tokens * (self.keys + self.rest) + 2 * seen * self.width
        return 2 * (self.layers * layer + logits * self.width)


def causal(before: float, new: float) -> float:
    """(query, key) pairs of `new` tokens that follow `before` others."""
    return new * before + new * (new + 1) / 2


def of_padded(sizes: Sizes, examples: Examples, length: int) -> float:
    """FLOPs of one candidate in a padded batch of its examples, all logits."""
    rows, width = len(examples), max(_lengths(examples, length))
    tokens = rows * width
    return sizes.forward(tokens, rows * causal(0, width), tokens * sizes.vocabulary)


def of_pairs(sizes: Sizes, examples: Examples, length: int) -> float:
    """FLOPs of one candidate with each of its examples alone, all logits."""
    lengths = _lengths(examples, length)
    seen = sum(causal(0, n) for n in lengths)
    return sizes.forward(sum(lengths), seen, sum(lengths) * sizes.vocabulary)


def of_cached(sizes: Sizes, examples: Examples, length: int) -> float:
    """FLOPs of one candidate with what stands before it as a cache, all logits of the rest."""
    heads = [len(head) for head in examples.heads]
    new = [length + len(tail) for tail in examples.tails]
    seen = sum(causal(*pair) for pair in zip(heads, new, strict=True))
    return sizes.forward(sum(new), seen, sum(new) * sizes.vocabulary)


def least(sizes: Sizes, examples: Examples, ids: IntArray) -> float:
    """FLOPs of candidates `(C, P)` when nothing is computed twice and nothing that is not read.

    What stands before the prompts is known. Prompts that begin alike share their beginning (a
    trie), over all examples where nothing stands before them. The last layer is computed for the
    last token only, but for keys and values; of the logits only those of the label words.
    """
    count, length = ids.shape
    # Distinct beginnings of 1, 2, ... tokens: the nodes of the trie by depth.
    nodes = [len(np.unique(ids[:, : depth + 1], axis=0)) for depth in range(length)]
    heads, tails = ([len(part) for part in side] for side in (examples.heads, examples.tails))
    copies = [head for head in heads if head] or [0]
    tokens = seen = read = 0.0
    for head in copies:
        tokens += sum(nodes)
        seen += sum(n * (head + depth + 1) for depth, n in enumerate(nodes))
    for head, tail in zip(heads, tails, strict=True):
        tokens += count * tail
        seen += count * causal(head + length, tail)
        read += count * (head + length + tail)
    rows = count * len(examples)
    last = tokens * sizes.keys + rows * sizes.rest + 2 * read * sizes.width
    labels = rows * len(examples.labels) * sizes.width
    whole = tokens * (sizes.keys + sizes.rest) + 2 * seen * sizes.width
    return 2 * ((sizes.layers - 1) * whole + last + labels)


def least_gradient(sizes: Sizes, examples: Examples, ids: IntArray) -> float:
    """FLOPs of gradients of prompts `(C, P)`, one at a time: twice those of `least`."""
    return sum(2 * least(sizes, examples, row[None]) for row in ids)


def _lengths(examples: Examples, length: int) -> list[int]:
    pairs = zip(examples.heads, examples.tails, strict=True)
    return [len(head) + length + len(tail) for head, tail in pairs]


def peak(sizes: Sizes, dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """FLOP/s of the fastest of the model's own matrices, times a batch of tokens; by torch's own
    product or as our layers compute it, whichever is faster."""
    found = []
    for inputs, outputs in sizes.shapes:
        tokens = torch.randn(ROWS, inputs).to(dtype)
        weight = torch.randn(outputs, inputs).to(dtype)
        for product in (functional.linear, linear):
            product(tokens, weight, None)
            began, runs = clock(), 0
            while (spent := clock() - began) < SECONDS or not runs:
                product(tokens, weight, None)
                runs += 1
            found.append(2 * ROWS * inputs * outputs * runs / spent)
    return max(found)
