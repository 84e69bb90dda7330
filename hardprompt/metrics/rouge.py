"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004), as the package rouge-score counts them with stemming.

That is what tables of summarisation (XSum, CNN/DailyMail) print. Multiple references: the best F1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.metrics.stem import stem
from hardprompt.metrics.words import ngrams
from hardprompt.types import FloatArray

SIGNATURE = "rouge-score:0.1.2|stem:porter|f1|refs:best"
TOKEN = re.compile(r"[a-z0-9]+")  # rouge-score's own; other scripts are not read at all

Overlap = Callable[[list[str], list[str]], float]


def rouge_n(order: int) -> Callable[[Sequence[str], Sequence[Sequence[str]]], FloatArray]:
    """F1 of n-grams of that order, `(n,)`, 0 to 100."""

    def overlap(hypothesis: list[str], reference: list[str]) -> float:
        said, wanted = ngrams(hypothesis, order), ngrams(reference, order)
        return _f1((said & wanted).total(), said.total(), wanted.total())

    return lambda hypotheses, references: _scores(overlap, hypotheses, references)


def rouge_l(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
    """F1 of the longest common subsequence of words, `(n,)`, 0 to 100."""

    def overlap(hypothesis: list[str], reference: list[str]) -> float:
        common = longest_common_subsequence(hypothesis, reference)
        return _f1(common, len(hypothesis), len(reference))

    return _scores(overlap, hypotheses, references)


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by whole rows of bits at a time (Hyyrö, 2004, figure 3)."""
    places: dict[str, int] = {}
    for place, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << place
    every = (1 << len(first)) - 1
    row = every  # a 0 bit is a step of the usual table's row
    for token in second:
        hits = row & places.get(token, 0)
        row = ((row + hits) | (row - hits)) & every
    return len(first) - row.bit_count()


def check(references: Sequence[Sequence[str]]) -> None:
    """Raises where no reference holds a letter or digit that is read."""
    texts = [text for each in references for text in each]
    if any(map(str.strip, texts)) and not any(TOKEN.search(text.lower()) for text in texts):
        raise HardpromptError(
            "rouge reads the letters a to z and digits only, and no reference has any; "
            "take --metric chrf, which reads every script"
        )


def _scores(
    overlap: Overlap, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> FloatArray:
    said = [_tokens(text) for text in hypotheses]
    wanted = [[_tokens(text) for text in texts] for texts in references]
    check(references)
    best = [max(overlap(h, r) for r in refs) for h, refs in zip(said, wanted, strict=True)]
    return 100 * np.array(best)


def _tokens(text: str) -> list[str]:
    return [stem(token) if len(token) > 3 else token for token in TOKEN.findall(text.lower())]


def _f1(common: int, said: int, wanted: int) -> float:
    return 2 * common / (said + wanted) if common else 0.0
