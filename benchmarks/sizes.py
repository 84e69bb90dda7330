"""The metric against the prompt's length and the model's size, on three sizes of `mini`'s recipe.

    python -m benchmarks.sizes --models sizes/0.4M sizes/1M sizes/3M --out benchmarks/sizes

The models are trained by `tools/train_mini.py` with the shapes that docs/models.md gives; they are
not shipped. The embedded model is the fourth. Writes the sweep's JSON, its two plots, and the table
with the command; a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import script
from hardprompt import runs
from hardprompt.config import RunConfig
from hardprompt.report.sweep import sweep_report
from hardprompt.sweep.config import SweepConfig
from hardprompt.sweep.folder import SweepFolder
from hardprompt.sweep.run import PLOTS, RESULTS, Sweep

ROOT = Path("runs/benchmarks/sizes")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="folders, smallest first")
    parser.add_argument("--task", default="sentiment")
    parser.add_argument("--template", default="suffix")
    parser.add_argument("--len", nargs="+", type=int, default=[1, 2, 3, 5, 10, 20])
    parser.add_argument(
        "--methods", nargs="+", default=["search", "prompt-tuning", "manual", "none"]
    )
    parser.add_argument("--budget", type=float, default=400, help="prompts a method and length")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def sweep_of(args: argparse.Namespace) -> Sweep:
    """The sweep with these options: one that was begun, else a new one."""
    search = RunConfig(task=args.task, template=args.template, budget=args.budget)
    models = [*args.models, "mini"]
    config = SweepConfig.of(search, models, args.len, args.methods, args.seeds)
    for folder in sorted(ROOT.glob("sweep__*")):
        if SweepConfig.read(folder) == config:
            return Sweep(config, SweepFolder(folder, config), on_method=_say)
    return Sweep(config, on_method=_say)


def write(args: argparse.Namespace, work: Sweep, results: dict[str, Any]) -> None:
    """The results beside the script, with models called by their folder's name alone."""
    assert work.folder is not None
    records = [runs.read_json(path) for path in work.folder.path.glob("*/*__seed*.json")]
    # What was fitted once stands in the comparison of every length.
    own = [record for record in records if "fitted_at_length" not in record]
    hours = sum(record.get("cpu_seconds", 0) for record in own)
    for model in results["models"]:
        model["name"] = Path(model["name"]).name
    for part in results["parts"]:
        part["model"] = Path(part["model"]).name
    runs.write_json(args.out.with_suffix(".json"), results)
    for name, plot in PLOTS.items():
        drawn = plot(results)
        if drawn is not None:
            runs.write_text(args.out.with_name(f"{args.out.name}-{name}"), drawn)
    runs.write_text(args.out.with_suffix(".md"), _page(args, results, hours / 3600))


def _page(args: argparse.Namespace, results: dict[str, Any], hours: float) -> str:
    rows = results["task"]["rows"]
    tables, _, _ = sweep_report(results).rpartition("\nFiles:")
    return "\n".join(
        [
            f"# Length and size on {results['task']['name']}",
            "",
            f"`python -m benchmarks.sizes --models {' '.join(args.models)} --task {args.task} "
            f"--template {args.template} --len {' '.join(map(str, args.len))} "
            f"--methods {' '.join(args.methods)} --budget {args.budget:g} "
            f"--seeds {' '.join(map(str, args.seeds))} --out {args.out}`",
            "",
            f"Template `{results['template']}`; rows: search {rows['search']}, dev {rows['dev']}, "
            f"test {rows['test']}; {args.budget:g} prompts a method, length and seed; "
            f"{hours:.2f} CPU hours to fit.",
            "",
            f"![{results['metric']} against length]({args.out.name}-length.svg)",
            "",
            f"![{results['metric']} against size]({args.out.name}-size.svg)",
            "",
            "```",
            tables.strip(),
            "```",
            "",
        ]
    )


def _say(name: str, seed: int, budget: float) -> None:
    print(name, f"seed {seed}", flush=True)


def main() -> None:
    args = arguments()
    work = sweep_of(args)
    results = work.run(ROOT)
    print(f"{work.folder.path if work.folder else ''}/{RESULTS}")
    write(args, work, results)


if __name__ == "__main__":
    script.run(main)
