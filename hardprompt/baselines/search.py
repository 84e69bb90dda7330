"""The discrete search itself: that of `hardprompt search`, but for the loss of the task alone and
without manual prompts in the place of found ones."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.baselines.base import Bench, Fitted, Method, as_text
from hardprompt.baselines.discrete import best_found
from hardprompt.strategies.auto import Auto


class Searched(Method):
    """The prompt that strategy `auto` finds."""

    name: ClassVar[str] = "search"
    discrete: ClassVar[bool] = True
    portable: ClassVar[bool] = True

    def fit(self, bench: Bench) -> Fitted:
        best = best_found(bench, Auto(), self.name, bench.room)
        length = bench.session.space.length
        return as_text(bench.session, best.prompts, trained=length, measured=best.measured)
