"""`results.json`: what a search found, as plain JSON. `docs/results.md` describes the schema."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt.candidates import Baselines, Candidate
from hardprompt.evaluation import Evaluator, without_each_word
from hardprompt.judge import Judge, rounded
from hardprompt.models.codec import Codec
from hardprompt.runs import RESULTS_SCHEMA
from hardprompt.scoring.forecast import LEVEL, REFERENCES
from hardprompt.session import Session, versions
from hardprompt.study import Study


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
        "schema": RESULTS_SCHEMA,
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
        "fluency_weight": session.fluency_weight,
        "budget": session.budget,
        "measured": rounded(study.spent + session.budget - session.space.budget),
        "ended": reason,
        "race": _race(session, study),
        **(about_decoding(session) if session.task.writes else {}),
        "room": session.splits.room,
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
        "notes": [*session.task.notes, *session.vocabulary.notes, *session.start_notes],
    }


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
        "majority": rounded(session.majority),
        "cut": session.splits.cut,
        "fingerprint": task.fingerprint(),
    }


def about_decoding(session: Session) -> dict[str, int]:
    """How texts were written, and the tokens that were kept free for them."""
    decoding = session.decoding
    reserved = session.splits.reserved
    return {"limit": decoding.limit, "beams": decoding.beams, "reserved": reserved}


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
