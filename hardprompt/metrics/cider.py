"""CIDEr-D (Vedantam et al., 2015, section 5 and appendix), as `pycocoevalcap` computes "CIDEr".

That is the figure of the E2E tables: already times 10, so 10 is the best there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

from hardprompt.metrics.words import Ngram, ngrams, words
from hardprompt.types import FloatArray

ORDER, SIGMA, SCALE = 4, 6.0, 10.0
SIGNATURE = f"cider-d|n:{ORDER}|sigma:{SIGMA}|scale:{SCALE}|tok:words-only|idf:references"


@dataclass(frozen=True)
class Vectors:
    """A text as one TF-IDF vector of n-grams for each order."""

    weights: list[dict[Ngram, float]]
    norms: list[float]
    length: int


def cider_d(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
    """`(n,)`, 0 to 10: the mean over orders and references of the similarity to each.

    What is rare is what few rows have in their references, so that one row alone comes to 0.
    """
    wanted = [[_counted(text) for text in texts] for texts in references]
    rarity = _rarity(wanted)
    unseen = log(len(wanted))
    scores = []
    for hypothesis, texts in zip(hypotheses, wanted, strict=True):
        said = _vectors(_counted(hypothesis), rarity, unseen)
        near = [_similarity(said, _vectors(text, rarity, unseen)) for text in texts]
        scores.append(SCALE * sum(near) / len(near))
    return np.array(scores)


def _counted(text: str) -> list[Counter[Ngram]]:
    sequence = words(text)
    return [ngrams(sequence, order) for order in range(1, ORDER + 1)]


def _rarity(wanted: list[list[list[Counter[Ngram]]]]) -> dict[Ngram, float]:
    """log of the rows over those with the n-gram in any of their references."""
    rows: Counter[Ngram] = Counter()
    for texts in wanted:
        rows.update({ngram for text in texts for counts in text for ngram in counts})
    return {ngram: log(len(wanted) / count) for ngram, count in rows.items()}


def _vectors(text: list[Counter[Ngram]], rarity: dict[Ngram, float], unseen: float) -> Vectors:
    weights = [
        {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}
        for counts in text
    ]
    norms = [sqrt(sum(weight**2 for weight in order.values())) for order in weights]
    return Vectors(weights, norms, length=text[1].total())  # of bigrams, as pycocoevalcap has it


def _similarity(said: Vectors, wanted: Vectors) -> float:
    """Cosine with what is said too often clipped, less for another length; mean over orders."""
    cosines = 0.0
    for order in range(ORDER):
        norm = said.norms[order] * wanted.norms[order]
        if norm > 0:
            there = wanted.weights[order]
            both = [(a, there[g]) for g, a in said.weights[order].items() if g in there]
            cosines += sum(min(a, b) * b for a, b in both) / norm
    gap = said.length - wanted.length
    return exp(-(gap**2) / (2 * SIGMA**2)) * cosines / ORDER
