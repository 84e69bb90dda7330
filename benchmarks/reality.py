"""Strategies on few-shot tasks in the whole vocabulary, beside the published ones."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import reality_report
from benchmarks.entrants import Cost, Entrant, chosen, published
from benchmarks.rerun import Runs, check_hours, row_seconds
from hardprompt.config import RunConfig
from hardprompt.evaluation import Evaluator, Memory
from hardprompt.ledger import Ledger
from hardprompt.selection import diverse
from hardprompt.session import Session
from hardprompt.study import Study

LISTED = 10  # prompts that dev judges, as in the report of a search
LINES = ("auto", "random", "random*4")


@dataclass(frozen=True)
class Split:
    """A few-shot split made ready; prompts are measured as text once, whoever found them."""

    session: Session
    evaluator: Evaluator

    @classmethod
    def prepare(cls, args: argparse.Namespace, task: str) -> Split:
        config = RunConfig(
            task=task,
            model=args.model,
            template="suffix",
            length=args.len,
            search_rows=None,
            dtype="float32",
            strategy="random",
            budget=args.budget,
            start=("random",),
        )
        session = Session.prepare(config)
        return cls(session, Evaluator(session, Memory()))


def run(args: argparse.Namespace) -> None:
    """Searches on every split with every seed, then the report."""
    options = {key: getattr(args, key) for key in ("model", "len", "budget")}
    stored = Runs(args.out, options, args.redo)
    splits = {Path(task).name: Split.prepare(args, task) for task in args.task}
    _check_same_test([split.session for split in splits.values()])
    first = next(iter(splits.values()))
    row, gradient = row_seconds(first.session)
    price = stored.about.setdefault("gradient_price", round(gradient / row, 2))
    cost = Cost(args.budget, price, first.session.space.n_examples)
    entrants = chosen(args.strategies or LINES, cost)
    entrants += [] if args.strategies else published(cost)
    stored.about["task"] = _about(first.session, list(splits))
    todo = [
        (split, seed, entrant)
        for seed, split, entrant in product(range(args.seeds), splits, entrants)
        if seed < (entrant.most_seeds or args.seeds)
        and not stored.has(split=split, seed=seed, name=entrant.name)
    ]
    rows = sum(args.budget * entrant.times for _, _, entrant in todo)
    check_hours(rows * row + len(todo) * _judging_seconds(first), args.hours)
    for split, seed, entrant in todo:
        found = searched(splits[split], entrant, cost, seed)
        stored.add({"split": split} | found)
        print(split, seed, entrant.name, f"{found['loss']:.4f}", found["text"], flush=True)
    stored.write()
    reality_report.write(args, stored, [entrant.name for entrant in entrants])


def searched(split: Split, entrant: Entrant, cost: Cost, seed: int) -> dict[str, Any]:
    """One search; of its ten best by loss the best on dev, and what that is on test."""
    session = split.session
    budget, price = cost.budget * entrant.times, cost.gradient_price
    space = replace(session.space, budget=budget, gradient_price=price)
    began = time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.create(Path(folder) / "ledger.db", {}) as ledger,
    ):
        study = Study(session.objective, entrant.make(), space, ledger, budget=budget, seed=seed)
        ended = study.run()
    loss, prompts = _listed(split, study)
    metric = split.evaluator.metric
    chosen_one = max(prompts, key=lambda prompt: metric(prompt, "dev"))  # the first of equals
    hits = split.evaluator.predictions(chosen_one, "test") == session.gold("test")
    return {
        "name": entrant.name,
        "seed": seed,
        "spent": study.spent,
        "ended": ended,
        "loss": loss,
        "dev": metric(chosen_one, "dev"),
        "test": float(hits.mean()),
        "text": session.template.show(chosen_one),
        "hits": np.packbits(hits).tobytes().hex(),
        "cpu_seconds": time.process_time() - began,
    }


def _listed(split: Split, study: Study) -> tuple[float, list[Sequence[str]]]:
    """The lowest search loss, and the prompts that dev is to judge.

    A published schedule may spend all before it measures its first whole prompt: it found none.
    """
    session, ranked = split.session, study.ranking()
    if not ranked:
        return split.evaluator.loss(session.no_prompt), [session.no_prompt]
    renderer, slots = session.scorers["search"].renderer, session.space.slots
    return ranked[0].loss, [renderer.prompt_texts(f.ids, slots) for f in diverse(ranked, LISTED)]


def _judging_seconds(split: Split) -> float:
    """CPU seconds of dev and test for one search."""
    session = split.session
    began = time.process_time()
    split.evaluator.log_probs(session.no_prompt, "dev")
    row = (time.process_time() - began) / len(session.task.dev)
    return row * (LISTED * len(session.task.dev) + len(session.task.test))


def _check_same_test(sessions: list[Session]) -> None:
    if any(session.task.test != sessions[0].task.test for session in sessions):
        raise SystemExit("the splits do not share their test rows; give them one task at a time")


def _about(session: Session, splits: list[str]) -> dict[str, Any]:
    task = session.task
    return {
        "name": Path(session.config.name).name,
        "splits": splits,
        "template": session.template.source,
        "labels": {label.name: label.word for label in task.labels},
        "rows": {split: len(getattr(task, split)) for split in ("search", "dev", "test")},
        "tokens": len(session.space.tokens),
    }
