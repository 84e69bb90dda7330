"""`results.json`: what a search found, as plain JSON. `docs/results.md` describes the schema."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt.candidates import Baselines, Candidate
from hardprompt.evaluation import Evaluator, shift_to_prior, without_each_word
from hardprompt.metrics import per_class
from hardprompt.metrics.figures import Outcome
from hardprompt.models.codec import Codec
from hardprompt.scoring.forecast import LEVEL, REFERENCES
from hardprompt.session import Session, versions
from hardprompt.study import Study
from hardprompt.types import IntArray
from hardprompt.written import about_texts

SCHEMA = "hardprompt.results/1"
DIGITS = 6


def assemble(
    session: Session,
    evaluator: Evaluator,
    *,
    candidates: Sequence[Candidate],
    front: Sequence[Candidate],
    baselines: Baselines,
    tested: Container[int],
    pick: int,
    study: Study,
    reason: str,
    run: Path,
) -> dict[str, Any]:
    """All figures of a run as JSON; the same for the same ledger, but for `timing`."""
    judge = Judge(evaluator, baselines)
    best = candidates[0]
    return {
        "schema": SCHEMA,
        "run": str(run),
        "task": about_task(session),
        "model": about_model(session),
        "versions": versions(),
        "strategy": session.config.strategy,
        "strategy_reason": session.reason,
        "strategy_record": _spelled(session.strategy.record(), session.model.codec),
        "template": session.template.source,
        "metric": session.metric.name,
        "objective": session.loss.name,
        "fluency_weight": session.config.fluency,
        "budget": session.budget,
        "measured": rounded(study.spent + session.budget - session.space.budget),
        "ended": reason,
        "race": _race(session, study),
        **({"limit": session.decoding.limit} if session.task.writes else {}),
        "seed": session.config.seed,
        "best": [
            judge.entry(candidate, opened=number in tested)
            for number, candidate in enumerate(candidates)
        ],
        "pick": pick,
        "front": [
            {**judge.entry(candidate, opened=False), "length": len(candidate.ids)}
            for candidate in front
        ]
        or None,
        "screening": _screening(session, candidates),
        "baselines": judge.baselines(),
        "tokens": _tokens(session, evaluator, best),
        **judge.answers(best),
        "curve": [[rounded(spent), rounded(loss)] for spent, loss in study.curve],
        **({"label_sets": _label_sets(session)} if session.label_sets else {}),
        "notes": list(session.task.notes) + list(session.vocabulary.notes),
    }


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
        if not opened or rival is None or rival is candidate:
            return {name: None, f"{name}_interval": None}
        gain, low, high = self._figures.gain(self._outcome(candidate), self._outcome(rival))
        return {name: rounded(gain), f"{name}_interval": [rounded(low), rounded(high)]}

    def _outcome(self, candidate: Candidate) -> Outcome:
        return self._evaluator.outcome(candidate.prompts, self._split, candidate.words)

    def answers(self, best: Candidate) -> dict[str, Any]:
        """What the best prompt makes of the split's rows, class by class or text by text."""
        if self._session.task.writes:
            texts = {"empty": self._baselines.empty, "best": best}
            if self._baselines.best_manual is not None:
                texts["manual"] = self._baselines.best_manual
            found = {
                name: self._evaluator.written(candidate.prompts, self._split)
                for name, candidate in texts.items()
            }
            rows = getattr(self._session.task, self._split)
            nothing: dict[str, Any] = {"prior": None, "per_class": [], "flips": []}
            return nothing | {"written": about_texts(rows, found)}
        return {
            "prior": self.prior(best),
            "per_class": self.per_class(best),
            "flips": self.flips(best),
        }

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


def about_task(session: Session) -> dict[str, Any]:
    task = session.task
    splits = {split: getattr(task, split) for split in ("search", "dev", "test")}
    counts = {split: task.counts(rows) for split, rows in splits.items()}
    return {
        "name": task.name,
        "version": task.version,
        "kind": task.kind,
        "labels": {label.name: label.word for label in task.labels},
        "rows": {split: len(rows) for split, rows in splits.items()},
        "counts": counts,
        "majority": rounded(max(counts["test"], default=np.nan) / len(task.test)),
        "cut": session.cut,
        "fingerprint": task.fingerprint(),
    }


def about_model(session: Session) -> dict[str, Any]:
    info = session.model.info
    return {
        "name": info.name,
        "family": info.family,
        "kind": info.kind,
        "parameters": info.parameters,
        "dtype": info.dtype,
        "context": info.context,
        "revision": session.config.revision or info.revision,
        "fingerprint": info.fingerprint,
        "weights": info.weights,
        "tokenizer": info.tokenizer,
    }


def _spelled(value: Any, codec: Codec) -> Any:
    """What a strategy recorded, with the word of every token and figures as everywhere."""
    if isinstance(value, dict):
        word = {"word": codec.piece([value["id"]])} if "id" in value else {}
        return {key: _spelled(item, codec) for key, item in value.items()} | word
    if isinstance(value, list):
        return [_spelled(item, codec) for item in value]
    return rounded(value) if isinstance(value, float) else value


def _screening(session: Session, candidates: Sequence[Candidate]) -> dict[str, Any] | None:
    """What the search's half precision said of the listed prompts, beside the exact losses."""
    seen = [(c.screened, c.loss) for c in candidates if c.screened is not None]
    if session.screen is None or not seen:
        return None
    screened, exact = np.array(seen).T
    before, after = (losses.argsort(kind="stable") for losses in (screened, exact))
    return {
        "dtype": session.screen.info.dtype,
        "compared": len(seen),
        "moved": int((before != after).sum()),
        "same_best": bool(before[0] == after[0]),
        "largest_difference": rounded(float(np.abs(screened - exact).max())),
    }


def _label_sets(session: Session) -> list[dict[str, str]]:
    """The sets of label words that were searched with the prompt, the task's own first."""
    names = [label.name for label in session.task.labels]
    return [dict(zip(names, words, strict=True)) for words in session.config.label_sets]


def _race(session: Session, study: Study) -> dict[str, Any] | None:
    """What a race saved; its references, measured beside the search, count as its cost."""
    if not session.config.race:
        return None
    references = REFERENCES * session.space.n_examples if study.pairs_saved else 0
    computed = study.pairs - study.pairs_saved + references
    return {
        "level": LEVEL,
        "references": REFERENCES,
        "pairs": study.pairs,
        "computed": computed,
        "times": rounded(study.pairs / max(computed, 1)),
    }


def _tokens(session: Session, evaluator: Evaluator, best: Candidate) -> list[dict[str, Any]]:
    """What each word of the best prompt is worth: the search loss without it."""
    if len(best.prompts) > 1:
        return []
    words = without_each_word(evaluator, best.prompts[0], best.loss, "search", best.words)
    return [
        {key: value if key == "word" else rounded(value) for key, value in word.items()}
        for word in words
    ]


def rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), DIGITS)
