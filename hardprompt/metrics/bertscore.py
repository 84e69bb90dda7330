"""BERTScore (Zhang et al., 2020), of whatever vectors an encoder gives; its arithmetic only.

As the package bert-score: greedy cosine matching, special tokens can be matched but do not count,
no rescaling by a baseline. Multiple references: the best F1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log
from typing import Protocol

import numpy as np

from hardprompt.types import BoolArray, FloatArray, IntArray

CHUNK = 64  # rows whose vectors are held at once


@dataclass(frozen=True)
class Encoded:
    """A text as an encoder sees it."""

    ids: IntArray  # (tokens,)
    counts: BoolArray  # (tokens,), False for what the tokenizer puts around every text
    vectors: FloatArray  # (tokens, dim)


class Encoder(Protocol):
    """`hardprompt.models.encoder.load_encoder` gives one of any model; another one will do."""

    @property
    def signature(self) -> str: ...

    def tokens(self, texts: Sequence[str]) -> list[IntArray]:
        """The ids of each text, without running the model."""

    def encode(self, texts: Sequence[str]) -> list[Encoded]: ...


def bert_score(
    encoder: Encoder, idf: bool
) -> Callable[[Sequence[str], Sequence[Sequence[str]]], FloatArray]:
    """F1 by this encoder, `(n,)`, 0 to 100; `idf` weighs tokens by how few references have them."""

    def scores(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
        weigh = _rarity(encoder.tokens(list(chain(*references)))) if idf else np.ones_like
        values: list[float] = []
        for said, wanted in _chunks(hypotheses, references):
            texts = sorted({*said, *chain(*wanted)})
            encoded = dict(zip(texts, encoder.encode(texts), strict=True))
            values += [
                max(similarity(encoded[text], encoded[other], weigh) for other in others)
                for text, others in zip(said, wanted, strict=True)
            ]
        return 100 * np.array(values)

    return scores


def similarity(
    hypothesis: Encoded, reference: Encoded, weigh: Callable[[IntArray], FloatArray]
) -> float:
    """F1, 0 to 1; 0 where a text has no token that counts."""
    first = hypothesis.counts * weigh(hypothesis.ids)
    second = reference.counts * weigh(reference.ids)
    if not first.sum() or not second.sum():
        return 0.0
    cosines = _unit(hypothesis.vectors) @ _unit(reference.vectors).T
    precision = float(first @ cosines.max(axis=1) / first.sum())
    recall = float(second @ cosines.max(axis=0) / second.sum())
    return 2 * precision * recall / (precision + recall) if min(precision, recall) > 0 else 0.0


def _unit(vectors: FloatArray) -> FloatArray:
    lengths: FloatArray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def _rarity(references: list[IntArray]) -> Callable[[IntArray], FloatArray]:
    """log((N + 1) / (n + 1)) of a token in n of the N references, as bert-score smooths it."""
    seen = Counter(chain.from_iterable(set(ids.tolist()) for ids in references))
    return lambda ids: np.array([log((len(references) + 1) / (seen[i] + 1)) for i in ids.tolist()])


def _chunks(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> Iterator[tuple[Sequence[str], Sequence[Sequence[str]]]]:
    for start in range(0, len(hypotheses), CHUNK):
        yield hypotheses[start : start + CHUNK], references[start : start + CHUNK]
