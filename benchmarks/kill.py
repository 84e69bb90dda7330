"""Kills searches at random moments, resumes them, and compares with undisturbed ones.

    python -m benchmarks.kill --moments 10 --out benchmarks/kill

For each strategy one undisturbed search; then searches of their own that are killed (`kill -9`)
at moments drawn uniformly over its time, one at least in each phase (loading, search, report),
and resumed. `results.json` must be equal but for `timing`, `run`; no recorded piece may be
measured again. The task is the beginning of the built-in one, so that most of the time is not
spent on its test rows. Writes a Markdown table; ends with exit code 1 when something differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from hardprompt.ledger import Ledger
from hardprompt.registry import strategy_names
from hardprompt.tasks import load_task

PHASES = ("loading", "search", "report", "ended")
ROWS = {"train": 32, "dev": 32, "test": 64}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--strategies", nargs="+", default=strategy_names())
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def write_task(folder: Path) -> None:
    """A folder task of a few rows of each split of the built-in `sentiment`."""
    task = load_task("sentiment")
    for name, rows in (("train", task.search), ("dev", task.dev), ("test", task.test)):
        lines = [
            json.dumps({"text": row.text, "label": task.labels[row.label].name}) + "\n"
            for row in rows[: ROWS[name]]
        ]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf8")


def command(task: Path, root: Path, strategy: str) -> list[str]:
    return [
        *(sys.executable, "-m", "hardprompt", "search", "--output-dir", str(root), "--json"),
        *("--task", str(task), "--strategy", strategy, "--len", "2", "--vocab-top", "9"),
        *("--budget", "81", "--seed", "1"),
    ]


def run(arguments: list[str], seconds: float | None = None) -> None:
    """Runs to the end, or kills after so many seconds."""
    child = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.communicate()
        return
    if child.returncode:
        raise SystemExit(errors.decode())


def content(root: Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Results without what may differ, their timing, and the number of recorded pieces."""
    (folder,) = (path.parent for path in root.glob("*/results.json"))
    results = json.loads((folder / "results.json").read_text(encoding="utf8"))
    timing = results.pop("timing")
    results.pop("run")
    return results, timing, n_pieces(root)


def n_pieces(root: Path) -> int:
    files = list(root.glob("*/ledger.db"))
    if not files:
        return 0
    with Ledger.read(files[0]) as ledger:
        return ledger.n_pieces()


def moments(timing: dict[str, Any], whole: float, n: int, rng: np.random.Generator) -> list[float]:
    """Seconds from the start of the process; the first three lie in the three phases."""
    before = whole - timing["total"]  # the interpreter and its imports
    marks = [0.0, before + timing["prepared"], before + timing["searched"], whole]
    first = [rng.uniform(a, b) for a, b in itertools.pairwise(marks)]
    return [*first, *rng.uniform(0, whole, size=max(0, n - 3))][:n]


@dataclass(frozen=True)
class Survival:
    """What became of the searches of one strategy that were killed."""

    strategy: str
    moments: int
    equal: int = 0  # ended as the undisturbed one
    repeated: int = 0  # recorded pieces that were measured again
    phases: Counter[str] = field(default_factory=Counter)  # in which they were killed

    @property
    def whole(self) -> bool:
        return self.equal == self.moments and not self.repeated

    def row(self) -> str:
        where = ", ".join(f"{self.phases[phase]} {phase}" for phase in PHASES)
        return f"| {self.strategy} | {self.equal} of {self.moments} | {self.repeated} | {where} |"


def main() -> None:
    args = arguments()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write_task(Path(folder))
        found = []
        for name in args.strategies:
            found.append(survival(Path(folder), name, args.moments, rng))
            print(found[-1].row(), flush=True)
    args.out.with_suffix(".md").write_text(table(args, found), encoding="utf8")
    raise SystemExit(not all(one.whole for one in found))


def survival(task: Path, strategy: str, n: int, rng: np.random.Generator) -> Survival:
    """One undisturbed search, and n that are killed and resumed."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run(command(task, Path(folder), strategy))
        whole = time.monotonic() - began
        expected, timing, pieces = content(Path(folder))
    equal, repeated, phases = 0, 0, Counter[str]()
    for moment in moments(timing, whole, n, rng):
        with tempfile.TemporaryDirectory() as folder:
            phase, again = killed(command(task, Path(folder), strategy), Path(folder), moment)
            found, _, now = content(Path(folder))
        phases[phase] += 1
        repeated += again
        equal += found == expected and now == pieces
    return Survival(strategy, n, equal, repeated, phases)


def killed(arguments: list[str], root: Path, moment: float) -> tuple[str, int]:
    """Kills a search at this moment and brings it to its end.

    Returns the phase in which it was hit, and how many recorded pieces were measured again.
    """
    run(arguments, moment)
    if list(root.glob("*/results.json")):
        return "ended", 0
    recorded = n_pieces(root)
    if not list(root.glob("*/run.json")):
        run(arguments)  # killed before there was a run
        return "loading", 0
    run([*arguments, "--resume"])
    _, timing, whole = content(root)
    phase = "loading" if not recorded else "report" if recorded == whole else "search"
    return phase, recorded - timing["pieces_replayed"]


def table(args: argparse.Namespace, found: list[Survival]) -> str:
    """A Markdown table with the command that makes it."""
    command = f"python -m benchmarks.kill --moments {args.moments}"
    command += f" --strategies {' '.join(args.strategies)}"
    lines = [
        "# Searches killed at random moments and resumed",
        "",
        f"`{command} --out {args.out}`",
        "",
        f"{args.moments} moments a strategy, drawn uniformly over an undisturbed search, at least "
        "one in each phase (loading with the baselines, search, report). Equal: `results.json` but "
        "for `timing` and `run`, and the number of recorded pieces.",
        "",
        "| strategy | equal | pieces measured again | killed while |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(one.row() for one in found)]) + "\n"


if __name__ == "__main__":
    script.run(main)
