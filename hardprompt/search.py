"""One search from a prepared session to `results.json`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt import runs
from hardprompt.candidates import Baselines, Candidate, measure, measure_baselines
from hardprompt.errors import HardpromptError
from hardprompt.evaluation import Evaluator
from hardprompt.front import nondominated
from hardprompt.ledger import Ledger
from hardprompt.mirror import Mirror
from hardprompt.models.base import PromptModel
from hardprompt.prompt import HardPrompt
from hardprompt.results import assemble
from hardprompt.selection import diverse, readable_pick, shortlist
from hardprompt.session import Session
from hardprompt.study import Found, Progress, Study
from hardprompt.types import EMPTY, IntArray

LISTED, TESTED = 10, 3
FLUENT = 3  # of those listed, prompts that are there because they read well
BATCHES, PACE = "batch tokens", "seconds a row"  # where the ledger keeps them
# What the clock leaves for dev, test and the report at least, as a share of the whole command.
RESERVE = 0.35


@dataclass
class Search:
    """Runs the study, then measures the best prompts on dev and, once, on test."""

    session: Session
    folder: Path
    began: float = field(default_factory=time.monotonic)
    on_piece: Callable[[Progress], None] = lambda progress: None
    on_phase: Callable[[str], None] = lambda phase: None
    study: Study | None = field(default=None, init=False)
    mirror: Mirror | None = field(default=None, init=False)
    _noted: dict[str, int] = field(default_factory=dict, init=False)  # by place
    _row_seconds: float = field(default=0.0, init=False)  # to read a row with a prompt
    _answer_seconds: float = field(default=0.0, init=False)  # to answer it, in writing or not

    def run(self, *, resume: bool = False) -> dict[str, Any]:
        """The results, also written to the run's folder; nothing measured is lost on the way."""
        path = self.folder / runs.LEDGER
        header = self.session.header()
        # A run that was killed before its first record has a folder, but no ledger yet.
        known = resume and path.exists()
        with Ledger.open(path) if known else Ledger.create(path, header) as ledger:
            if known:
                ledger.check(header)
            self._recall_batches(ledger)
            evaluator = Evaluator(self.session, ledger)
            timing = {"prepared": time.monotonic() - self.began}
            self._measure_baselines(evaluator, ledger)
            reason = self._search(ledger)
            timing["searched"] = time.monotonic() - self.began
            results = self._report(evaluator, reason)
            timing["total"] = time.monotonic() - self.began
        results["timing"] = self._timing(timing)
        runs.write_results(self.folder, results)
        HardPrompt.from_run(self.folder).save(self.folder / runs.PROMPT)
        return results

    def show(self, ids: IntArray) -> str:
        """A row of tokens as the prompt that a user pastes."""
        return self.session.template.show(self._prompts(ids))

    def so_far(self, n: int) -> list[tuple[str, float]]:
        """The best prompts of an unfinished search with their loss."""
        found = [] if self.study is None else diverse(self.study.ranking(), n)
        return [(self.show(item.ids), item.loss) for item in found]

    def stop(self) -> None:
        """Ends the search after the piece in flight."""
        if self.study is not None:
            self.study.stop()

    def _measure_baselines(self, evaluator: Evaluator, ledger: Ledger) -> None:
        self.on_phase("baselines")
        session, task = self.session, self.session.task
        baselines = [session.no_prompt, *((prompt,) for prompt in session.manual)]

        def read() -> None:
            for prompts in baselines:
                evaluator.log_probs(prompts, "search")

        self._row_seconds = _timed(ledger, "read", read, len(baselines) * len(task.search))
        self._answer_seconds = self._row_seconds
        if task.writes and session.config.time is not None:
            write = partial(evaluator.written, session.no_prompt, "dev")
            self._answer_seconds = _timed(ledger, "written", write, len(task.dev))

    def _search(self, ledger: Ledger) -> str:
        self.on_phase("search")
        session, config = self.session, self.session.config
        self.study = Study(
            session.objective,
            session.strategy,
            session.space,
            ledger,
            budget=session.space.budget,
            seed=config.seed,
            piece=session.piece,
            patience=config.patience,
            deadline=self._late,
            on_piece=lambda progress: self._after_piece(ledger, progress),
        )
        if config.optuna_storage is not None:
            pareto = bool(getattr(session.strategy, "pareto", False))
            self.mirror = Mirror(config.optuna_storage, self.folder.name, session.space, pareto)
        return self.study.run()

    def _after_piece(self, ledger: Ledger, progress: Progress) -> None:
        assert self.study is not None
        self._note_batches(ledger)
        if self.mirror is not None:
            new = self.study.measured(self.mirror.seen)
            self.mirror.add([(found, self.show(found.ids)) for found in new])
        self.on_piece(progress)

    def _recall_batches(self, ledger: Ledger) -> None:
        """What fitted into memory before, so that a resumed run does not try it all again."""
        for model in self._models:
            tokens = ledger.get_json(BATCHES, _place(model))
            if tokens is not None:
                model.batch_tokens = int(tokens)
        self._note_batches(ledger)

    def _note_batches(self, ledger: Ledger) -> None:
        for model in self._models:
            place = _place(model)
            if self._noted.get(place) != model.batch_tokens:
                ledger.put_json(BATCHES, place, model.batch_tokens)
                self._noted[place] = model.batch_tokens

    @property
    def _models(self) -> list[PromptModel]:
        """The one that reports, and the one that searches where it is another."""
        models = [self.session.model, self.session.screen]
        return [model for model in models if model is not None]

    def _late(self) -> bool:
        limit = self.session.config.time
        if limit is None:
            return False
        left = limit - (time.monotonic() - self.began)
        return left < max(limit * RESERVE, self._seconds_to_report())

    def _seconds_to_report(self) -> float:
        """What is read and answered when the search is over."""
        task, prompts = self.session.task, LISTED + 1 + len(self.session.manual)
        # On test the pick and two baselines, too.
        answers = prompts * len(task.dev) + (TESTED + 3) * len(task.test)
        return self._row_seconds * prompts * len(task.search) + self._answer_seconds * answers

    def _report(self, evaluator: Evaluator, reason: str) -> dict[str, Any]:
        assert self.study is not None
        self.on_phase("dev")
        baselines = measure_baselines(evaluator)
        candidates = self._candidates(evaluator, baselines)
        front = self._front(evaluator)
        self.on_phase("test")
        pick = self._pick(candidates, evaluator)
        tested = sorted({*range(min(TESTED, len(candidates))), pick})
        opened = [baselines.empty, *(candidates[number] for number in tested)]
        if baselines.best_manual is not None:
            opened.append(baselines.best_manual)
        if baselines.words is not None:
            opened.append(baselines.words)
        for candidate in opened:
            evaluator.outcome(candidate.prompts, "test", candidate.words)
        self.on_phase("tokens")
        return assemble(
            self.session,
            evaluator,
            candidates=candidates,
            front=front,
            baselines=baselines,
            tested=tested,
            pick=pick,
            study=self.study,
            reason=reason,
            run=self.folder,
        )

    def _candidates(self, evaluator: Evaluator, baselines: Baselines) -> list[Candidate]:
        """The shortlist of the search, measured as text, in the order of dev."""
        assert self.study is not None
        session = self.session
        shortlist = self._shortlist(evaluator, baselines.empty.loss)
        found = [self._measured(evaluator, item) for item in shortlist]
        if session.config.strategy == "auto":
            # The default never ends behind a prompt that anybody would have written.
            best_dev = max((c.dev for c in found), default=-np.inf)
            found += [rival for rival in baselines.manual if rival.dev > best_dev]
        if not found:
            raise HardpromptError(
                "the search ended before one prompt was measured; give it more --time or --budget"
            )
        return sorted(found, key=lambda c: (-c.dev, c.loss))

    def _front(self, evaluator: Evaluator) -> list[Candidate]:
        """The front of the search, measured as text, as far as it still is one by that."""
        assert self.study is not None
        front = self.study.front()
        found = [self._measured(evaluator, item) for item in front]
        values = [
            (c.loss, item.fluency if c.fluency is None else -c.fluency, len(c.ids))
            for c, item in zip(found, front, strict=True)
        ]
        kept = nondominated(np.array(values, dtype=np.float64).reshape(-1, 3))
        front_now = [candidate for candidate, keep in zip(found, kept, strict=True) if keep]
        return sorted(front_now, key=lambda c: c.loss)

    def _measured(self, evaluator: Evaluator, found: Found) -> Candidate:
        prompts, ids = self._prompts(found.ids), self.session.space.split(found.ids)
        candidate = measure(evaluator, prompts, "search", ids, evaluator.suiting(prompts))
        screened = None if self.session.screen is None else self._task_loss(found)
        return replace(candidate, screened=screened)

    def _shortlist(self, evaluator: Evaluator, empty_loss: float) -> list[Found]:
        """What dev is to judge: the best by loss, and the most fluent that keep half its gain."""
        assert self.study is not None
        ranking = self.study.ranking()
        if not ranking:
            return []

        def fluency(found: Found) -> float:
            value = evaluator.fluency(found.ids[found.ids != EMPTY].tolist())
            return -np.inf if value is None else value

        bar = (self._task_loss(ranking[0]) + empty_loss) / 2
        return shortlist(ranking, self._task_loss, fluency, bar, LISTED, FLUENT)

    def _task_loss(self, found: Found) -> float:
        """A found prompt's loss without what its fluency added."""
        return found.loss - float(self.session.objective.added(found.ids[None])[0])

    def _prompts(self, ids: IntArray) -> tuple[str, ...]:
        """A row of tokens as the text of each slot."""
        renderer = self.session.scorers["search"].renderer
        return tuple(renderer.prompt_texts(ids, self.session.space.slots))

    def _pick(self, candidates: list[Candidate], evaluator: Evaluator) -> int:
        session = self.session
        outcome = evaluator.outcome(candidates[0].prompts, "dev", candidates[0].words)
        error = session.figures("dev").error(outcome)
        return readable_pick([c.dev for c in candidates], error, [c.fluency for c in candidates])

    def _timing(self, marks: dict[str, float]) -> dict[str, float]:
        assert self.study is not None
        return {
            **{name: round(seconds, 3) for name, seconds in marks.items()},
            "pairs": self.study.pairs,
            "pairs_saved": self.study.pairs_saved,
            "pieces_replayed": self.study.replayed,
            "pieces_drifted": self.study.drifted,
        }


def _timed(ledger: Ledger, name: str, work: Callable[[], object], rows: int) -> float:
    """Seconds a row that `work` takes; those of the first time, since what it measures is known to
    a resumed run."""
    began = time.monotonic()
    work()
    known = ledger.get_json(PACE, name)
    if known is None:
        known = (time.monotonic() - began) / rows
        ledger.put_json(PACE, name, known)
    return float(known)


def _place(model: PromptModel) -> str:
    return f"{model.info.dtype} on {model.info.device}"
