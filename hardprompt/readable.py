"""The most fluent prompt of a run that keeps most of its gain, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt import runs
from hardprompt.candidates import Baselines, Candidate, measure, measure_baselines
from hardprompt.errors import HardpromptError
from hardprompt.evaluation import Evaluator
from hardprompt.judge import Judge, rounded
from hardprompt.ledger import Ledger
from hardprompt.prompt import HardPrompt
from hardprompt.session import Session
from hardprompt.space import SearchSpace
from hardprompt.types import FloatArray, IntArray

SCHEMA = "hardprompt.readable/1"
ROUNDING = 1e-6  # of a loss: by token ids, or of the text


def find_readable(folder: Path, keep: float) -> dict[str, Any]:
    """The pick as JSON, also saved as a prompt in the run's folder.

    The gain is the search loss of no prompt less the lowest of the run's prompts; a prompt
    qualifies that has at least `keep` of it, of those that the search measured and those of the
    run's table, manual ones among them. The most fluent that qualifies is taken. Only then are dev
    and test looked at, for it alone: they tell the price and choose nothing.
    """
    results = runs.read_results(folder)
    session = Session.prepare(runs.read_config(folder))
    with Ledger.open(folder / runs.LEDGER) as ledger:
        ledger.check(session.header())
        found = _Readable(session, ledger, results).report(keep)
    HardPrompt.from_entry(results, found["readable"]).save(folder / runs.READABLE)
    return {"schema": SCHEMA, "run": str(folder), "keep": keep, **found}


def measured_prompts(ledger: Ledger, space: SearchSpace) -> tuple[IntArray, FloatArray]:
    """`(m, length)` all prompts of a run that were measured to the end, once each, and their
    losses `(m,)`, as the strategy was told them."""
    found: dict[bytes, tuple[IntArray, float]] = {}
    for piece in ledger.pieces():
        if piece.ids is None or piece.examples is not None:
            continue
        ids, told = space.canonical(piece.ids), piece.feedback
        fit = told.exact & np.isfinite(told.loss) & space.lengths_allowed(ids)
        for row in np.flatnonzero(fit).tolist():
            found.setdefault(ids[row].tobytes(), (ids[row], float(told.loss[row])))
    rows = np.array([ids for ids, _ in found.values()], dtype=np.int64)
    return rows.reshape(-1, space.length), np.array([loss for _, loss in found.values()])


class _Readable:
    def __init__(self, session: Session, ledger: Ledger, results: Mapping[str, Any]) -> None:
        self._session, self._ledger, self._results = session, ledger, results
        self._evaluator = Evaluator(session, ledger)

    def report(self, keep: float) -> dict[str, Any]:
        space, baselines = self._session.space, measure_baselines(self._evaluator)
        listed = [self._measured(entry) for entry in self._results["best"]]
        lowest = min(candidate.loss for candidate in listed)
        none = baselines.none.loss
        gain = none - lowest
        if not gain > 0:
            raise HardpromptError(
                f"there is no gain to keep: on the search rows the run's prompts have a loss of "
                f"{lowest:.4f} at least, no prompt {none:.4f}"
            )
        measured, loss = measured_prompts(self._ledger, space)
        loss = loss - self._session.objective.added(measured)
        bar = none - keep * gain + ROUNDING
        near = measured[loss <= bar]
        known = {space.split(row) for row in measured}
        others = [candidate for candidate in listed if candidate.slot_ids not in known]
        fit = [candidate for candidate in listed if candidate.loss <= bar]
        fluent = self._most_fluent(near, loss[loss <= bar], bar)
        pick = max(fit if fluent is None else [*fit, fluent], key=_fluency)
        return {
            "lowest": rounded(lowest),
            "none": rounded(none),
            "kept": rounded((none - pick.loss) / gain),
            "measured": len(measured) + len(others),
            "qualified": len(near) + sum(candidate.loss <= bar for candidate in others),
            **self._figures(baselines, listed[0], pick),
        }

    def _measured(self, entry: Mapping[str, Any]) -> Candidate:
        """A line of the run's table, of which the first is what one would use otherwise."""
        prompts = [slot["text"] for slot in entry["slots"]]
        ids = tuple(tuple(slot["ids"]) for slot in entry["slots"])
        words = self._evaluator.words_of(entry)
        return measure(self._evaluator, prompts, entry["source"], ids, words)

    def _most_fluent(self, ids: IntArray, loss: FloatArray, bar: float) -> Candidate | None:
        """The first in the order of fluency whose text keeps the bar as well: a search in half
        precision may have been wrong about some."""
        session = self._session
        fluency = np.nan_to_num(session.model.prompt_log_probs(ids), nan=-np.inf)
        renderer = session.scorers["search"].renderer
        for row in ids[np.lexsort((loss, -fluency))]:
            prompts = renderer.prompt_texts(row, session.space.slots)
            words = self._evaluator.suiting(prompts)
            if self._evaluator.loss(prompts, words=words) <= bar:
                slots = session.space.split(row)
                return measure(self._evaluator, prompts, "search", slots, words)
        return None

    def _figures(self, baselines: Baselines, best: Candidate, pick: Candidate) -> dict[str, Any]:
        session, judge = self._session, Judge(self._evaluator, baselines)
        entries = [judge.entry(candidate, opened=True) for candidate in (pick, best)]
        kinds = ("written-test",) if session.task.writes else ("scores-test", "scores-test-sets")
        opened = {key for kind in kinds for key, _ in self._ledger.items(kind)}
        return {
            "metric": session.metric.name,
            "objective": session.loss.name,
            "fluency_weight": session.fluency_weight,
            "task": self._results["task"],
            "readable": entries[0],
            "best": entries[1],
            "baselines": judge.baselines(),
            "price": {
                "search": rounded(pick.loss - best.loss),
                **self._price(pick, best, "dev"),
                **self._price(pick, best, "test"),
            },
            "test_opened": len(opened),
        }

    def _price(self, pick: Candidate, best: Candidate, split: str) -> dict[str, Any]:
        """The metric of the pick less that of the best, paired by row."""
        session = self._session
        ours, theirs = (self._evaluator.outcome(c.prompts, split, c.words) for c in (pick, best))
        value, low, high = map(rounded, session.figures(split).gain(ours, theirs))
        return {split: value, f"{split}_interval": [low, high]}


def _fluency(candidate: Candidate) -> tuple[float, float]:
    """The more fluent the higher; of equals the one of lower loss."""
    fluency = -np.inf if candidate.fluency is None else candidate.fluency
    return fluency, -candidate.loss
