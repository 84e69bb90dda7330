"""The yardstick: every strategy against the true optimum, and against the published ones.

    python -m benchmarks.strategies truth --out benchmarks/truth
    python -m benchmarks.strategies reality --task ../shared/data/tasks/sst2/16shot-* --seeds 3 \
        --out benchmarks/reality-sst2

`truth`: spaces that were measured completely (`places.py`), which strategies then look up; their
regret over the budget. `reality`: few-shot tasks in the whole vocabulary, beside the presets.
Both say first what CPU hours they will take, refuse more than `--hours`, write a JSON file and
Markdown, and go on where they were stopped; `--redo NAME` measures a strategy again that was
changed since. A strategy with settings is written `swap:width=8:replace=1`, one with four times
the budget `random*4`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from benchmarks import reality, script, truth_runs
from benchmarks.places import PLACES

if TYPE_CHECKING:
    from collections.abc import Sequence


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    truth, real = (commands.add_parser(name) for name in ("truth", "reality"))
    for command in (truth, real):
        command.add_argument("--strategies", nargs="+", help="by default all that there are")
        command.add_argument("--redo", nargs="+", default=[], help="measure these again")
        command.add_argument("--hours", type=float, default=3.0, help="CPU hours, at most")
        command.add_argument("--out", type=Path, required=True, help="without ending")
    truth.add_argument("--places", nargs="+", default=list(PLACES), choices=list(PLACES))
    truth.add_argument("--shared", type=Path, default=Path("../shared"), help="data and models")
    truth.add_argument("--shares", type=float, nargs="+", default=[0.005, 0.02])
    truth.add_argument("--seeds", type=int, default=10)
    truth.add_argument("--tables", action="store_true", help="only measure the spaces")
    real.add_argument("--task", nargs="+", required=True, help="splits of one task")
    real.add_argument("--model", default="mini")
    real.add_argument("--len", type=int, default=5)
    real.add_argument("--budget", type=float, default=400)
    real.add_argument("--seeds", type=int, default=1)
    return parser.parse_args(given)


def main() -> None:
    args = arguments()
    {"truth": truth_runs.run, "reality": reality.run}[args.what](args)


if __name__ == "__main__":
    script.run(main)
