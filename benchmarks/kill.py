"""Kills searches at random moments, resumes them, and compares with undisturbed ones.

    python benchmarks/kill.py --moments 10

For each strategy one undisturbed search; then searches of their own that are killed (`kill -9`)
at moments drawn uniformly over its time, one at least in each phase (loading, search, report),
and resumed. `results.json` must be equal but for `timing`, `run`; no recorded piece may be
measured again. Ends with exit code 1 when something differs.
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
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt.ledger import Ledger

STRATEGIES = ("random", "exhaustive", "beam", "evolution", "swap", "optuna", "relax")


def command(root: Path, strategy: str) -> list[str]:
    return [
        *(sys.executable, "-m", "hardprompt", "search", "--output-dir", str(root), "--json"),
        *("--strategy", strategy, "--len", "2", "--vocab-top", "9", "--budget", "81"),
        *("--search-rows", "32", "--seed", "1"),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    failed = False
    for strategy in args.strategies:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            run(command(Path(folder), strategy))
            whole = time.monotonic() - began
            expected, timing, pieces = content(Path(folder))
        good, again = 0, 0
        for moment in moments(timing, whole, args.moments, rng):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                run(command(root, strategy), moment)
                recorded, finished = n_pieces(root), list(root.glob("*/results.json"))
                if not list(root.glob("*/run.json")):
                    run(command(root, strategy))  # killed before there was a run
                elif not finished:
                    run([*command(root, strategy), "--resume"])
                found, after, now = content(root)
                good += found == expected and now == pieces
                if not finished:
                    again += recorded - after["pieces_replayed"]
        print(f"{strategy}: {good} of {args.moments} equal, {whole:.1f} s undisturbed", flush=True)
        failed = failed or good < args.moments or again > 0
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
