"""How fast this machine scores prompts with a model on a task: `hardprompt bench`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from hardprompt.models.linear import linear
from hardprompt.models.load import DTYPES
from hardprompt.scoring.scorer import Scorer
from hardprompt.session import Session
from hardprompt.types import Batch, IntArray

SCHEMA = "hardprompt.bench/1"
PARENTS = 4  # prompts that extensions grow from
CPU_ROWS, GPU_ROWS = 2048, 16384  # of the matrices whose product is the peak
PRODUCTS = 10  # between two looks at the clock


@dataclass(frozen=True)
class Rate:
    """One way of asking for losses. A pair is a prompt on an example."""

    way: str
    dtype: str
    prompts: float  # a second, on all search rows
    pairs: float  # a second
    tokens: float  # of a pair that must be read for it alone
    share: float  # of the peak, by the weights that these tokens pass


def measure_speed(session: Session, seconds: float) -> dict[str, Any]:
    """Rates of new prompts, one-token extensions, single swaps and gradients, each for `seconds`;
    the peak of matrix products beside them, and what a search would take."""
    rng = np.random.default_rng(session.config.seed)
    scorers = [session.scorers["search"]]
    if session.screen is not None:
        scorers.append(session.objective.scorer)
    peaks = {s.model.info.dtype: matmul_peak(session, s, seconds) for s in scorers}
    rates = [
        _rate(session, scorer, way, ids, peaks[scorer.model.info.dtype], seconds)
        for scorer in scorers
        for way, ids in _asked(session, rng, seconds).items()
    ]
    rates.append(_gradient(session, rng, peaks, seconds))
    return {
        "schema": SCHEMA,
        "device": session.model.info.device,
        "threads": torch.get_num_threads(),
        "scoring": session.model.way,
        "rows": session.space.n_examples,
        "peaks": peaks,
        "rates": [asdict(rate) for rate in rates],
        "search": {"budget": session.budget, "seconds": session.estimate()},
    }


def matmul_peak(session: Session, scorer: Scorer, seconds: float) -> float:
    """FLOP/s of a linear layer of the model's shape, `dim` to `4 dim`: the best seen."""
    info, dim = scorer.model.info, session.space.embeddings.shape[1]
    rows = CPU_ROWS if info.device == "cpu" else GPU_ROWS
    left, right = (
        torch.randn(shape, dtype=DTYPES[info.dtype], device=info.device)
        for shape in ((rows, dim), (4 * dim, dim))
    )

    def products() -> None:
        for _ in range(PRODUCTS):
            out = linear(left, right, None)
        out[0, 0].item()  # waits for a GPU

    return float(PRODUCTS * 2 * rows * dim * 4 * dim / min(_timed(products, seconds)))


def _asked(session: Session, rng: np.random.Generator, seconds: float) -> dict[str, IntArray]:
    """Prompts as strategies ask for them, about as many as take so long."""
    space, scorer = session.space, session.scorers["search"]
    few = space.random(rng, 8)
    n = 8 * max(1, round(seconds / min(_timed(lambda: _score(scorer, few), seconds / 4))))
    extended = np.repeat(space.random(rng, PARENTS), max(1, n // PARENTS), axis=0)
    extended[:, -1] = rng.choice(space.tokens, len(extended))
    swapped = np.repeat(space.random(rng, 1), n, axis=0)
    places = np.arange(n) % space.length
    swapped[np.arange(n), places] = rng.choice(space.tokens, n)
    return {"new": space.random(rng, n), "extensions": extended, "swaps": swapped}


def _rate(
    session: Session, scorer: Scorer, way: str, ids: IntArray, peak: float, seconds: float
) -> Rate:
    took = min(_timed(lambda: _score(scorer, ids), seconds))
    return _result(session, way, scorer.model.info.dtype, len(ids), took, peak)


def _gradient(
    session: Session, rng: np.random.Generator, peaks: dict[str, float], seconds: float
) -> Rate:
    """One prompt's: a forward and a backward pass, three times the work."""
    row, objective = session.space.random(rng, 1), session.objective
    took = min(_timed(lambda: objective.measure(Batch(ids=row, wants_gradient=True)), seconds))
    dtype = objective.slopes.model.info.dtype
    return _result(session, "gradient", dtype, 1, took, peaks[dtype] / 3)


def _result(session: Session, way: str, dtype: str, n: int, took: float, peak: float) -> Rate:
    weights = session.model.passed
    tokens, rows = _tokens(session, way), session.space.n_examples
    pairs = n * rows / took
    return Rate(way, dtype, n / took, pairs, tokens, 2 * weights * tokens * pairs / peak)


def _tokens(session: Session, way: str) -> float:
    """Tokens of a pair that no other pair could share."""
    scorer, length = session.scorers["search"], session.space.length
    if not scorer.texts_first:
        return float(np.mean([row.length for row in scorer.rows]))
    after = float(np.mean([row.length - len(row.segments[0]) for row in scorer.rows]))
    own = {"extensions": 1.0, "swaps": (length + 1) / 2}
    return own.get(way, length) + after


def _score(scorer: Scorer, ids: IntArray) -> None:
    out = np.empty((len(ids), len(scorer.texts), len(scorer.labels)))
    scorer.by_ids(ids, scorer.within(None, len(ids)), out)


def _timed(run: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each of as many runs as fit, two at least; one before them warms up."""
    run()
    took: list[float] = []
    while len(took) < 2 or sum(took) < seconds:
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return took
