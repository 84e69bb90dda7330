"""Regret of every strategy in spaces that were measured completely."""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import truth_report
from benchmarks.entrants import Entrant, chosen, registered
from benchmarks.places import PLACES, ROWS
from benchmarks.rerun import Runs, check_hours, row_seconds
from benchmarks.truth import Table, TableObjective, load, seconds_to_load
from hardprompt.ledger import Ledger
from hardprompt.session import Session
from hardprompt.study import Study

BEST = 5  # prompts of a space whose regrets are told
Job = tuple[Entrant, float, int]  # who, on which share of the space, with which seed


def run(args: argparse.Namespace) -> None:
    """Tables, then searches, then the report."""
    entrants = chosen(args.strategies) if args.strategies else registered()
    stored = Runs(args.out, {"rows": ROWS}, args.redo)
    sessions = {name: PLACES[name].prepare(args.shared) for name in args.places}
    todo = {name: [] if args.tables else _todo(args, stored, entrants, name) for name in sessions}
    check_hours(sum(_seconds(name, sessions[name], todo[name]) for name in sessions), args.hours)
    for name, session in sessions.items():
        table = load(name, session, lambda line: print(line, flush=True))
        stored.about[name] = about(session, table)
        objective = TableObjective(session.objective, table)
        for entrant, share, seed in todo[name]:
            found = searched(objective, entrant, round(share * session.space.size), seed)
            stored.add({"place": name, "share": share} | found)
            print(name, share, entrant.name, seed, f"{found['regret']:.3f}", flush=True)
    stored.write()
    if not args.tables:
        truth_report.write(args, stored, [entrant.name for entrant in entrants])


def _todo(args: argparse.Namespace, stored: Runs, entrants: list[Entrant], place: str) -> list[Job]:
    return [
        (entrant, share, seed)
        for share, seed, entrant in product(args.shares, range(args.seeds), entrants)
        if seed < (entrant.most_seeds or args.seeds)
        and not stored.has(place=place, share=share, name=entrant.name, seed=seed)
    ]


def _seconds(name: str, session: Session, jobs: list[Job]) -> float:
    """CPU seconds at most: were the whole budget spent on gradients, and none known before."""
    row, gradient = row_seconds(session)
    rows = sum(share * session.space.size for _, share, _ in jobs)
    return seconds_to_load(name, session, row) + rows / session.space.gradient_price * gradient


def about(session: Session, table: Table) -> dict[str, Any]:
    """A space, and what there is to win in it."""
    codec = session.model.codec
    return {
        "task": session.task.name,
        "model": session.model.info.name,
        "template": session.template.source,
        "length": session.space.length,
        "words": [codec.piece([int(token)]).strip() for token in session.space.tokens],
        "prompts": len(table.whole),
        "unwritable": int(np.isnan(table.whole).sum()),
        "optimum": table.scale.optimum,
        "random": table.scale.random,
        "best": [table.scale.regret(loss) for loss in np.sort(table.whole)[:BEST].tolist()],
        "gradient_price": session.space.gradient_price,
        "table_cpu_seconds": table.cpu_seconds,
    }


def searched(
    objective: TableObjective, entrant: Entrant, budget: float, seed: int
) -> dict[str, Any]:
    """One search of the product's own study: its curve, and where it ended."""
    space = objective.space_of(budget * entrant.times)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder, _ledger(folder) as ledger:
        study = Study(objective, entrant.make(), space, ledger, budget=space.budget, seed=seed)
        ended = study.run()
    ranking = study.ranking(1)
    loss = ranking[0].loss if ranking else objective.table.scale.random
    return {
        "name": entrant.name,
        "seed": seed,
        "budget": space.budget,
        "spent": study.spent,
        "ended": ended,
        "regret": objective.table.scale.regret(loss),
        "curve": [list(point) for point in study.curve],
        "cpu_seconds": time.process_time() - began,
    }


def _ledger(folder: str) -> Ledger:
    return Ledger.create(Path(folder) / "ledger.db", {})
