"""A table of few-shot searches, and whether `auto` is better than each published one."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import numpy as np

from benchmarks.regret import sign_test
from benchmarks.rerun import Runs
from hardprompt.metrics import metric_named, paired_gain
from hardprompt.report.text import gain
from hardprompt.types import BoolArray

RIVAL = "auto"
TEXT = 60  # characters of a prompt in the table
Found = list[dict[str, Any]]


def write(args: argparse.Namespace, stored: Runs, names: list[str]) -> None:
    """Markdown beside the JSON file."""
    found = {name: stored.of(name=name) for name in names}
    lines = [*_head(args, stored), *_table(stored, found), "", *_checks(stored, found), ""]
    args.out.with_suffix(".md").write_text("\n".join(lines), encoding="utf8")


def better(found: dict[str, Found]) -> dict[str, Found]:
    """Of the two ways of a preset, as published and scaled, the one of the lower mean loss."""
    ways: dict[str, list[str]] = {}
    for name in found:
        ways.setdefault(name.split(" (")[0], []).append(name)
    return {
        name: found[name]
        for several in ways.values()
        for name in [min(several, key=lambda one: _mean(found[one], "loss"))]
    }


def compared(first: Found, second: Found) -> tuple[int, int, list[tuple[Any, Any]]]:
    """In how many of the pairs of split and seed the first has the lower loss; the pairs."""
    there = {(run["split"], run["seed"]): run for run in second}
    keys = [(run["split"], run["seed"]) for run in first]
    pairs = [(run, there[key]) for run, key in zip(first, keys, strict=True) if key in there]
    return sum(a["loss"] < b["loss"] for a, b in pairs), len(pairs), pairs


def _head(args: argparse.Namespace, stored: Runs) -> list[str]:
    task, price = stored.about["task"], stored.about["gradient_price"]
    options = {"--budget": f"{args.budget:g}", "--seeds": args.seeds, "--out": args.out}
    given = [str(part) for option in options.items() for part in option]
    some = ["--strategies", *args.strategies] if args.strategies else []
    command = shlex.join(["--task", *args.task, *given, *some])
    labels = ", ".join(f"{name} = {word}" for name, word in task["labels"].items())
    rows = ", ".join(f"{split} {n}" for split, n in task["rows"].items())
    return [
        f"# Strategies on {len(task['splits'])} few-shot splits",
        "",
        f"`python -m benchmarks.strategies reality {command}`",
        "",
        f"Model {args.model}, template `{task['template']}`, {args.len} tokens of "
        f"{task['tokens']:,}, labels {labels}; rows: {rows}. Budget {args.budget:g} prompts on all "
        f"search rows; a prompt with its gradient costs {price:g}, as measured "
        f"here; `random*4` has four times the budget. Splits {', '.join(task['splits'])}, "
        f"{args.seeds} seeds, random starts, float32; {stored.cpu_hours():.2f} CPU hours.",
        "",
        "Search loss: the lowest that was found. Of its ten best prompts the best on dev is "
        "measured on test. Figures are means over splits and seeds, in brackets the range. A "
        "preset runs with its published settings until the budget ends, and with its schedule "
        "scaled to the budget; the better one by mean search loss is compared. All minimise the "
        "mean negative log-likelihood at this length, whatever else a publication says.",
        "",
    ]


def _table(stored: Runs, found: dict[str, Found]) -> list[str]:
    lines = [
        "| strategy | runs | search loss | dev | test | CPU s | a prompt |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in found.items():
        if runs:
            figures = [_spread(runs, key) for key in ("loss", "dev", "test")]
            text = runs[0]["text"].replace("|", "\\|")
            text = text if len(text) <= TEXT else f"{text[: TEXT - 3]}..."
            seconds = f"{_mean(runs, 'cpu_seconds'):.0f}"
            cells = [name, str(len(runs)), *figures, seconds, text]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _checks(stored: Runs, found: dict[str, Found]) -> list[str]:
    found = {name: runs for name, runs in found.items() if runs}
    if RIVAL not in found:
        return []
    lines = [
        f"| {RIVAL} against | lower search loss | sign test p | test, paired [95%] |",
        "| --- | --- | --- | --- |",
    ]
    n_test = stored.about["task"]["rows"]["test"]
    for name, runs in better(found).items():
        wins, n, pairs = compared(found[RIVAL], runs)
        if name != RIVAL and pairs:
            cells = [name, f"{wins} of {n}", f"{sign_test(wins, n):.3f}", _test_gain(pairs, n_test)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _test_gain(pairs: list[tuple[Any, Any]], n_test: int) -> str:
    """Difference of the mean test accuracies with its interval over test rows."""
    own, other = (
        np.array([_hits(pair[side]["hits"], n_test) for pair in pairs]).astype(np.int64)
        for side in (0, 1)
    )
    right = np.ones(n_test, dtype=np.int64)
    mean, low, high = paired_gain(metric_named("accuracy"), right, own, other, 2)
    return gain(mean, (low, high))


def _hits(packed: str, n: int) -> BoolArray:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), dtype=np.uint8), count=n)
    return bits.astype(bool)


def _mean(runs: Found, key: str) -> float:
    return float(np.mean([run[key] for run in runs]))


def _spread(runs: Found, key: str) -> str:
    values = [run[key] for run in runs]
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"
