"""Black-box tuning (Sun et al., 2022): a soft prompt found without a gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hardprompt.baselines.base import Bench, Fitted, Method
from hardprompt.baselines.soft import STARTS, as_points, start_tokens
from hardprompt.baselines.tuning import Plan
from hardprompt.encoders import coordinate
from hardprompt.types import FloatArray

COORDINATES, PROMPTS = 500, 8000  # of the subspace, and measured in it (section 4.1)
FEWEST = 2  # coordinates
SPREAD = 1.0  # of the first candidates, in the size of a token's coordinates


class BlackBoxTuning(Method):
    """CMA-ES (Hansen & Ostermeier, 2001) over a few coordinates that a random map makes points of.

    The map is normal and of the size of the tokens' own embeddings (Sun et al., 2022b, section
    3.2). The fewer prompts the budget pays for, the fewer coordinates, as in the paper's own
    ratio. It starts at the tokens with the lower search loss, and of the prompts that led when
    dev was asked, dev chooses.
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
            asked = [search.ask() for _ in range(search.population_size)]
            search.tell([(place, space.loss(place)) for place in asked])

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
        self.lowest = np.inf
        starts = {start: _points_of(bench, start) for start in STARTS}
        losses = {start: self._measured(points) for start, points in starts.items()}
        self.start = min(losses, key=losses.__getitem__)
        self.best = self._origin = starts[self.start]

    def loss(self, place: FloatArray) -> float:
        """The search loss of the prompt at these coordinates, `(size,)`, paid for."""
        return self._measured(self._origin + (place @ self._map).reshape(self._origin.shape))

    def _measured(self, points: FloatArray) -> float:
        session = self._bench.session
        gold = session.gold("search")
        self._bench.spend(len(gold))
        scores = session.scorers["search"].by_points(points)
        loss = float(session.loss.total(scores[None], gold, len(gold))[0])
        if not np.isfinite(loss):
            return np.inf
        if loss < self.lowest:
            self.lowest, self.best = loss, points
        return loss


def _points_of(bench: Bench, start: str) -> FloatArray:
    """`(length, dim)`"""
    tokens = start_tokens(bench.session, start, bench.rng)
    points: FloatArray = bench.session.space.embeddings[tokens].astype(np.float64)
    return points


def _coordinates(prompts: float, bench: Bench) -> int:
    """How many coordinates so many measurements are enough for."""
    space = bench.session.space
    most = min(COORDINATES, space.length * space.embeddings.shape[1])
    return int(np.clip(prompts * COORDINATES // PROMPTS, FEWEST, most))
