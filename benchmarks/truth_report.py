"""Tables and curves of what strategies left of the way to the optimum."""

from __future__ import annotations

import argparse
import shlex

import numpy as np

from benchmarks.curves import curve, curves, panel
from benchmarks.entrants import EXCLUDED
from benchmarks.regret import paired, quartiles, regrets
from benchmarks.rerun import Runs
from hardprompt.gap import Range
from hardprompt.report.plot import Panel

POINTS = 80  # of a curve
RIVAL = "auto"
HIT = 1e-6  # regret below which the optimum was found


def write(args: argparse.Namespace, stored: Runs, names: list[str]) -> None:
    """Markdown and a drawing beside the JSON file."""
    svg = args.out.with_suffix(".svg")
    svg.write_text(curves([_panel(args, stored, names, p) for p in args.places]), encoding="utf8")
    lines = [*_head(args, stored), f"![regret over the budget]({svg.name})", ""]
    for place in args.places:
        lines += _section(args, stored, names, place)
    args.out.with_suffix(".md").write_text("\n".join(lines), encoding="utf8")


def _head(args: argparse.Namespace, stored: Runs) -> list[str]:
    tables = sum(about["table_cpu_seconds"] for about in stored.about.values()) / 3600
    price = next(iter(stored.about.values()))["gradient_price"]
    left_out = "; ".join(f"`{name}` takes no part: {why}" for name, why in EXCLUDED.items())
    some = f" --strategies {shlex.join(args.strategies)}" if args.strategies else ""
    command = f"python -m benchmarks.strategies truth --seeds {args.seeds} --out {args.out}{some}"
    return [
        "# Strategies in spaces whose optimum is known",
        "",
        f"`{command}`",
        "",
        f"Every prompt of each space was measured on {stored.options['rows']} search rows in "
        f"float32, and strategies look losses up; {tables:.2f} CPU hours for the tables, "
        f"{stored.cpu_hours():.2f} for the searches. Budgets are shares of the space, in prompts "
        f"on all rows; a gradient costs {price:g}. {args.seeds} seeds, fewer for strategies that "
        f"ask for a gradient at every step; random starts, each strategy's own settings. "
        f"{left_out}.",
        "",
        "Regret is (loss - optimum) / (median loss of all prompts - optimum): 0 is the optimum, 1 "
        "a random prompt. Medians over seeds, in brackets the quartiles; before its first whole "
        f"prompt a strategy counts as 1. `{RIVAL}` - other: mean of the paired differences at the "
        "largest budget with a 95% interval (bootstrap over seeds); above 0 the other is better.",
        "",
    ]


def _section(args: argparse.Namespace, stored: Runs, names: list[str], place: str) -> list[str]:
    about, shares = stored.about[place], sorted(args.shares)
    size = about["prompts"]
    cells = [f"regret at {share:.1%} ({share * size:.0f})" for share in shares]
    head = ["strategy", "seeds", *cells, "optimum found", f"{RIVAL} - other", "CPU s"]
    return [
        f"## {place}",
        "",
        f"Model {about['model']}, task {about['task']}, template `{about['template']}`, "
        f"{about['length']} tokens of {len(about['words'])}: {size:,} prompts, "
        f"{about['unwritable']:,} of which cannot be written. Optimum {about['optimum']:.4f}, "
        f"median {about['random']:.4f}; regrets of the best prompts of all: "
        f"{', '.join(f'{regret:.3f}' for regret in about['best'])}. "
        f"Words: {' '.join(about['words'])}.",
        "",
        f"| {' | '.join(head)} |",
        "| --- " * len(head) + "|",
        *(_line(stored, place, shares, name) for name in names),
        "",
    ]


def _line(stored: Runs, place: str, shares: list[float], name: str) -> str:
    runs = [stored.of(place=place, share=share, name=name) for share in shares]
    last = runs[-1]
    rivals = {
        run["seed"]: run["regret"] for run in stored.of(place=place, share=shares[-1], name=RIVAL)
    }
    pairs = [(rivals[run["seed"]], run["regret"]) for run in last if run["seed"] in rivals]
    gap = "-"
    if pairs and name != RIVAL:
        mean, low, high = paired(*zip(*pairs, strict=True))
        gap = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    hits = sum(run["regret"] < HIT for run in last)
    cells = [
        name,
        str(len(last)),
        *(_spread([run["regret"] for run in some]) for some in runs),
        f"{hits} of {len(last)}",
        gap,
        f"{np.mean([run['cpu_seconds'] for run in last]):.1f}" if last else "-",
    ]
    return f"| {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    low, median, high = quartiles(np.array(values))
    return f"{median:.3f} ({low:.3f}-{high:.3f})"


def _panel(args: argparse.Namespace, stored: Runs, names: list[str], place: str) -> Panel:
    about, share = stored.about[place], max(args.shares)
    budgets = np.linspace(0, round(share * about["prompts"]), POINTS + 1)[1:]
    lines = []
    for name in names:
        found = [run["curve"] for run in stored.of(place=place, share=share, name=name)]
        if found:
            scale = Range(about["optimum"], about["random"])
            values = np.array([regrets(losses, scale, budgets) for losses in found])
            lines.append(curve(name, budgets, quartiles(values)))
    return panel(place, budgets, lines)
