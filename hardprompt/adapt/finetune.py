"""Fine-tuning: of all weights, or of the topmost blocks alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hardprompt.adapt.base import Adaptation, Adapted
from hardprompt.adapt.blocks import blocks_of, final_norm_of
from hardprompt.adapt.tensors import read_tensors, trained_tensors, write_tensors

WEIGHTS = "weights.safetensors"  # in the model's own names, those that were trained


@dataclass(frozen=True)
class FineTuning(Adaptation):
    """The model's own weights are trained.

    `top` blocks and the norm behind them, but not the output layer, which may be the embedding;
    None: every weight.
    """

    name: ClassVar[str] = "fine-tune"
    top: int | None = None

    def attach(self, model: Any, rng: np.random.Generator) -> Adapted:
        model.requires_grad_(False)
        parts = [model] if self.top is None else _top(model, self.top)
        for part in parts:
            part.requires_grad_(True)
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        size = sum(weight.numel() for weight in trained)
        return Adapted(model, trained, stored=size, details={"top": self.top})

    def save(self, adapted: Adapted, folder: Path) -> list[str]:
        return [write_tensors(folder / WEIGHTS, trained_tensors(adapted))]

    @classmethod
    def load(cls, folder: Path, model: Any) -> Any:
        read_tensors(folder / WEIGHTS, model)
        return model.eval().requires_grad_(False)


def _top(model: Any, n: int) -> list[Any]:
    norm = final_norm_of(model)
    return [*blocks_of(model)[-n:], *([] if norm is None else [norm])]
