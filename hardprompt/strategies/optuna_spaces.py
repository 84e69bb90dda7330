"""Two ways to show prompts to Optuna: coordinates of the tokens' embeddings, and shortlists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.strategies.fluent import likely_tokens, says
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

LIKELY = 96  # tokens that the model finds likeliest in a place; the slope chooses among them
Params = dict[str, Any]


class Layout(ABC):
    """Prompts as parameters of a trial, and back.

    Where lengths may vary, that of each slot is a parameter; what stands beyond it says nothing.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        spare = space.length - space.shortest
        starts = np.cumsum(space.slots) - np.array(space.slots)
        self._lengths = [
            (f"length{slot}", int(start), width, max(0, width - spare))
            for slot, (start, width) in enumerate(zip(starts, space.slots, strict=True))
            if spare
        ]

    @abstractmethod
    def choices(self, place: int) -> IntArray:
        """The tokens that may come at a place."""

    @abstractmethod
    def _distributions(self, optuna: Any) -> Params: ...

    @abstractmethod
    def _tokens(self, params: Params) -> IntArray: ...

    @abstractmethod
    def _shown(self, place: int, token: int) -> Params:
        """A place's parameters; none where the token cannot be shown."""

    def distributions(self) -> Params:
        """What each parameter may be."""
        import optuna

        lengths = {
            name: optuna.distributions.IntDistribution(low, width)
            for name, _, width, low in self._lengths
        }
        return self._distributions(optuna) | lengths

    def row(self, params: Params) -> IntArray:
        """`(length,)` the prompt of a trial."""
        row = self._tokens(params)
        short = self.space.shortest - sum(params[name] for name, *_ in self._lengths)
        for name, start, width, _ in self._lengths:
            more = min(max(short, 0), width - params[name])  # several slots may be too short
            row[start + params[name] + more : start + width] = EMPTY
            short -= more
        return row

    def params(self, row: IntArray) -> Params:
        """The parameters of a prompt, without those of places that cannot be shown."""
        found: Params = {}
        for place, token in enumerate(row.tolist()):
            any_token = int(self.choices(place)[0])
            found |= self._shown(place, any_token if token == EMPTY else token)
        for name, start, width, low in self._lengths:
            found[name] = max(low, int((row[start : start + width] != EMPTY).sum()))
        return found

    def neighbour(self, rng: np.random.Generator, row: IntArray) -> IntArray:
        """The prompt with another token at one place."""
        row = row.copy()
        place = rng.choice(np.flatnonzero(row != EMPTY))
        row[place] = rng.choice(self.choices(place))
        return row


class Axes(Layout):
    """A small map of the vocabulary in which a sampler moves; the nearest token decides.

    A token's coordinates are those on the `axes` principal axes of the allowed tokens'
    embeddings. One categorical of a whole vocabulary would tell a sampler nothing about likeness.
    """

    def __init__(self, space: SearchSpace, axes: int) -> None:
        super().__init__(space)
        table = space.embeddings[space.tokens].astype(np.float64)
        left, size, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
        axes = min(axes, left.shape[1])
        places = left[:, :axes] * size[:axes]
        self._map: FloatArray = places / np.maximum(np.abs(places).max(axis=0), 1e-12)

    def choices(self, place: int) -> IntArray:
        return self.space.tokens

    def _names(self, place: int) -> list[str]:
        return [f"place{place}_axis{axis}" for axis in range(self._map.shape[1])]

    def _distributions(self, optuna: Any) -> Params:
        span = optuna.distributions.FloatDistribution(-1.0, 1.0)
        return {name: span for place in range(self.space.length) for name in self._names(place)}

    def _tokens(self, params: Params) -> IntArray:
        places = range(self.space.length)
        point = np.array([[params[name] for name in self._names(place)] for place in places])
        distance = ((point[:, None] - self._map) ** 2).sum(axis=-1)
        row: IntArray = self.space.tokens[distance.argmin(axis=1)]
        return row

    def _shown(self, place: int, token: int) -> Params:
        at = np.flatnonzero(self.space.tokens == token)
        values = self._map[at].ravel().tolist()
        return dict(zip(self._names(place), values, strict=True)) if len(at) else {}


class Shortlist(Layout):
    """A few tokens for each place, as a categorical."""

    def __init__(self, space: SearchSpace, lists: Sequence[IntArray]) -> None:
        super().__init__(space)
        self._lists = [tokens.tolist() for tokens in lists]

    def choices(self, place: int) -> IntArray:
        return np.array(self._lists[place], dtype=np.int64)

    def _distributions(self, optuna: Any) -> Params:
        return {
            f"place{place}": optuna.distributions.CategoricalDistribution(tokens)
            for place, tokens in enumerate(self._lists)
        }

    def _tokens(self, params: Params) -> IntArray:
        return np.array([params[f"place{p}"] for p in range(self.space.length)], dtype=np.int64)

    def _shown(self, place: int, token: int) -> Params:
        return {f"place{place}": token} if token in self._lists[place] else {}


def shortlist(
    space: SearchSpace,
    rng: np.random.Generator,
    around: IntArray,
    elite: IntArray,
    width: int,
    fluent: float,
) -> Generator[Batch, Feedback, Shortlist]:
    """For each place the tokens that the elite has there, and at most `width` others.

    The others have the best slope at the prompt `around` (HotFlip, Ebrahimi et al., 2018,
    eq. 10); of a share `fluent` of them, among what the model itself would write there.
    """
    slope: FloatArray = np.zeros((space.length, len(space.tokens)))
    if fluent < 1:
        told = yield Batch(ids=around[None], wants_gradient=True)
        if told.gradient is not None and np.isfinite(told.gradient).all():
            slope = space.slope(told.gradient[0])
    lists = []
    for place in range(space.length):
        written: IntArray = np.empty(0, dtype=np.int64)
        if fluent > 0:
            ids, log_probs = yield from likely_tokens(space, around[None], place, LIKELY)
            if says(log_probs)[0]:
                values = slope[place, np.searchsorted(space.tokens, ids[0])]
                written = ids[0, values.argsort(kind="stable")[: round(fluent * width)]]
        # Without a slope, at an empty place or after a failure, chance decides.
        order = rng.permutation(len(space.tokens))
        order = order[slope[place, order].argsort(kind="stable")]
        own = np.intersect1d(elite[:, place], space.tokens)
        n = len(own) + width
        ranked = [*own.tolist(), *written.tolist(), *space.tokens[order[:n]].tolist()]
        lists.append(np.array(list(dict.fromkeys(ranked))[:n], dtype=np.int64))
    return Shortlist(space, lists)
