"""LoRA (Hu et al., 2021): a product of two thin matrices added to some weights, by `peft`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers.pytorch_utils import Conv1D

from hardprompt.adapt import through_peft
from hardprompt.adapt.base import Adapted
from hardprompt.adapt.through_peft import ThroughPeft
from hardprompt.errors import UnfitModel


@dataclass(frozen=True)
class Lora(ThroughPeft):
    """`rank` numbers for each input and output of the weights that `targets` names, times
    `alpha / rank`. One of the two matrices begins at zero, so training begins at the model."""

    name: ClassVar[str] = "lora"
    kind: ClassVar[str] = "LORA"
    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ()  # ends of modules' names; none: the family's in peft's table

    def attach(self, model: Any, rng: np.random.Generator) -> Adapted:
        peft = through_peft.import_peft(self.name)
        config = self._config(peft, model)
        details = {"rank": self.rank, "alpha": self.alpha, "targets": self._targets(peft, model)}
        return through_peft.attach(peft, model, config, rng, **details)

    def _config(self, peft: Any, model: Any) -> Any:
        return peft.LoraConfig(
            task_type="CAUSAL_LM" if model.can_generate() else None,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=0.0,
            target_modules=self._targets(peft, model),
            # GPT-2 keeps its weights the other way round.
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        )

    def _targets(self, peft: Any, model: Any) -> Any:
        """Ends of names, or a pattern for whole ones."""
        table = peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
        kind = model.config.model_type
        if not self.targets and kind not in table:
            raise UnfitModel(f"peft's table has no weights for lora in a model of type '{kind}'")
        return list(self.targets) or table[kind]
