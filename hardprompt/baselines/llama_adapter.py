"""LLaMA-Adapter at the paper's size."""

from __future__ import annotations

from typing import ClassVar

from hardprompt.adapt.llama_adapter import LlamaAdapter
from hardprompt.baselines.base import Bench
from hardprompt.baselines.trained import TrainedMethod


class GatedPrompts(TrainedMethod):
    """Prompts behind a gate in the upper layers."""

    name: ClassVar[str] = "llama-adapter"
    uses_length: ClassVar[bool] = False
    rates: ClassVar[tuple[float, float]] = (1e-3, 1e-1)
    first_rate: ClassVar[float] = 1e-2

    def adaptation(self, bench: Bench) -> LlamaAdapter:
        return LlamaAdapter()
