"""What every search strategy is: a generator that asks for batches and is told their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, ClassVar

import numpy as np

from hardprompt.space import SearchSpace
from hardprompt.types import Batch, Feedback

Script = Generator[Batch, Feedback, None]


class Strategy(ABC):
    """Subclasses are dataclasses (`kw_only=True`) whose fields are the hyperparameters.

    `search` holds the algorithm: `told = yield Batch(...)`. It reads `self.space` and draws
    only from `self.rng`; to return is to be exhausted. Ask and tell stay the public protocol,
    so that an outside strategy may write `start`, `ask` and `tell` itself.
    """

    name: ClassVar[str]
    space: SearchSpace
    rng: np.random.Generator
    asked: float  # of the budget, by the batches so far

    @abstractmethod
    def search(self) -> Script: ...

    def least_budget(self, space: SearchSpace) -> float:
        """What is asked before the first prompt that may be found, in prompts."""
        return 0.0

    def start(self, space: SearchSpace, rng: np.random.Generator) -> None:
        """Begins a search; asked once, before the first `ask`."""
        self.space, self.rng, self.asked = space, rng, 0.0
        self._script: Script | None = self.search()
        self._told: Feedback | None = None

    def record(self) -> dict[str, Any]:
        """What the algorithm itself has to say once a search has ended, as JSON.

        A token is an object with its `id`; the results put its `word` beside it.
        """
        return {}

    def ask(self) -> Batch:
        """The next batch to measure; `Batch()` once nothing is left."""
        if self._script is None:
            return Batch()
        try:
            batch = next(self._script) if self._told is None else self._script.send(self._told)
        except StopIteration:
            self._script = None
            return Batch()
        self.asked += len(batch) * self.space.price(batch)
        return batch

    def tell(self, batch: Batch, feedback: Feedback) -> None:
        """Hands over what was measured for the batch asked last."""
        self._told = feedback


def at_least(low: float, **fields: float) -> None:
    """Checks hyperparameters; raises `ValueError` with the rule and the value."""
    for field, value in fields.items():
        if not value >= low:
            raise ValueError(f"{field} must be {low:g} or more, got {value:g}")


def share(**fields: float) -> None:
    """Checks hyperparameters that are parts of a whole, or chances."""
    for field, value in fields.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{field} must be between 0 and 1, got {value:g}")


def one_of(known: tuple[str, ...], **fields: str) -> None:
    """Checks hyperparameters that are names."""
    for field, value in fields.items():
        if value not in known:
            raise ValueError(f"{field} must be one of {', '.join(known)}, got '{value}'")


def counts_with(strategy: Strategy, what: str, there: bool, *names: str) -> None:
    """Refuses values that were given to fields which do nothing, because `what` is not there."""
    for name in names:
        value, default = getattr(strategy, name), getattr(type(strategy), name)
        if not there and value != default:
            raise ValueError(f"{name} counts with {what} only, got {name}={value}")
