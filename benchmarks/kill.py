"""Kills searches at random moments, resumes them, and compares with undisturbed ones.

    python benchmarks/kill.py --moments 10

For each strategy one undisturbed search; then searches of their own that are killed (`kill -9`)
at moments drawn uniformly over its time, one at least in each phase (loading, search, report),
and resumed. `results.json` must be equal but for `timing`, `run`; no recorded piece may be
measured again. The task is the beginning of the built-in one, so that most of the time is not
spent on its test rows. Ends with exit code 1 when something differs.
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
from hardprompt.tasks import load_task

PHASES = ("loading", "search", "report", "ended")
ROWS = {"train": 32, "dev": 32, "test": 64}
STRATEGIES = ("random", "exhaustive", "beam", "evolution", "swap", "optuna", "relax")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write_task(Path(folder))
        failed = [not survives(Path(folder), name, args.moments, rng) for name in args.strategies]
    raise SystemExit(any(failed))


def survives(task: Path, strategy: str, n: int, rng: np.random.Generator) -> bool:
    """Whether a search killed at each of n moments ends like an undisturbed one."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        run(command(task, Path(folder), strategy))
        whole = time.monotonic() - began
        expected, timing, pieces = content(Path(folder))
    good, again, phases = 0, 0, dict.fromkeys(PHASES, 0)
    for moment in moments(timing, whole, n, rng):
        with tempfile.TemporaryDirectory() as folder:
            phase, repeated = killed(command(task, Path(folder), strategy), Path(folder), moment)
            found, _, now = content(Path(folder))
        phases[phase] += 1
        again += repeated
        good += found == expected and now == pieces
    where = ", ".join(f"{count} {phase}" for phase, count in phases.items())
    print(
        f"{strategy}: {good} of {n} equal, {again} recorded pieces measured again; "
        f"killed: {where}; {whole:.1f} s undisturbed",
        flush=True,
    )
    return good == n and not again


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


if __name__ == "__main__":
    main()
