"""`results.json`: what a search found, as plain JSON. `docs/results.md` describes the schema."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hardprompt.evaluation import Evaluator, shift_to_prior, without_each_word
from hardprompt.metrics import interval, paired_gain, per_class
from hardprompt.study import Study
from hardprompt.types import IntArray

if TYPE_CHECKING:
    from hardprompt.session import Session

SCHEMA = "hardprompt.results/1"
DIGITS = 6


@dataclass(frozen=True)
class Candidate:
    """A prompt with what is known of it before the test split is opened."""

    prompts: tuple[str, ...]  # the text of each slot
    ids: tuple[int, ...]
    source: str  # search, manual or empty
    loss: float
    dev: float
    fluency: float | None


def assemble(
    session: Session,
    evaluator: Evaluator,
    *,
    candidates: Sequence[Candidate],
    empty: Candidate,
    manual: Sequence[Candidate],
    best_manual: Candidate | None,
    tested: Container[int],
    pick: int,
    study: Study,
    reason: str,
    run: Path,
) -> dict[str, Any]:
    """All figures of a run as JSON; the same for the same ledger, but for `timing`."""
    judge = _Judge(session, evaluator, empty, best_manual)
    best = candidates[0]
    return {
        "schema": SCHEMA,
        "run": str(run),
        "task": _task(session),
        "model": _model(session),
        "strategy": session.config.strategy,
        "strategy_reason": session.reason,
        "template": session.template.source,
        "metric": session.metric.name,
        "objective": session.loss.name,
        "budget": session.budget,
        "measured": _round(study.spent),
        "ended": reason,
        "seed": session.config.seed,
        "best": [
            judge.entry(candidate, tested=number in tested)
            for number, candidate in enumerate(candidates)
        ],
        "pick": pick,
        "baselines": {
            "empty": judge.entry(empty, tested=True),
            "manual": [judge.entry(m, tested=m is best_manual) for m in manual],
        },
        "prior": judge.prior(best),
        "tokens": _tokens(session, evaluator, best),
        "per_class": judge.per_class(best),
        "flips": judge.flips(best),
        "curve": [[_round(spent), _round(loss)] for spent, loss in study.curve],
        "notes": list(session.task.notes) + list(session.vocabulary.notes),
    }


class _Judge:
    """Test figures with intervals, beside the empty and the best manual prompt."""

    def __init__(
        self,
        session: Session,
        evaluator: Evaluator,
        empty: Candidate,
        best_manual: Candidate | None,
    ) -> None:
        self._session, self._evaluator = session, evaluator
        self._empty, self._manual = empty, best_manual
        self._gold = session.gold("test")
        self._n_classes = len(session.task.labels)

    def entry(self, candidate: Candidate, *, tested: bool) -> dict[str, Any]:
        """One prompt; every test field is null where it was not measured."""
        test: float | None = None
        fields: dict[str, Any] = {"test_interval": None}
        predicted = None
        if tested:
            predicted = self._predicted(candidate)
            test = self._evaluator.metric(candidate.prompts, "test")
            low, high = interval(self._session.metric, self._gold, predicted, self._n_classes)
            fields["test_interval"] = [_round(low), _round(high)]
        for name, rival in (("empty", self._empty), ("manual", self._manual)):
            fields |= self._gain(f"gain_{name}", candidate, predicted, rival)
        return {
            "text": self._session.template.show(candidate.prompts),
            "ids": list(candidate.ids),
            "source": candidate.source,
            "search": _round(candidate.loss),
            "dev": _round(candidate.dev),
            "test": _round(test),
            **fields,
            "fluency": _round(candidate.fluency),
        }

    def _gain(
        self,
        name: str,
        candidate: Candidate,
        predicted: IntArray | None,
        rival: Candidate | None,
    ) -> dict[str, Any]:
        if predicted is None or rival is None or rival is candidate:
            return {name: None, f"{name}_interval": None}
        gain, low, high = paired_gain(
            self._session.metric, self._gold, predicted, self._predicted(rival), self._n_classes
        )
        return {name: _round(gain), f"{name}_interval": [_round(low), _round(high)]}

    def _predicted(self, candidate: Candidate) -> IntArray:
        return self._evaluator.predictions(candidate.prompts, "test")

    def prior(self, best: Candidate) -> dict[str, Any]:
        """What the empty prompt reaches once its label prior is set right on the search split."""
        session = self._session
        shifted = shift_to_prior(
            self._evaluator.log_probs(self._empty.prompts, "test"),
            self._evaluator.log_probs(self._empty.prompts, "search"),
            session.gold("search"),
        )
        gain, low, high = paired_gain(
            session.metric, self._gold, self._predicted(best), shifted, self._n_classes
        )
        return {
            "shifted_empty_test": _round(
                float(session.metric.score(self._gold, shifted, self._n_classes))
            ),
            "gain_beyond": _round(gain),
            "gain_beyond_interval": [_round(low), _round(high)],
            "only_prior": bool(low <= 0),
        }

    def per_class(self, best: Candidate) -> list[dict[str, Any]]:
        figures = per_class(self._gold, self._predicted(best), self._n_classes)
        return [
            {"label": label.name, "word": label.word}
            | {key: _round(value) for key, value in row.items()}
            for label, row in zip(self._session.task.labels, figures, strict=True)
        ]

    def flips(self, best: Candidate) -> list[dict[str, Any]]:
        """Test rows on which best and empty prompt disagree, and who is right."""
        after, before = self._predicted(best), self._predicted(self._empty)
        names = [label.name for label in self._session.task.labels]
        rows = np.flatnonzero(after != before)
        return [
            {
                "row": int(row),
                "text": self._session.task.test[row].text,
                "label": names[self._gold[row]],
                "empty": names[before[row]],
                "best": names[after[row]],
            }
            for row in rows
        ]


def _task(session: Session) -> dict[str, Any]:
    task = session.task
    counts = {split: task.counts(getattr(task, split)) for split in ("search", "dev", "test")}
    majority = max(counts["test"]) / sum(counts["test"])
    return {
        "name": task.name,
        "version": task.version,
        "labels": {label.name: label.word for label in task.labels},
        "rows": {split: sum(count) for split, count in counts.items()},
        "counts": counts,
        "majority": _round(majority),
        "cut": session.cut,
        "fingerprint": task.fingerprint(),
    }


def _model(session: Session) -> dict[str, Any]:
    info = session.model.info
    return {
        "name": info.name,
        "family": info.family,
        "parameters": info.parameters,
        "dtype": info.dtype,
        "fingerprint": info.fingerprint,
    }


def _tokens(session: Session, evaluator: Evaluator, best: Candidate) -> list[dict[str, Any]]:
    """What each word of the best prompt is worth: the search loss without it."""
    if len(best.prompts) > 1:
        return []
    words = without_each_word(evaluator, best.prompts[0], best.loss, "search")
    return [
        {key: value if key == "word" else _round(value) for key, value in word.items()}
        for word in words
    ]


def _round(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)
