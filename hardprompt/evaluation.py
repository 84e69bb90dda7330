"""Prompts measured as text on any split; every measurement is kept in the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardprompt.metrics.figures import Outcome, TextFigures
from hardprompt.models.base import Labels
from hardprompt.records import Arrays, json_arrays, json_value
from hardprompt.scoring.losses import Loss, normalise
from hardprompt.session import Session
from hardprompt.types import FloatArray, IntArray
from hardprompt.verbalizers.joint import all_words, columns

SWEEPS = 100  # over all classes, to shift them to the label prior


class Records(Protocol):
    """Where measurements are kept: the ledger of a run, or a `Memory`."""

    def get(self, kind: str, key: str) -> Arrays | None: ...

    def put(self, kind: str, key: str, value: Mapping[str, NDArray[Any]]) -> None: ...


class Memory:
    """Measurements kept as long as the process lives."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Arrays] = {}

    def get(self, kind: str, key: str) -> Arrays | None:
        return self._known.get((kind, key))

    def put(self, kind: str, key: str, value: Mapping[str, NDArray[Any]]) -> None:
        self._known[kind, key] = dict(value)


class Evaluator:
    """Scores prompts the way they will be used: rendered, tokenised as a whole, compared."""

    def __init__(self, session: Session, ledger: Records) -> None:
        self.session, self._ledger = session, ledger
        # Of written texts: every figure of a prompt comes from them, and counting takes long.
        self._outcomes: dict[tuple[str, tuple[str, ...]], Outcome] = {}

    def log_probs(self, prompts: Sequence[str], split: str, words: int | None = None) -> FloatArray:
        """`(N, classes)` of one prompt, from the ledger where it was measured before. `words` is
        the number of a set of label words that was searched with the prompt; None: the task's."""
        if words is None:
            return self._scores(f"scores-{split}", prompts, split, None)
        sets = self.session.label_sets
        found = self._scores(f"scores-{split}-sets", prompts, split, all_words(sets))
        return normalise(found[:, columns(sets)[words]])

    def _scores(
        self, kind: str, prompts: Sequence[str], split: str, labels: Labels | None
    ) -> FloatArray:
        key = _key(prompts)
        known = self._ledger.get(kind, key)
        if known is not None:
            return known["log_probs"]
        found = self.session.scorers[split].by_text(prompts, labels)
        self._ledger.put(kind, key, {"log_probs": found})
        return found

    def suiting(self, prompts: Sequence[str]) -> int | None:
        """The set of label words with the lowest search loss; None where none were searched."""
        numbers = range(len(self.session.label_sets))
        return min(numbers, key=lambda i: (self.loss(prompts, words=i), i), default=None)

    def words_of(self, entry: Mapping[str, Any]) -> int | None:
        """The number of the set of label words that a line of the results goes with."""
        if "words" not in entry:
            return None
        return self.session.config.label_sets.index(tuple(entry["words"].values()))

    def outcome(self, prompts: Sequence[str], split: str, words: int | None = None) -> Outcome:
        """What the session's figures judge: predicted classes, or statistics of written texts."""
        figures = self.session.figures(split)
        if not isinstance(figures, TextFigures):
            return self.predictions(prompts, split, words)
        key = split, tuple(prompts)
        if key not in self._outcomes:
            self._outcomes[key] = figures.outcome(self.written(prompts, split))
        return self._outcomes[key]

    def written(self, prompts: Sequence[str], split: str) -> list[str]:
        """What the model writes for each row, from the ledger where it was written before."""
        kind, key = f"written-{split}", _key(prompts)
        known = self._ledger.get(kind, key)
        if known is not None:
            texts: list[str] = json_value(known)
            return texts
        texts = self.session.scorers[split].written(prompts, self.session.decoding)
        self._ledger.put(kind, key, json_arrays(texts))
        return texts

    def predictions(self, prompts: Sequence[str], split: str, words: int | None = None) -> IntArray:
        predicted: IntArray = self.log_probs(prompts, split, words).argmax(axis=1)
        return predicted

    def loss(
        self, prompts: Sequence[str], split: str = "search", words: int | None = None
    ) -> float:
        """The search's own loss, on the texts of a split."""
        loss: Loss = self.session.loss
        gold = self.session.gold(split)
        log_probs = self.log_probs(prompts, split, words)
        return float(loss.total(log_probs[None], gold, len(gold))[0])

    def metric(self, prompts: Sequence[str], split: str, words: int | None = None) -> float:
        return self.session.figures(split).value(self.outcome(prompts, split, words))

    def fluency(self, ids: Sequence[int]) -> float | None:
        """Mean log-probability of a prompt's tokens under the model, of several slots as one row;
        None where it has none, or nothing stands before its only one."""
        row = np.array([list(ids)], dtype=np.int64)
        key = hashlib.sha256(row.tobytes()).hexdigest()
        known = self._ledger.get("fluency", key)
        if known is None:
            known = {"value": self.session.model.prompt_log_probs(row)[0]}
            self._ledger.put("fluency", key, known)
        value = float(known["value"])
        return value if np.isfinite(value) else None


def _key(prompts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(prompts).encode()).hexdigest()


def without_each_word(
    evaluator: Evaluator, prompt: str, loss: float, split: str, label_words: int | None = None
) -> list[dict[str, Any]]:
    """Loss of a prompt without each of its words, and what the word is worth: the difference."""
    words = prompt.split(" ")
    found = []
    for place, word in enumerate(words):
        if word:
            rest = " ".join(words[:place] + words[place + 1 :])
            without = evaluator.loss((rest,), split, label_words)
            found.append({"word": word, "without": without, "worth": without - loss})
    return found


def shift_to_prior(log_probs: FloatArray, reference: FloatArray, gold: IntArray) -> IntArray:
    """Predictions after the classes were shifted until, on the reference rows, each is
    predicted as often as it is right; what a change of the label prior alone can bring.

    Solved class by class, each shift between the rows that are to be called so and the others,
    until all agree; `reference` `(M, classes)` and `gold` `(M,)` are of the search split,
    `log_probs` `(N, classes)` of another.
    """
    n_classes = log_probs.shape[1]
    wanted = np.bincount(gold, minlength=n_classes)
    shift = -np.median(reference, axis=0)
    best, best_gap = shift.copy(), np.inf
    for _ in range(SWEEPS):
        called = np.bincount((reference + shift).argmax(axis=1), minlength=n_classes)
        gap = np.abs(called - wanted).sum()
        if gap < best_gap:
            best, best_gap = shift.copy(), gap
        if not gap:
            break
        for label in range(n_classes):
            others = np.delete(reference + shift, label, axis=1).max(axis=1)
            shift[label] = _threshold(others - reference[:, label], wanted[label])
    predicted: IntArray = (log_probs + best).argmax(axis=1)
    return predicted


def _threshold(needed: FloatArray, n: int) -> float:
    """Above n of these values, and not above the others."""
    ordered = np.sort(needed)
    padded = np.concatenate([[ordered[0] - 2], ordered, [ordered[-1] + 2]])
    return float((padded[n] + padded[n + 1]) / 2)
