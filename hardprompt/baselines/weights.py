"""Training the model's own weights: all of them, or the topmost blocks."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.adapt.finetune import FineTuning
from hardprompt.baselines.base import Bench
from hardprompt.baselines.trained import TrainedMethod

TOP = 2


class FineTune(TrainedMethod):
    """Every weight."""

    name: ClassVar[str] = "fine-tune"
    uses_length: ClassVar[bool] = False
    rates: ClassVar[tuple[float, float]] = (5e-6, 1e-3)
    first_rate: ClassVar[float] = 3e-5

    def adaptation(self, bench: Bench) -> FineTuning:
        return FineTuning()


class TopBlocks(TrainedMethod):
    """The two blocks next to the output, and the norm behind them."""

    name: ClassVar[str] = "top-2"
    uses_length: ClassVar[bool] = False
    rates: ClassVar[tuple[float, float]] = (1e-5, 3e-3)
    first_rate: ClassVar[float] = 1e-4

    def adaptation(self, bench: Bench) -> FineTuning:
        return FineTuning(top=TOP)
