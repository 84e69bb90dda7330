"""BLEU, chrF and TER by sacrebleu (Post, 2018), from its own statistics of each text."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import zip_longest
from typing import Any

import numpy as np

from hardprompt.errors import UsageError
from hardprompt.types import FloatArray


class Sacrebleu:
    """One of sacrebleu's metrics with its defaults; `total` of the sum of `stats` is what its
    `corpus_score` says."""

    def __init__(self, name: str) -> None:
        try:
            metrics: Any = import_module("sacrebleu.metrics")
        except ImportError as error:
            raise UsageError(f"{name} needs sacrebleu: pip install sacrebleu") from error
        self._metric: Any
        if name == "bleu":
            self._metric = metrics.BLEU(force=True)  # says nothing of texts that look tokenised
        else:
            self._metric = {"chrf": metrics.CHRF, "ter": metrics.TER}[name]()
        self._metric.corpus_score([""], [[""]])  # there is no signature before the first figure
        signature = self._metric.get_signature()
        signature.update("nrefs", None)  # how many references there are is the data's
        self.signature = f"sacrebleu:{name}|{signature.format()}"

    def stats(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
        """`(n, s)` counts. What `corpus_score` adds up, and sacrebleu's own bootstrap too; it has
        no public name there, so that the extra names the versions that have it."""
        columns = list(zip_longest(*references))  # the first of each row, the second, ...
        rows = self._metric._extract_corpus_statistics(list(hypotheses), columns)
        return np.array(rows, dtype=np.float64)

    def total(self, summed: FloatArray) -> FloatArray:
        """`(..., s)` -> `(...)`."""
        flat = summed.reshape(-1, summed.shape[-1]).tolist()
        scores = [self._metric._compute_score_from_stats(row).score for row in flat]
        return np.array(scores).reshape(summed.shape[:-1])
