"""A search strategy within a comparison: its best prompt by dev, as text."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hardprompt.baselines.base import Bench, Unfit
from hardprompt.ledger import Ledger
from hardprompt.selection import diverse
from hardprompt.strategies.base import Strategy
from hardprompt.study import Progress, Study
from hardprompt.types import IntArray

LISTED = 10  # prompts that dev chooses among, as in `hardprompt search`
DEV_SHARE = 0.2  # of the budget, at most, for measuring them on dev


@dataclass(frozen=True)
class Best:
    """A prompt that a search ended with."""

    prompts: tuple[str, ...]  # the text of each slot
    ids: IntArray  # (length,)
    quality: float
    measured: float  # prompts


def best_found(bench: Bench, strategy: Strategy, label: str, rows: float) -> Best:
    """Searches for `rows` rows, dev included; goes on where an earlier, killed one stopped.

    Unlike `hardprompt search`, it never ends with a manual prompt in its place.
    """
    session = bench.session
    n_search, look = len(session.task.search), bench.judging
    listed = int(np.clip(DEV_SHARE * rows / look, 1, LISTED))
    budget = (rows - listed * look) // n_search
    if budget < 1:
        raise Unfit(f"{rows:,.0f} rows are too few to measure one prompt on search and dev")
    header = session.header() | {"method": label, "budget": budget, "listed": listed}
    before = bench.spent

    def on_piece(progress: Progress) -> None:
        bench.on_spend(before + progress.spent * n_search)

    with _ledger(bench, label, header) as ledger:
        study = Study(
            session.objective,
            strategy,
            replace(session.space, budget=budget),
            ledger,
            budget=budget,
            seed=session.config.seed,
            on_piece=on_piece,
        )
        study.run()
    gradients = study.backward * session.space.gradient_price
    bench.spend((study.spent - gradients + study.backward) * n_search, study.backward * n_search)
    renderer = session.scorers["search"].renderer
    found = []
    for item in diverse(study.ranking(), listed):
        prompts = tuple(renderer.prompt_texts(item.ids, session.space.slots))
        found.append(Best(prompts, item.ids, bench.judged(prompts), study.spent))
    if not found:
        raise Unfit(f"{rows:,.0f} rows are too few to measure one prompt that can be written out")
    return max(found, key=lambda best: best.quality)


def _ledger(bench: Bench, label: str, header: dict[str, object]) -> Ledger:
    bench.folder.mkdir(parents=True, exist_ok=True)
    path = bench.folder / f"{label}.db"
    if not path.exists():
        return Ledger.create(path, header)
    ledger = Ledger.open(path)
    ledger.check(header)
    return ledger
