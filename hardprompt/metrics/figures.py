"""How what a model answered is judged: classes by gold labels, written texts by references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from hardprompt.metrics.classification import Metric
from hardprompt.metrics.intervals import (
    interval,
    paired_gain,
    standard_error,
    text_error,
    text_gain,
    text_interval,
)
from hardprompt.metrics.text import TextMetric
from hardprompt.types import IntArray

# (n,) classes, or (n, s) statistics of texts; with a leading axis the answers of several runs.
Outcome = NDArray[Any]


class Figures(Protocol):
    """The figures of answers to the rows of one split; higher is better."""

    def value(self, outcome: Outcome) -> float:
        """The metric; the mean over several runs."""
        ...

    def interval(self, outcome: Outcome) -> tuple[float, float]:
        """Its 95% interval."""
        ...

    def error(self, outcome: Outcome) -> float:
        """Its standard error."""
        ...

    def gain(self, better: Outcome, worse: Outcome) -> tuple[float, float, float]:
        """How much higher the first is on the same rows, with the 95% interval."""
        ...


@dataclass(frozen=True)
class ClassFigures:
    """Of predicted classes."""

    metric: Metric
    gold: IntArray  # (n,)
    n_classes: int

    def value(self, outcome: Outcome) -> float:
        return float(self.metric.score(self.gold, outcome, self.n_classes).mean())

    def interval(self, outcome: Outcome) -> tuple[float, float]:
        return interval(self.metric, self.gold, outcome, self.n_classes)

    def error(self, outcome: Outcome) -> float:
        return standard_error(self.metric, self.gold, outcome, self.n_classes)

    def gain(self, better: Outcome, worse: Outcome) -> tuple[float, float, float]:
        return paired_gain(self.metric, self.gold, better, worse, self.n_classes)


@dataclass(frozen=True)
class TextFigures:
    """Of written texts, by their statistics."""

    metric: TextMetric
    references: tuple[tuple[str, ...], ...]  # of each row

    def outcome(self, texts: Sequence[str]) -> Outcome:
        return self.metric.stats(texts, self.references)

    def value(self, outcome: Outcome) -> float:
        return self.metric.figure(outcome)

    def interval(self, outcome: Outcome) -> tuple[float, float]:
        return text_interval(self.metric, outcome)

    def error(self, outcome: Outcome) -> float:
        return text_error(self.metric, outcome)

    def gain(self, better: Outcome, worse: Outcome) -> tuple[float, float, float]:
        return text_gain(self.metric, better, worse)
