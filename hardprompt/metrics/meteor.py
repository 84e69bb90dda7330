"""METEOR without WordNet: words match exactly, then by their stems, never as synonyms.

Lavie & Agarwal (2007), with the parameters and the alignment of NLTK's `meteor_score`; it is that
function with an empty WordNet. Multiple references: the best score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hardprompt.metrics.stem import stem
from hardprompt.metrics.words import tokens
from hardprompt.types import FloatArray

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5  # weight of recall; shape and weight of the penalty
SIGNATURE = f"exact+stem|alpha:{ALPHA}|beta:{BETA}|gamma:{GAMMA}|tok:words|refs:best"

Pair = tuple[int, int]  # a word's place in the hypothesis, in the reference


def meteor(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
    """`(n,)`, 0 to 100. Even the same text has a penalty: 100 (1 - 0.5 / words ** 3)."""
    said = map(tokens, hypotheses)
    best = [
        max(_score(words, tokens(reference)) for reference in texts)
        for words, texts in zip(said, references, strict=True)
    ]
    return 100 * np.array(best)


def _score(hypothesis: list[str], reference: list[str]) -> float:
    pairs = _aligned(hypothesis, reference)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    penalty: float = GAMMA * (_chunks(pairs) / len(pairs)) ** BETA
    return mean * (1 - penalty)


def _aligned(hypothesis: list[str], reference: list[str]) -> list[Pair]:
    """Matched words, in the order of the hypothesis."""
    exact = _matched(dict(enumerate(hypothesis)), dict(enumerate(reference)))
    said, wanted = {i for i, _ in exact}, {j for _, j in exact}
    stems = _matched(
        {i: stem(word) for i, word in enumerate(hypothesis) if i not in said},
        {j: stem(word) for j, word in enumerate(reference) if j not in wanted},
    )
    return sorted(exact + stems)


def _matched(hypothesis: dict[int, str], reference: dict[int, str]) -> list[Pair]:
    """Each word, from the last one on, with the last place in the reference that is still free."""
    free: dict[str, list[int]] = defaultdict(list)
    for place, word in reference.items():
        free[word].append(place)
    return [(place, free[word].pop()) for place, word in reversed(hypothesis.items()) if free[word]]


def _chunks(pairs: list[Pair]) -> int:
    """Runs of matches that are neighbours in both texts."""
    follows = [(i + 1, j + 1) == after for (i, j), after in pairwise(pairs)]
    return len(pairs) - sum(follows)
