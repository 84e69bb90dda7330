"""The default search with several weights of the fluency: what reads better, and what it costs.

    python -m benchmarks.fluency --out benchmarks/fluency

Of each search the best prompt that it found itself counts, by dev as in its report: manual prompts
that it lists are left out. Writes a JSON file and a Markdown table; a benchmark that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from benchmarks.rerun import Runs
from hardprompt import runs
from hardprompt.config import FLUENCY, RunConfig
from hardprompt.evaluation import Evaluator, Memory
from hardprompt.search import Search
from hardprompt.session import Session

FIGURES = {"search": 3, "fluency": 1, "dev": 3, "test": 3}  # of a prompt, and their digits


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", default=["sentiment", "topic"])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--len", type=int, default=5)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.005, FLUENCY, 0.02])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def searched(args: argparse.Namespace, task: str, weight: float, seed: int) -> dict[str, Any]:
    """One search: the best prompt that it found, and the best manual one."""
    began = time.process_time()
    config = RunConfig(task=task, model=args.model, length=args.len, seed=seed, fluency=weight)
    session = Session.prepare(config)
    results = Search(session, runs.create(Path("runs/benchmarks"), config)).run()
    best = next(entry for entry in results["best"] if entry["source"] != "manual")
    manual = max(results["baselines"]["manual"], key=lambda entry: (entry["dev"], -entry["search"]))
    evaluator = Evaluator(session, Memory())
    for entry in (best, manual):  # a report opens test for its first prompts only
        if entry["test"] is None:
            entry["test"] = evaluator.metric((entry["text"],), "test")
    return {
        "name": f"{weight:g}",
        "task": task,
        "seed": seed,
        "budget": session.budget,
        "cpu_seconds": time.process_time() - began,
        "best": {key: best[key] for key in ("text", *FIGURES)},
        "manual": {key: manual[key] for key in ("text", *FIGURES)},
    }


def main() -> None:
    args = arguments()
    stored = Runs(args.out, {"model": args.model, "len": args.len})
    for seed, task, weight in product(range(args.seeds), args.task, args.weights):
        if not stored.has(task=task, name=f"{weight:g}", seed=seed):
            run = searched(args, task, weight, seed)
            stored.add(run)
            print(task, f"{weight:g}", seed, run["best"], flush=True)
    args.out.with_suffix(".md").write_text(report(args, stored), encoding="utf8")


def report(args: argparse.Namespace, stored: Runs) -> str:
    """A Markdown table for each task."""
    lines = [
        "# The weight of the fluency",
        "",
        f"`python -m benchmarks.fluency --task {' '.join(args.task)} --seeds {args.seeds} "
        f"--out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens, the default search but for `--fluency`; "
        f"{stored.cpu_hours():.2f} CPU hours. Of each search the best prompt by dev that it found; "
        f"means of {args.seeds} seeds, in brackets the range, and the prompts.",
    ]
    for task in args.task:
        lines += ["", f"## {task}", "", *_table(args, stored, task)]
    return "\n".join(lines) + "\n"


def _table(args: argparse.Namespace, stored: Runs, task: str) -> list[str]:
    lines = [
        "| weight | search loss | fluency | dev | test | prompts |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for weight in args.weights:
        own = stored.of(task=task, name=f"{weight:g}")[: args.seeds]
        lines.append(_row(f"{weight:g}", [run["best"] for run in own]))
    return [*lines, _row("best manual", [own[0]["manual"]])]


def _row(name: str, prompts: Sequence[dict[str, Any]]) -> str:
    cells = []
    for key, digits in FIGURES.items():
        values = [prompt[key] for prompt in prompts]
        spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
        cells.append(f"{np.mean(values):.{digits}f}" + (spread if len(values) > 1 else ""))
    texts = "; ".join(prompt["text"] for prompt in prompts)
    return f"| {name} | {' | '.join(cells)} | {texts} |"


if __name__ == "__main__":
    script.run(main)
