"""Runs of a benchmark in a JSON file, so that what is done is not done again; and their cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt import runs
from hardprompt.session import Session
from hardprompt.types import Batch

REPEATS = 5


class Runs:
    """Finished runs, written after each; `about` holds what is measured once.

    Other options than those stored begin anew. `redo` are names of strategies to run again.
    """

    def __init__(self, out: Path, options: dict[str, Any], redo: Sequence[str] = ()) -> None:
        self.file, self.options = out.with_suffix(".json"), options
        stored: dict[str, Any] = {}
        if self.file.exists():
            stored = json.loads(self.file.read_text(encoding="utf8"))
        if stored.get("options") != options:
            stored = {}
        self.about: dict[str, Any] = stored.get("about", {})
        self.done = [run for run in stored.get("runs", []) if run["name"] not in redo]

    def has(self, **key: Any) -> bool:
        return any(all(run[name] == key[name] for name in key) for run in self.done)

    def of(self, **key: Any) -> list[dict[str, Any]]:
        """Runs with these values, in the order of their seeds."""
        found = [run for run in self.done if all(run[name] == key[name] for name in key)]
        return sorted(found, key=lambda run: int(run["seed"]))

    def add(self, run: dict[str, Any]) -> None:
        self.done.append(run)
        self.write()

    def write(self) -> None:
        content = {"options": self.options, "about": self.about, "runs": self.done}
        runs.write_json(self.file, content)

    def cpu_hours(self) -> float:
        return float(sum(run["cpu_seconds"] for run in self.done)) / 3600


def row_seconds(session: Session) -> tuple[float, float]:
    """CPU seconds of one prompt on all search rows, without and with its gradient."""
    ids = session.space.random(np.random.default_rng(0), 1)
    taken = []
    for wanted in (False, True):
        batch = Batch(ids=ids, wants_gradient=wanted)
        session.objective.measure(batch)  # what is computed once
        began = time.process_time()
        for _ in range(REPEATS):
            session.objective.measure(batch)
        taken.append((time.process_time() - began) / REPEATS)
    return taken[0], taken[1]


def check_hours(seconds: float, most: float) -> None:
    """Says what a grid will cost, and ends where that is too much."""
    hours = seconds / 3600
    print(f"about {hours:.2f} CPU hours to go", flush=True)
    if hours > most:
        raise SystemExit(
            f"that is more than --hours {most:g}: fewer --seeds, --strategies, --places or splits "
            "of --task make it smaller"
        )
