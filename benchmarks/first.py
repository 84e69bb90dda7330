"""All strategies at equal budget beside the manual prompts.

    python benchmarks/first.py --task ../shared/data/tasks/sst2 --out benchmarks/first

By default strategies start from random prompts, not from the manual ones, so that they are
compared and not their starts. The best prompt by dev is measured on test. Writes a JSON file and
a Markdown table; a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt import runs
from hardprompt.config import RunConfig
from hardprompt.search import Search
from hardprompt.session import Session

# Not `auto`, which is `swap` in a space of this size, nor `exhaustive`, which would never end.
STRATEGIES = ("random", "beam", "evolution", "swap", "optuna", "relax")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sentiment")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--template")
    parser.add_argument("--len", type=int, default=5)
    parser.add_argument("--budget", type=float, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--start", default="random")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def one(args: argparse.Namespace, strategy: str, seed: int) -> dict[str, Any]:
    """One search with its best prompt and the baselines."""
    config = RunConfig(
        task=args.task,
        model=args.model,
        template=args.template,
        length=args.len,
        strategy=strategy,
        budget=args.budget,
        seed=seed,
        start=(args.start,),
    )
    began = time.process_time()
    session = Session.prepare(config)
    folder = runs.create(Path("runs/benchmarks"), config)
    results = Search(session, folder).run()
    best, baselines = results["best"][0], results["baselines"]
    manual = max(baselines["manual"], key=lambda entry: (entry["dev"], -entry["search"]))
    return {
        "strategy": strategy,
        "seed": seed,
        "budget": session.budget,
        "cpu_seconds": time.process_time() - began,
        "best": best,
        "empty": baselines["empty"],
        "manual": manual,
    }


def main() -> None:
    args = arguments()
    file = args.out.with_suffix(".json")
    options = {key: str(value) for key, value in vars(args).items() if key != "out"}
    done: list[dict[str, Any]] = []
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf8"))
        done = stored["runs"] if stored["options"] == options else []
    known = {(run["strategy"], run["seed"]) for run in done}
    for seed in range(args.seeds):
        for strategy in args.strategies:
            if (strategy, seed) in known:
                continue
            done.append(one(args, strategy, seed))
            content = {"options": options, "runs": done}
            file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf8")
            print(strategy, seed, done[-1]["best"]["search"], done[-1]["best"]["text"], flush=True)
    args.out.with_suffix(".md").write_text(table(args, done), encoding="utf8")


def table(args: argparse.Namespace, done: list[dict[str, Any]]) -> str:
    """A Markdown table with the command that makes it and what it cost."""
    command = f"python benchmarks/first.py --task {args.task} --budget {args.budget:g}"
    command += f" --template {args.template}" if args.template else ""
    hours = sum(run["cpu_seconds"] for run in done) / 3600
    lines = [
        f"# All strategies on {Path(args.task).name} at a budget of {args.budget:g} prompts",
        "",
        f"`{command} --start {args.start} --seeds {args.seeds} --out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens; mean of {args.seeds} seeds, in brackets the "
        f"range; {hours:.2f} CPU hours. `exhaustive` is not in the table: a space of this size is "
        "beyond any budget.",
        "",
        "| strategy | search loss | dev | test | CPU s | best prompt of seed 0 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for strategy in args.strategies:
        mine = [run for run in done if run["strategy"] == strategy]
        cells = [_spread([run["best"][key] for run in mine]) for key in ("search", "dev", "test")]
        cpu = np.mean([run["cpu_seconds"] for run in mine])
        text = mine[0]["best"]["text"]
        lines.append(f"| {strategy} | {' | '.join(cells)} | {cpu:.0f} | {text} |")
    for name, title in (("empty", "no prompt"), ("manual", "best manual prompt by dev")):
        entry = done[0][name]
        figures = " | ".join(f"{entry[key]:.3f}" for key in ("search", "dev", "test"))
        lines.append(f"| {title} | {figures} | - | {entry['text']} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
