"""LoRA at the usual size."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.adapt.lora import Lora
from hardprompt.baselines.base import Bench
from hardprompt.baselines.trained import TrainedMethod


class LowRank(TrainedMethod):
    """Thin matrices added to the weights of the attention that the family usually adapts."""

    name: ClassVar[str] = "lora"
    uses_length: ClassVar[bool] = False
    rates: ClassVar[tuple[float, float]] = (1e-4, 1e-2)
    first_rate: ClassVar[float] = 1e-3

    def adaptation(self, bench: Bench) -> Lora:
        return Lora()
