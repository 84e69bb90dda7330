"""How near a search came to the best there is: every prompt of its space, measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hardprompt import runs
from hardprompt.errors import UsageError
from hardprompt.evaluation import Records
from hardprompt.judge import rounded
from hardprompt.ledger import Ledger
from hardprompt.session import Session
from hardprompt.space import SearchSpace
from hardprompt.strategies.exhaustive import every_prompt
from hardprompt.types import Batch, FloatArray, IntArray

SCHEMA = "hardprompt.gap/1"
CHUNK = 256  # prompts between two records


@dataclass(frozen=True)
class Range:
    """What there is to win in a space: its best loss, and that of a prompt drawn at random."""

    optimum: float
    random: float  # the median of all prompts

    @classmethod
    def of(cls, losses: FloatArray) -> Range:
        """`(n,)` of every prompt of a space, NaN where it cannot be written."""
        return cls(float(np.nanmin(losses)), float(np.nanmedian(losses)))

    def regret(self, loss: float) -> float:
        """A loss in shares of the range: 0 is the optimum, 1 what a random prompt has. Where that
        is an optimum too, any worse loss is infinitely far."""
        width, lost = self.random - self.optimum, loss - self.optimum
        if width > 0:
            return lost / width
        return np.inf if lost > 0 else 0.0


def gap_run(
    folder: Path,
    results: dict[str, Any],
    most: int,
    on_chunk: Callable[[int, int], None] = lambda done, n: None,
) -> dict[str, Any]:
    """The best prompt of a finished run beside all prompts of its space, as JSON.

    Every prompt is measured on all search rows, and kept in the run's ledger: to ask again, or
    after an interruption, costs only what is missing.
    """
    session = Session.prepare(runs.read_config(folder))
    _check_size(session.space, most)
    with Ledger.open(folder / runs.LEDGER) as ledger:
        ledger.check(session.header())
        rows, losses = measure_space(session, ledger, on_chunk)
    return _compared(session, results, rows, losses)


def measure_space(
    session: Session, records: Records, on_chunk: Callable[[int, int], None]
) -> tuple[IntArray, FloatArray]:
    """`(n, length)` every prompt and `(n,)` its loss, that of its fluency included where this has
    a weight; NaN where it cannot be written."""
    rows = np.array(list(every_prompt(session.space)))
    # What is reported is exact, whatever the search itself ran in.
    objective = replace(session, screened=False).objective
    losses = []
    for start in range(0, len(rows), CHUNK):
        known = records.get("space", str(start))
        if known is None:
            known = {"loss": objective.measure(Batch(ids=rows[start : start + CHUNK])).loss}
            records.put("space", str(start), known)
        losses.append(known["loss"])
        on_chunk(min(start + CHUNK, len(rows)), len(rows))
    return rows, np.concatenate(losses)


def _check_size(space: SearchSpace, most: int) -> None:
    size, v = space.size, len(space.tokens)
    if size <= most:
        return
    lengths = [length for length in range(1, space.length) if _size(space, length) <= most]
    v_fitting = space.fitting(most)
    ways = [
        *([f"--vocab-top {v_fitting}"] if v_fitting > 1 else []),
        *([f"--len {lengths[-1]}"] if lengths else []),
    ]
    fits = f". A search with {' or '.join(ways)} fits" if ways else ""
    many = f"{size:,.0f}" if size < 1e9 else space.size_text
    raise UsageError(
        f"the space of this run, {v:,} tokens and length {space.length}, has {many} prompts; "
        f"gap measures at most {most:,} (--most){fits}"
    )


def _size(space: SearchSpace, length: int) -> int:
    """How many prompts there would be of another `--len`."""
    shortest = None if space.min_length is None else min(space.min_length, length)
    return replace(space, slots=(length,), min_length=shortest).size


def _compared(
    session: Session, results: dict[str, Any], rows: IntArray, losses: FloatArray
) -> dict[str, Any]:
    found = [entry for entry in results["best"] if entry["source"] == "search"]
    written = np.isfinite(losses)
    if not found or not written.any():
        raise UsageError("no prompt of this space was measured, so there is no gap to speak of")

    def whole_loss(entry: dict[str, Any]) -> float:
        here = (rows == session.space.join([slot["ids"] for slot in entry["slots"]])).all(axis=1)
        if here.any():
            return float(losses[here][0])
        # A seed of other words is not in the space: it keeps the figures that were reported.
        return float(entry["search"]) - session.fluency_weight * (entry["fluency"] or 0.0)

    loss, entry = min(((whole_loss(entry), entry) for entry in found), key=lambda pair: pair[0])
    scale = Range.of(losses)
    best = int(np.nanargmin(losses))
    renderer = session.scorers["search"].renderer
    text = session.template.show(renderer.prompt_texts(rows[best], session.space.slots))
    by_luck = _best_of(losses[written], results["measured"])
    return {
        "schema": SCHEMA,
        "run": results["run"],
        "objective": session.loss.name,
        "fluency_weight": session.fluency_weight,
        "rows": session.space.n_examples,
        "prompts": len(rows),
        "unwritable": int((~written).sum()),
        "measured": results["measured"],
        "optimum": {"text": text, "loss": rounded(scale.optimum)},
        "random": rounded(scale.random),
        "found": {
            "text": entry["text"],
            "loss": rounded(loss),
            "rank": int((losses[written] < loss).sum()) + 1,
            "regret": rounded(scale.regret(loss)),
        },
        "by_luck": {"loss": rounded(by_luck), "regret": rounded(scale.regret(by_luck))},
    }


def _best_of(losses: FloatArray, n: float) -> float:
    """The median of the best of n random prompts: the loss that all n miss every other time."""
    share = 1 - 0.5 ** (1 / max(n, 1))
    ordered = np.sort(losses)
    return float(ordered[min(int(share * len(ordered)), len(ordered) - 1)])
