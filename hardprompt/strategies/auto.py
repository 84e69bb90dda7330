"""The default: picks a strategy by the size of the space and the budget, and says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Script, Strategy
from hardprompt.strategies.exhaustive import Exhaustive
from hardprompt.strategies.swap import Swap


def choose(space: SearchSpace) -> tuple[Strategy, str]:
    """The strategy for this space and budget, and the reason in one line."""
    if space.size <= space.budget:
        return Exhaustive(), f"all {space.size:,.0f} prompts fit the budget"
    return Swap(), (
        f"{space.size_text} prompts are too many to try; swaps guided by gradients "
        "find more per measurement than the others"
    )


@dataclass(kw_only=True)
class Auto(Strategy):
    """Take the strategy that suits the size of the search."""

    name: ClassVar[str] = "auto"

    def search(self) -> Script:
        self._chosen, _ = choose(self.space)
        self._chosen.space, self._chosen.rng = self.space, self.rng
        yield from self._chosen.search()

    def record(self) -> dict[str, Any]:
        return self._chosen.record()
