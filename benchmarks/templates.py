"""The default search with the prompt before and after the text, each for about the same time.

    python benchmarks/templates.py --task sentiment --seeds 5 --out benchmarks/templates

Each template is searched with its own default budget, which is set so that the work of the model
is about the same. Writes a JSON file and a Markdown table; a benchmark that was stopped goes on
where it was.
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

TEMPLATES = ("prefix", "suffix")
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sentiment")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--len", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def searched(args: argparse.Namespace, template: str, seed: int) -> dict[str, Any]:
    """One search with its best prompt and the best manual one."""
    began = time.process_time()
    config = RunConfig(
        task=args.task, model=args.model, template=template, length=args.len, seed=seed
    )
    session = Session.prepare(config)
    results = Search(session, runs.create(Path("runs/benchmarks"), config)).run()
    manual = results["baselines"]["manual"]
    return {
        "template": template,
        "seed": seed,
        "budget": session.budget,
        "cpu_seconds": time.process_time() - began,
        "best": results["best"][0],
        "manual": max(manual, key=lambda entry: (entry["dev"], -entry["search"])),
    }


def main() -> None:
    args = arguments()
    file = args.out.with_suffix(".json")
    done: list[dict[str, Any]] = []
    if file.exists():
        done = json.loads(file.read_text(encoding="utf8"))["runs"]
    known = {(run["template"], run["seed"]) for run in done}
    for seed in range(args.seeds):
        for template in TEMPLATES:
            if (template, seed) not in known:
                done.append(searched(args, template, seed))
                file.write_text(json.dumps({"runs": done}, indent=1) + "\n", encoding="utf8")
                print(template, seed, done[-1]["best"]["dev"], done[-1]["best"]["text"], flush=True)
    args.out.with_suffix(".md").write_text(table(args, done), encoding="utf8")


def table(args: argparse.Namespace, done: list[dict[str, Any]]) -> str:
    """A Markdown table and the paired difference of dev between the templates."""
    hours = sum(run["cpu_seconds"] for run in done) / 3600
    by_template = {t: [run for run in done if run["template"] == t] for t in TEMPLATES}
    command = f"python benchmarks/templates.py --task {args.task} --seeds {args.seeds}"
    lines = [
        f"# The prompt before or after the text, on {Path(args.task).name}",
        "",
        f"`{command} --out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens, strategy auto with each template's default "
        f"budget; mean of {args.seeds} seeds; {hours:.2f} CPU hours. Best of each run by dev.",
        "",
        "| template | prompts | CPU s | search loss | dev | test | best manual, dev | test |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for template, mine in by_template.items():
        cells = [f"{_mean(run['best'][key] for run in mine):.3f}" for key in FIELDS]
        manual = mine[0]["manual"]
        lines.append(
            f"| {template} | {mine[0]['budget']:.0f} | {_mean(r['cpu_seconds'] for r in mine):.0f} "
            f"| {' | '.join(cells)} | {manual['dev']:.3f} | {manual['test']:.3f} |"
        )
    gap = [
        after["best"]["dev"] - before["best"]["dev"]
        for before, after in zip(*by_template.values(), strict=True)
    ]
    half = T_95[len(gap) - 1] * np.std(gap, ddof=1) / np.sqrt(len(gap))
    lines += [
        "",
        f"suffix - prefix on dev, paired by seed: {np.mean(gap):+.3f} +- {half:.3f} "
        "(95%, Student's t over seeds).",
    ]
    return "\n".join(lines) + "\n"


FIELDS = ("search", "dev", "test")


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
