"""Random search: the reference that every other strategy must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.types import Batch


@dataclass(kw_only=True)
class Random(Strategy):
    """Try prompts drawn at random, token by token.

    Others than the best `keep` of a batch may be dropped; None: all are measured to the end.
    """

    name: ClassVar[str] = "random"
    batch: int = 32
    keep: int | None = None

    def __post_init__(self) -> None:
        at_least(1, batch=self.batch)
        if self.keep is not None:
            at_least(1, keep=self.keep)

    def search(self) -> Script:
        while True:
            yield Batch(ids=self.space.random(self.rng, self.batch), keep=self.keep)
