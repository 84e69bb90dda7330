"""Ways of adapting a frozen model to table-to-text, as a lecture's table has them.

    python -m benchmarks.lecture_table --out benchmarks/lecture-table

E2E, WebNLG (seen, unseen, all by the data's own field) and DART: 300 training rows, 200 test
rows, every text metric. Writes a JSON file and a Markdown table; a benchmark that was stopped goes
on where it was, between methods and inside a search. `--task` runs some data sets alone, so that
several can run side by side; each call writes the tables of all that are finished by then, and of
those which `--out` holds already.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from hardprompt import runs
from hardprompt.compare import CompareConfig, Comparison
from hardprompt.config import RunConfig
from hardprompt.metrics.text import text_metric_named

SHARED = Path(__file__).parents[2] / "shared"
ROOT = Path("runs/benchmarks/lecture")
TRAIN, DEV, TEST, SEED = 300, 90, 200, 0
LENGTH, PREFIX_LENGTH = 5, 2  # two places of keys and values are 0.1% of the embedded model
METHODS = (
    "none", "manual", "search", "prompt-tuning", "prefix", "adapter-0.1", "adapter-3", "top-2",
    "fine-tune",
)  # fmt: skip
NAMES = {
    "fine-tune": "fine-tune", "top-2": "FT top 2", "adapter-3": "adapter 3%",
    "adapter-0.1": "adapter 0.1%", "prefix": "prefix 0.1%", "prompt-tuning": "prompt tuning",
    "search": "discrete prompt", "manual": "manual prompt", "none": "no prompt",
}  # fmt: skip
METRICS = ("bleu", "nist", "meteor", "rouge-l", "cider", "chrf", "ter", "rouge-1", "rouge-2")
# BLEU of GPT-2 Medium on the whole data (Li & Liang, 2021, tables 1 and 2), for the order alone.
PUBLISHED = {
    "e2e": {"fine-tune": 68.2, "top-2": 68.1, "adapter-3": 68.9, "adapter-0.1": 66.3,
            "prefix": 69.7},
    "webnlg": {"fine-tune": 46.5, "top-2": 36.0, "adapter-3": 54.9, "adapter-0.1": 50.2,
               "prefix": 55.1},
    "dart": {"fine-tune": 46.2, "top-2": 41.0, "adapter-3": 45.2, "adapter-0.1": 42.4,
             "prefix": 46.4},
}  # fmt: skip
TASKS = tuple(PUBLISHED)

Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--budget", type=float, default=60, help="prompts on the training rows")
    parser.add_argument("--template", default="{prompt} {source} Summary:")
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def rows_of(task: str) -> dict[str, list[Row]]:
    """The rows of each split that are used; of WebNLG as many of seen categories as of others."""
    rng = np.random.default_rng(SEED)
    found = {}
    for split, n in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        path = SHARED / "data" / "tasks" / task / f"{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]
        kinds = sorted({row.get("seen", True) for row in rows})
        parts = [[row for row in rows if row.get("seen", True) == kind] for kind in kinds]
        found[split] = [row for part in parts for row in _some(part, n // len(parts), rng)]
    return found


def _some(rows: Sequence[Row], n: int, rng: np.random.Generator) -> list[Row]:
    return [rows[i] for i in sorted(rng.choice(len(rows), size=n, replace=False))]


def task_folder(task: str) -> Path:
    """The sample as a task of its own."""
    folder = ROOT / "tasks" / task
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in rows_of(task).items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf8")
    return folder


def comparison(args: argparse.Namespace, task: str, length: int, methods: Sequence[str]) -> Path:
    """The folder of this comparison; that of an earlier call where the options are the same."""
    search = RunConfig(
        task=str(task_folder(task).resolve()),
        model=args.model,
        template=args.template,
        length=length,
        budget=args.budget,
        search_rows=TRAIN,
    )
    config = CompareConfig.of(search, list(methods), [SEED])
    root = ROOT / task
    for folder in sorted(root.glob("compare__*")):
        if CompareConfig.read(folder) == config:
            return folder
    return config.create(root)


def run(args: argparse.Namespace, task: str) -> dict[str, Row]:
    """Method -> its record, of one data set."""
    records = {}
    others = [name for name in METHODS if name != "prefix"]
    for length, methods in ((LENGTH, others), (PREFIX_LENGTH, ["prefix"])):
        folder = comparison(args, task, length, methods)
        config = CompareConfig.read(folder)
        session = Comparison.prepare(config)
        work = Comparison(
            config, folder, session, on_method=lambda name, *_: print(task, name, flush=True)
        )
        work.run()
        for name in methods:
            records[name] = runs.read_json(folder / f"{name}__seed{SEED}.json")
    return {name: records[name] for name in METHODS}


def figures(task: str, record: Row) -> dict[str, dict[str, float]]:
    """Part of the test rows -> metric -> figure."""
    rows = rows_of(task)["test"]
    parts = {"all": list(range(len(rows)))}
    if len({row.get("seen") for row in rows}) > 1:
        parts["seen"] = [i for i, row in enumerate(rows) if row["seen"]]
        parts["unseen"] = [i for i, row in enumerate(rows) if not row["seen"]]
    found = {}
    for part, numbers in parts.items():
        texts = [record["test_written"][i] for i in numbers]
        references = [rows[i]["references"] for i in numbers]
        metrics = {name: text_metric_named(name) for name in METRICS}
        found[part] = {
            name: round(metric.figure(metric.stats(texts, references)), 3)
            for name, metric in metrics.items()
        }
    return found


def summary(task: str, records: dict[str, Row]) -> dict[str, Row]:
    """What the table needs of each method."""
    kept = ("trained", "stored", "bytes", "forward", "backward", "seconds", "cpu_seconds", "text")
    return {
        name: {
            **{key: record[key] for key in kept},
            "rate": record["details"].get("rate"),
            "figures": figures(task, record),
            "samples": record["test_written"][:3],
        }
        for name, record in records.items()
    }


def main() -> None:
    args = arguments()
    for task in args.task:
        found = {"model": args.model, "budget": args.budget, "template": args.template}
        found["methods"] = summary(task, run(args, task))
        # A file for each data set: several may be run side by side.
        runs.write_json(ROOT / f"{task}.json", found)
    out = args.out.with_suffix(".json")
    results = runs.read_json(out) if out.exists() else {}
    files = {task: ROOT / f"{task}.json" for task in TASKS}
    results |= {task: runs.read_json(path) for task, path in files.items() if path.exists()}
    results = {task: results[task] for task in TASKS if task in results}
    runs.write_json(out, results)
    runs.write_text(args.out.with_suffix(".md"), report(args, results))


def report(args: argparse.Namespace, results: dict[str, Row]) -> str:
    """The tables in Markdown, with the command that makes them and what they cost."""
    hours = (
        sum(
            method["cpu_seconds"]
            for task in results.values()
            for method in task["methods"].values()
        )
        / 3600
    )
    one = next(iter(results.values()))
    lines = [
        "# Table to text: ways of adapting a frozen model",
        "",
        f"`python -m benchmarks.lecture_table --budget {one['budget']:g} --out {args.out}`",
        "",
        f"Model {one['model']}, template `{one['template']}`, {TRAIN} training, {DEV} dev and "
        f"{TEST} test rows (WebNLG: half of them of categories that training rows have), budget "
        f"{one['budget']:g} prompts x {TRAIN} rows a method; prompts of {LENGTH} tokens, a prefix "
        f"of {PREFIX_LENGTH} places; greedy decoding; seed {SEED}; {hours:.2f} CPU hours to fit. "
        "BLEU, METEOR (no WordNet), ROUGE, chrF and TER from 0 to 100; TER: lower is better. "
        "published: BLEU of GPT-2 Medium, trained on all data (Li & Liang, 2021).",
    ]
    for task, found in results.items():
        for part in next(iter(found["methods"].values()))["figures"]:
            lines += ["", f"## {task}" + ("" if part == "all" else f", {part}"), ""]
            lines += _table(task, part, found["methods"])
    return "\n".join(lines) + "\n"


def _table(task: str, part: str, methods: dict[str, Row]) -> list[str]:
    labels = [text_metric_named(name).label for name in METRICS]
    head = ["method", "trained", "stored", *labels, "published"]
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for name in reversed(METHODS):
        row = methods[name]
        known = PUBLISHED[task].get(name) if part == "all" else None
        cells = [
            NAMES[name],
            *(f"{row[size]:,.0f}" for size in ("trained", "stored")),
            *(f"{row['figures'][part][metric]:.2f}" for metric in METRICS),
            "-" if known is None else f"{known:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    script.run(main)
