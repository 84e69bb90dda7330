"""Random search: the reference that every other strategy must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.types import Batch


@dataclass(kw_only=True)
class Random(Strategy):
    """Try prompts drawn at random, token by token."""

    name: ClassVar[str] = "random"
    batch: int = 32

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)

    def search(self) -> Script:
        while True:
            yield Batch(ids=self.space.random(self.rng, self.batch))
