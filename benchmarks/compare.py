"""Every method of `hardprompt compare` at equal cost, over tasks or splits of one.

    python -m benchmarks.compare --task sentiment --out benchmarks/compare-sentiment
    python -m benchmarks.compare --task ../shared/data/tasks/sst2/16shot-* --budget 250 \
        --out benchmarks/compare-sst2-16shot

Several tasks must share their test rows, as splits of one task do: figures are means over them,
and intervals are of these means. Writes a JSON file and a Markdown table; a benchmark that was
stopped goes on where it was, between methods and inside a search.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from hardprompt import runs
from hardprompt.baselines.table import DEFAULT
from hardprompt.compare import CompareConfig, Comparison
from hardprompt.config import RunConfig
from hardprompt.report.text import gain
from hardprompt.session import Session
from hardprompt.standings import assemble
from hardprompt.types import Batch

ROOT = Path("runs/benchmarks")
REPEATS = 5
TEXT = 60  # characters of a prompt in the table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", default=["sentiment"])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--template")
    parser.add_argument("--len", type=int, default=5)
    parser.add_argument("--budget", type=float, help="prompts; by default that of search")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=list(DEFAULT))
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def folders(args: argparse.Namespace) -> dict[str, Path]:
    """A comparison's folder for each task: those of an earlier start, else new ones."""
    file = args.out.with_suffix(".json")
    options = {key: str(value) for key, value in vars(args).items() if key != "out"}
    stored = json.loads(file.read_text(encoding="utf8")) if file.exists() else {}
    known = stored.get("folders", {}) if stored.get("options") == options else {}
    found: dict[str, Path] = {}
    for task in args.task:
        search = RunConfig(
            task=task, model=args.model, template=args.template, length=args.len, budget=args.budget
        )
        config = CompareConfig.of(search, args.methods, args.seeds)
        there = task in known and (Path(known[task]) / runs.COMPARE).exists()
        found[task] = Path(known[task]) if there else config.create(ROOT)
    content = {"folders": {task: str(path) for task, path in found.items()}, "options": options}
    runs.write_json(file, stored | content if known else content)
    return found


def run(task: str, folder: Path) -> tuple[Session, dict[str, list[dict[str, Any]]]]:
    """One comparison to its end, and its records: method -> one of each seed."""
    config = CompareConfig.read(folder)
    session = Comparison.prepare(config)
    work = Comparison(
        config,
        folder,
        session,
        on_method=lambda name, seed, budget: print(task, name, f"seed {seed}", flush=True),
    )
    work.run()
    return session, {
        name: [runs.read_json(folder / f"{name}__seed{seed}.json") for seed in config.seeds]
        for name in config.methods
    }


def measured_price(session: Session) -> float:
    """CPU time of one prompt on the search rows with its gradient, over that without one."""
    ids = session.space.random(np.random.default_rng(0), 1)
    taken: list[float] = []
    for wanted in (False, True):
        batch = Batch(ids=ids, wants_gradient=wanted)
        session.objective.measure(batch)  # what is computed once
        began = time.process_time()
        for _ in range(REPEATS):
            session.objective.measure(batch)
        taken.append(time.process_time() - began)
    return taken[1] / taken[0]


def main() -> None:
    args = arguments()
    found = {task: run(task, folder) for task, folder in folders(args).items()}
    sessions = [session for session, _ in found.values()]
    if any(session.task.test != sessions[0].task.test for session in sessions):
        raise SystemExit("the tasks do not share their test rows; give them one at a time")
    records: dict[str, list[dict[str, Any]]] = {}
    for _, own in found.values():
        for name, several in own.items():
            records.setdefault(name, []).extend(several)
    results = assemble(sessions[0], args.seeds, records, args.out)
    results["measured_gradient_price"] = round(measured_price(sessions[0]), 2)
    file = args.out.with_suffix(".json")
    runs.write_json(file, json.loads(file.read_text(encoding="utf8")) | {"results": results})
    runs.write_text(args.out.with_suffix(".md"), table(args, results, records))


def table(args: argparse.Namespace, results: dict[str, Any], records: dict[str, Any]) -> str:
    """A Markdown table with the command that makes it and what it cost."""
    command = f"python -m benchmarks.compare --task {' '.join(args.task)}"
    command += f" --budget {args.budget:g}" if args.budget else ""
    hours = sum(r.get("cpu_seconds", 0) for several in records.values() for r in several) / 3600
    rows, budget = results["task"]["rows"], results["budget"]
    lines = [
        f"# Methods at equal cost on {results['task']['name']}"
        + (f" and {len(args.task) - 1} other splits" if len(args.task) > 1 else ""),
        "",
        f"`{command} --seeds {' '.join(map(str, args.seeds))} --out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens, template `{results['template']}`; rows: search "
        f"{rows['search']}, dev {rows['dev']}, test {rows['test']}; budget {budget['prompts']:,.0f}"
        f" prompts = {budget['rows']:,.0f} rows a method, a text read costs 1, with the gradient "
        f"of a prompt {results['gradient_price']:g} (CPU time here: "
        f"{results['measured_gradient_price']:g}), of weights {results['weights_price']:g}; "
        f"seeds {', '.join(map(str, args.seeds))}; {hours:.2f} CPU hours to fit. Figures are means "
        f"over {len(args.task) * len(args.seeds)} runs; gains are over {results['best_discrete']}, "
        "the best discrete prompt on dev, paired on test.",
        "",
        "| method | trained | of the model | stored | bytes | forward | backward | s | dev "
        "| test [95%] | over runs [95%] | gain [95%] | readable | portable | a text |",
        "| --- " * 15 + "|",
        *(_line(row) for row in results["methods"]),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    if row["skipped"]:
        return f"| {row['method']} |" + " - |" * 13 + f" {row['skipped']} |"
    (low, high), runs_interval = row["test_interval"], row["test_runs_interval"]
    text = (row["text"] or "").replace("\n", " ").replace("|", "\\|")
    cells = [
        row["method"],
        f"{row['trained']:,.0f}",
        f"{row['trained_share']:.2%}",
        *(f"{row[key]:,.0f}" for key in ("stored", "bytes", "forward", "backward", "seconds")),
        f"{row['dev']:.3f}",
        f"{row['test']:.3f} [{low:.3f}, {high:.3f}]",
        "-" if runs_interval is None else "[{:.3f}, {:.3f}]".format(*runs_interval),
        gain(row["gain"], row["gain_interval"]),
        *("yes" if row[key] else "no" for key in ("readable", "portable")),
        text if len(text) <= TEXT else f"{text[: TEXT - 3]}...",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    script.run(main)
