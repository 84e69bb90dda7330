"""Black-box tuning (Sun et al., 2022): a soft prompt found without a gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hardprompt.baselines.base import Bench, Fitted, Method
from hardprompt.baselines.soft import STARTS, as_points, start_tokens
from hardprompt.baselines.tuning import Plan
from hardprompt.encoders import coordinate
from hardprompt.types import FloatArray

FEWEST, MOST = 2, 500  # coordinates; the most are the paper's, for 8,000 prompts (section 4.1)
# Prompts measured for each coordinate. With the paper's 16, a budget as small as a search's reaches
# too few of the ways to move.
PER_COORDINATE = 4
SPREAD = 1.0  # of the first candidates, in the size of a token's coordinates


class BlackBoxTuning(Method):
    """CMA-ES (Hansen & Ostermeier, 2001) over a few coordinates that a random map makes points of.

    The map is normal and of the size of the tokens' own embeddings (Sun et al., 2022b, section
    3.2). The fewer prompts the budget pays for, the fewer coordinates. It starts at the tokens
    with the lower search loss, and of the prompts that led when dev was asked, dev chooses.
    """

    name: ClassVar[str] = "bbt"

    def fit(self, bench: Bench) -> Fitted:
        from cmaes import CMA

        n_search = len(bench.session.task.search)
        room = max(0.0, bench.room - len(STARTS) * n_search)
        size = _coordinates(room / n_search, bench)
        search = CMA(np.zeros(size), sigma=1.0, seed=int(bench.rng.integers(2**31)))
        plan = Plan.of(bench, room, search.population_size * n_search)
        space = Subspace(bench, size)

        def step(number: int) -> None:
            places = np.stack([search.ask() for _ in range(search.population_size)])
            search.tell(list(zip(places, space.losses(places), strict=True)))

        def look() -> tuple[FloatArray, FloatArray]:
            return space.best, bench.session.scorers["dev"].by_points(space.best)

        found = plan.follow(bench, step, look)
        return as_points(
            bench,
            found.state,
            trained=size,
            start=space.start,
            coordinates=size,
            generations=plan.n_steps,
            kept_generation=found.step,
        )


class Subspace:
    """Soft prompts `start + map(z)`, and the best of them so far by search loss."""

    def __init__(self, bench: Bench, size: int) -> None:
        self._bench = bench
        space = bench.session.space
        # (size, length * dim)
        drawn = bench.rng.standard_normal((size, space.length * space.embeddings.shape[1]))
        self._map = drawn * SPREAD * coordinate(space) / size**0.5
        starts = np.stack([_points_of(bench, start) for start in STARTS])
        self.lowest, self.best = np.inf, starts[0]
        first = int(self._measured(starts).argmin())
        self._origin, self.start = starts[first], STARTS[first]

    def losses(self, places: FloatArray) -> FloatArray:
        """`(n,)` search losses of the prompts at these coordinates, `(n, size)`, paid for."""
        moved = (places @ self._map).reshape(len(places), *self._origin.shape)
        return self._measured(self._origin + moved)

    def _measured(self, points: FloatArray) -> FloatArray:
        """`(n,)` losses of `(n, length, dim)`; infinite where there is none."""
        session = self._bench.session
        gold = session.gold("search")
        self._bench.spend(len(points) * len(gold))
        scores = session.scorers["search"].by_many_points(points)
        losses = session.loss.total(scores, gold, len(gold))
        losses = np.where(np.isfinite(losses), losses, np.inf)
        best = int(losses.argmin())
        if losses[best] < self.lowest:
            self.lowest, self.best = float(losses[best]), points[best]
        return losses


def _points_of(bench: Bench, start: str) -> FloatArray:
    """`(length, dim)`"""
    tokens = start_tokens(bench.session, start, bench.rng)
    points: FloatArray = bench.session.space.embeddings[tokens].astype(np.float64)
    return points


def _coordinates(prompts: float, bench: Bench) -> int:
    """How many coordinates so many measurements are enough for."""
    space = bench.session.space
    most = min(MOST, space.length * space.embeddings.shape[1])
    return int(np.clip(prompts // PER_COORDINATE, FEWEST, most))
