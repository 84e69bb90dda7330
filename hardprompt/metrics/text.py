"""Metrics of generated text against references; docs/metrics.md says what each of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.metrics import cider, meteor, nist, rouge
from hardprompt.metrics.bertscore import Encoder, bert_score
from hardprompt.metrics.sacre import Sacrebleu
from hardprompt.types import FloatArray

Statistics = Callable[[Sequence[str], Sequence[Sequence[str]]], FloatArray]
USUAL = "rouge-l"  # where no metric is asked for


@dataclass(frozen=True)
class TextMetric:
    """A figure of a corpus that comes from the sum of the statistics of its texts, so that texts
    can be drawn anew without being read again: `total(stats(hypotheses, references).sum(0))`."""

    name: str
    label: str  # as tables call it
    higher_is_better: bool  # False for ter only
    stats: Statistics  # n hypotheses, references of each -> (n, s)
    total: Callable[[FloatArray], FloatArray]  # (..., s) sums -> (...); 0 to 100 but nist and cider
    signature: str  # what must be the same for two figures to be compared
    # Raises for references of which the metric can read nothing; for use before they are needed.
    check: Callable[[Sequence[Sequence[str]]], None] = lambda references: None

    def figure(self, stats: FloatArray) -> float:
        """The figure of `(n, s)` statistics, or the mean of `(runs, n, s)` over the runs."""
        return float(self.total(stats.sum(axis=-2)).mean())


def text_metric_names() -> list[str]:
    return [*METRICS, "bertscore"]


def text_metric_named(name: str, encoder: Encoder | None = None, idf: bool = False) -> TextMetric:
    """Raises `UsageError` with the nearest name, or with what the metric needs and has not.

    `encoder` and `idf` are for `bertscore` only.
    """
    name = name.replace("_", "-")
    if name == "bertscore":
        if encoder is None:
            raise UsageError(
                "bertscore needs an encoder, as load_encoder('FOLDER') of "
                "hardprompt.models.encoder gives it"
            )
        scores = bert_score(encoder, idf)
        return _averaged(
            name,
            "BERTScore",
            scores,
            f"own|{encoder.signature}|idf:{'yes' if idf else 'no'}|refs:best",
        )
    if name not in METRICS:
        raise unknown("metric of text", name, text_metric_names())
    return METRICS[name]()


def _averaged(name: str, label: str, scores: Statistics, signature: str) -> TextMetric:
    """The mean of scores of each text, `(n,)`."""

    def stats(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
        values = scores(hypotheses, references)
        return np.stack([values, np.ones_like(values)], axis=-1)

    def total(summed: FloatArray) -> FloatArray:
        mean: FloatArray = summed[..., 0] / summed[..., 1]
        return mean

    return TextMetric(name, label, True, _checked(stats), total, signature)


def _by_sacrebleu(name: str, label: str) -> TextMetric:
    found = Sacrebleu(name)
    return TextMetric(
        name, label, name != "ter", _checked(found.stats), found.total, found.signature
    )


def _by_rouge(name: str, label: str, scores: Statistics) -> TextMetric:
    return replace(_averaged(name, label, scores, rouge.SIGNATURE), check=rouge.check)


METRICS: dict[str, Callable[[], TextMetric]] = {
    "bleu": partial(_by_sacrebleu, "bleu", "BLEU"),
    "chrf": partial(_by_sacrebleu, "chrf", "chrF"),
    "ter": partial(_by_sacrebleu, "ter", "TER"),
    "rouge-1": partial(_by_rouge, "rouge-1", "ROUGE-1", rouge.rouge_n(1)),
    "rouge-2": partial(_by_rouge, "rouge-2", "ROUGE-2", rouge.rouge_n(2)),
    "rouge-l": partial(_by_rouge, "rouge-l", "ROUGE-L", rouge.rouge_l),
    "meteor": partial(_averaged, "meteor", "METEOR (no WordNet)", meteor.meteor, meteor.SIGNATURE),
    "nist": lambda: TextMetric(
        "nist", "NIST", True, _checked(nist.stats), nist.total, nist.SIGNATURE
    ),
    "cider": partial(_averaged, "cider", "CIDEr", cider.cider_d, cider.SIGNATURE),
}


def _checked(stats: Statistics) -> Statistics:
    def read(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
        _check(hypotheses, references)
        return stats(hypotheses, references)

    return read


def _check(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not len(hypotheses) or len(hypotheses) != len(references):
        raise HardpromptError(
            f"{len(hypotheses)} texts and references of {len(references)}: a figure needs at least "
            "one text, and a list of references for each"
        )
    for row, texts in enumerate(references, start=1):
        if isinstance(texts, str):
            raise HardpromptError(
                f"the references of text {row} are one text; give a list, of one if need be"
            )
        if not len(texts):
            raise HardpromptError(f"text {row} has no reference; give one, or leave the text out")
