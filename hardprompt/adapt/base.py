"""What every way of adapting a model is: it attaches numbers to train, and keeps them on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch.nn import Parameter


@dataclass(frozen=True)
class Adapted:
    """A model with what is trained; called as the model of transformers that it was made from.

    `model` takes `input_ids` or `inputs_embeds` (and an `attention_mask`, where its family does)
    and returns `.logits`; before a step of training it gives what the plain model gave, unless
    the method's own start is another.
    """

    model: Any
    trained: list[Parameter]  # the only ones that require a gradient
    stored: int  # numbers that must be kept to use it
    details: dict[str, Any] = field(default_factory=dict)  # for the record; what JSON can hold


class Adaptation(ABC):
    """One way of adapting, its settings as fields."""

    name: ClassVar[str]

    @abstractmethod
    def attach(self, model: Any, rng: np.random.Generator) -> Adapted:
        """Attaches to `model`, which is the caller's own copy and may be changed.

        Raises `UnfitModel` where this kind of model leaves no way to.
        """

    @abstractmethod
    def save(self, adapted: Adapted, folder: Path) -> list[str]:
        """Writes what must be kept; returns the names of the files."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, model: Any) -> Any:
        """The adapted model again, from a fresh copy of the plain one; it predicts identically."""
