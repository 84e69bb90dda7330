"""NIST: n-grams weighed by how much they say (Doddington, 2002), as `mteval-v13a.pl` counts it.

With several references an n-gram may be matched in any of them, and the length is their mean, as
there; NLTK's `corpus_nist` takes one reference for each order instead and agrees for one reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log, log2

import numpy as np

from hardprompt.metrics.words import Ngram, ngrams, tokens
from hardprompt.types import FloatArray

ORDER = 5
STEEPNESS = log(2) / log(1.5) ** 2  # two thirds of the wanted length halve the figure
SIGNATURE = f"mteval-v13a|n:{ORDER}|tok:words|case:lower|info:references"


def stats(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
    """`(n, 12)`: information matched and n-grams said, of five orders each; words said and wanted.

    The information of an n-gram is that in the references of all rows.
    """
    wanted = [[_counted(tokens(text)) for text in texts] for texts in references]
    information = _information(wanted)
    rows = [
        _row(_counted(tokens(hypothesis)), texts, information)
        for hypothesis, texts in zip(hypotheses, wanted, strict=True)
    ]
    return np.array(rows)


def total(summed: FloatArray) -> FloatArray:
    """`(..., 12)` -> `(...)`, from 0 up to about 15."""
    matched, said = summed[..., :ORDER], summed[..., ORDER : 2 * ORDER]
    per_ngram = np.where(said > 0, matched / np.maximum(said, 1), 0.0).sum(axis=-1)
    words, length = summed[..., -2], summed[..., -1]
    there = (words > 0) & (length > 0)  # else nothing is matched, whatever the penalty
    ratio = np.where(there, words, 1.0) / np.where(there, length, 1.0)
    penalty = np.exp(-STEEPNESS * np.log(np.minimum(ratio, 1.0)) ** 2)
    figure: FloatArray = per_ngram * penalty
    return figure


def _counted(sequence: list[str]) -> list[Counter[Ngram]]:
    return [ngrams(sequence, order) for order in range(1, ORDER + 1)]


def _information(wanted: list[list[list[Counter[Ngram]]]]) -> dict[Ngram, float]:
    """log2 of how much rarer an n-gram is than its beginning (equation 2)."""
    seen: Counter[Ngram] = Counter()
    for texts in wanted:
        for text in texts:
            for counts in text:
                seen.update(counts)
            seen[()] += text[0].total()
    return {ngram: log2(seen[ngram[:-1]] / count) for ngram, count in seen.items() if ngram}


def _row(
    said: list[Counter[Ngram]], texts: list[list[Counter[Ngram]]], information: dict[Ngram, float]
) -> list[float]:
    matched = []
    for order, counts in enumerate(said):
        in_any: Counter[Ngram] = Counter()
        for text in texts:
            in_any |= text[order]
        hits = counts & in_any
        matched.append(sum(information[ngram] * count for ngram, count in hits.items()))
    length = sum(text[0].total() for text in texts) / len(texts)
    return [*matched, *(counts.total() for counts in said), said[0].total(), length]
