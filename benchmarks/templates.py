"""The default search with the prompt before and after the text, each for about the same time.

    python -m benchmarks.templates --task sentiment --seeds 3 --out benchmarks/templates

Each template is searched with its own default budget, which is set so that the work of the model
is about the same. Writes a JSON file and a Markdown table; a benchmark that was stopped goes on
where it was.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from benchmarks.rerun import Runs
from hardprompt import runs
from hardprompt.config import RunConfig
from hardprompt.metrics.seeds import runs_interval
from hardprompt.report.text import gain
from hardprompt.search import Search
from hardprompt.session import Session

TEMPLATES = ("prefix", "suffix")


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
        task=args.task,
        model=args.model,
        template=template,
        length=args.len,
        seed=seed,
        fluency=None,
    )
    session = Session.prepare(config)
    results = Search(session, runs.create(Path("runs/benchmarks"), session.config)).run()
    manual = results["baselines"]["manual"]
    return {
        "name": template,
        "seed": seed,
        "budget": session.budget,
        "cpu_seconds": time.process_time() - began,
        "best": results["best"][0],
        "manual": max(manual, key=lambda entry: (entry["dev"], -entry["search"])),
    }


def main() -> None:
    args = arguments()
    stored = Runs(args.out, {key: getattr(args, key) for key in ("task", "model", "len")})
    for seed, template in product(range(args.seeds), TEMPLATES):
        if not stored.has(name=template, seed=seed):
            run = searched(args, template, seed)
            stored.add(run)
            print(template, seed, run["best"]["dev"], run["best"]["text"], flush=True)
    args.out.with_suffix(".md").write_text(table(args, stored), encoding="utf8")


def table(args: argparse.Namespace, stored: Runs) -> str:
    """A Markdown table and the paired difference of dev between the templates."""
    by_template = {name: stored.of(name=name)[: args.seeds] for name in TEMPLATES}
    command = f"python -m benchmarks.templates --task {args.task} --seeds {args.seeds}"
    lines = [
        f"# The prompt before or after the text, on {Path(args.task).name}",
        "",
        f"`{command} --out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens, strategy auto with each template's default "
        f"budget; mean of {args.seeds} seeds; {stored.cpu_hours():.2f} CPU hours. Best of each run "
        "by dev. Intervals over seeds are Student's, of 95%.",
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
    lines += [
        "",
        f"suffix - prefix on dev, paired by seed: {gain(_mean(gap), runs_interval(gap))}.",
    ]
    return "\n".join(lines) + "\n"


FIELDS = ("search", "dev", "test")


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


if __name__ == "__main__":
    script.run(main)
