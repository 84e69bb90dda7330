"""Figures of prompts on a split, as JSON: what results, `eval` and `readable` say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hardprompt.candidates import Baselines, Candidate
from hardprompt.evaluation import Evaluator, shift_to_prior
from hardprompt.metrics import per_class
from hardprompt.metrics.figures import Outcome
from hardprompt.types import IntArray
from hardprompt.written import about_texts

DIGITS = 6


class Judge:
    """Figures of prompts on a split, with intervals, beside the empty and the best manual one."""

    def __init__(self, evaluator: Evaluator, baselines: Baselines, split: str = "test") -> None:
        self._session, self._evaluator = evaluator.session, evaluator
        self._baselines, self._split = baselines, split
        self._figures = self._session.figures(split)

    def entry(self, candidate: Candidate, *, opened: bool) -> dict[str, Any]:
        """One prompt; `opened` says whether the split may be looked at for it. What was not
        measured is null."""
        prompts, ids = candidate.prompts, candidate.slot_ids
        test, test_interval = None, None
        if opened and self._split == "test":
            test = self._evaluator.metric(prompts, "test", candidate.words)
            test_interval = self._interval(candidate, "test")
        return {
            "text": self._session.template.show(prompts),
            "ids": candidate.ids,
            "slots": [
                {"text": text, "ids": list(part)} for text, part in zip(prompts, ids, strict=True)
            ],
            "certified": candidate.certified,
            "source": candidate.source,
            "search": rounded(candidate.loss),
            "dev": rounded(candidate.dev),
            "dev_interval": self._interval(candidate, "dev"),
            "test": rounded(test),
            "test_interval": test_interval,
            **self._gain("gain_empty", candidate, self._baselines.empty, opened),
            **self._gain("gain_manual", candidate, self._baselines.best_manual, opened),
            "fluency": rounded(candidate.fluency),
            **({} if candidate.words is None else {"words": self._words(candidate)}),
        }

    def _words(self, candidate: Candidate) -> dict[str, str]:
        """The word of each label that a prompt goes with."""
        labels = self._session.task.labels
        if candidate.words is None:
            return {label.name: label.word for label in labels}
        words = self._session.config.label_sets[candidate.words]
        return dict(zip((label.name for label in labels), words, strict=True))

    def baselines(self) -> dict[str, Any]:
        best, words = self._baselines.best_manual, self._baselines.words
        return {
            "empty": self.entry(self._baselines.empty, opened=True),
            "manual": [self.entry(m, opened=m is best) for m in self._baselines.manual],
            **({} if words is None else {"words": self.entry(words, opened=True)}),
        }

    def _interval(self, candidate: Candidate, split: str) -> list[float | None]:
        outcome = self._evaluator.outcome(candidate.prompts, split, candidate.words)
        return [rounded(end) for end in self._session.figures(split).interval(outcome)]

    def _gain(
        self, name: str, candidate: Candidate, rival: Candidate | None, opened: bool
    ) -> dict[str, Any]:
        if not opened or rival is None or rival.same(candidate):
            return {name: None, f"{name}_interval": None}
        gain, low, high = self._figures.gain(self._outcome(candidate), self._outcome(rival))
        return {name: rounded(gain), f"{name}_interval": [rounded(low), rounded(high)]}

    def _outcome(self, candidate: Candidate) -> Outcome:
        return self._evaluator.outcome(candidate.prompts, self._split, candidate.words)

    def answers(self, best: Candidate) -> dict[str, Any]:
        """What the best prompt makes of the split's rows, class by class or text by text."""
        if self._session.task.writes:
            nothing: dict[str, Any] = {"prior": None, "per_class": [], "flips": []}
            return nothing | {"written": self.written({"best": best})}
        return {
            "prior": self.prior(best),
            "per_class": self.per_class(best),
            "flips": self.flips(best),
        }

    def written(self, prompts: Mapping[str, Candidate]) -> dict[str, Any]:
        """What these prompts write, beside the empty and the best manual one, by these names."""
        texts = {"empty": self._baselines.empty, **prompts}
        if self._baselines.best_manual is not None:
            texts["manual"] = self._baselines.best_manual
        found = {
            name: self._evaluator.written(candidate.prompts, self._split)
            for name, candidate in texts.items()
        }
        return about_texts(getattr(self._session.task, self._split), found)

    def _predicted(self, candidate: Candidate) -> IntArray:
        return self._evaluator.predictions(candidate.prompts, self._split, candidate.words)

    def prior(self, best: Candidate) -> dict[str, Any]:
        """What the empty prompt reaches once its label prior is set right on the search split."""
        session, empty = self._session, self._baselines.empty
        shifted = shift_to_prior(
            self._evaluator.log_probs(empty.prompts, self._split),
            self._evaluator.log_probs(empty.prompts, "search"),
            session.gold("search"),
        )
        gain, low, high = self._figures.gain(self._predicted(best), shifted)
        return {
            "shifted_empty_test": rounded(self._figures.value(shifted)),
            "gain_beyond": rounded(gain),
            "gain_beyond_interval": [rounded(low), rounded(high)],
            "only_prior": bool(low <= 0),
        }

    def per_class(self, best: Candidate) -> list[dict[str, Any]]:
        gold = self._session.gold(self._split)
        figures = per_class(gold, self._predicted(best), len(self._session.task.labels))
        return [
            {"label": name, "word": word} | {key: rounded(value) for key, value in row.items()}
            for (name, word), row in zip(self._words(best).items(), figures, strict=True)
        ]

    def flips(self, best: Candidate) -> list[dict[str, Any]]:
        """Rows on which best and empty prompt disagree, and who is right."""
        after, before = self._predicted(best), self._predicted(self._baselines.empty)
        names = [label.name for label in self._session.task.labels]
        gold = self._session.gold(self._split)
        rows = np.flatnonzero(after != before)
        return [
            {
                "row": int(row),
                "text": getattr(self._session.task, self._split)[row].text,
                "label": names[gold[row]],
                "empty": names[before[row]],
                "best": names[after[row]],
            }
            for row in rows
        ]


def rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)
