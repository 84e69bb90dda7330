"""LLaMA-Adapter (Zhang et al., 2023): prompts behind a gate in the top layers, by `peft`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hardprompt.adapt import through_peft
from hardprompt.adapt.base import Adapted
from hardprompt.adapt.through_peft import ThroughPeft
from hardprompt.errors import UnfitModel

SPARED = 2  # lowest layers that stay as they are: the paper adapts 30 of 32
TOLERANCE = 1e-4  # of a logit, relative to the largest: rounding


@dataclass(frozen=True)
class LlamaAdapter(ThroughPeft):
    """Attention of the top layers also reads `length` learned prompts, in a softmax of its own,
    times a gate that begins at zero: training begins at the model itself.

    As `peft` has it, a layer has one gate, and in GPT-2 what is read is added behind the output
    projection. (The paper's own code has a gate for each head, through tanh.) A model that this
    changes before a step of training, such as one whose output projection has a bias, is unfit.
    """

    name: ClassVar[str] = "llama-adapter"
    kind: ClassVar[str] = "ADAPTION_PROMPT"
    length: int = 10
    layers: int | None = None  # from the top; None: all but the lowest `SPARED`

    def attach(self, model: Any, rng: np.random.Generator) -> Adapted:
        peft = through_peft.import_peft(self.name)
        config = self._config(peft, model)
        before = _logits(model.eval())
        details = {"length": self.length, "layers": config.adapter_layers}
        adapted = through_peft.attach(peft, model, config, rng, **details)
        try:
            moved = (_logits(adapted.model) - before).abs().max() / before.abs().max()
        except RuntimeError:  # peft takes heads to be as wide as their share of the model
            moved = torch.tensor(torch.inf)
        if not moved <= TOLERANCE:
            kind = model.config.model_type
            raise UnfitModel(f"peft's llama-adapter changes this model of type '{kind}' untrained")
        return adapted

    def _config(self, peft: Any, model: Any) -> Any:
        known = peft.tuners.adaption_prompt.config.TRANSFORMERS_MODEL_CONFIG
        kind, depth = model.config.model_type, model.config.num_hidden_layers
        if kind not in known:
            families = ", ".join(sorted(known))
            raise UnfitModel(f"peft's llama-adapter is for {families}; not for '{kind}'")
        layers = depth - SPARED if self.layers is None else self.layers
        return peft.AdaptionPromptConfig(
            task_type="CAUSAL_LM",
            target_modules=known[kind].target_modules,
            adapter_len=self.length,
            adapter_layers=min(max(layers, 1), depth),
        )


@torch.no_grad()
def _logits(model: Any) -> Tensor:
    """Of a few tokens, whatever they mean."""
    logits: Tensor = model(input_ids=torch.arange(8, device=model.device)[None]).logits
    return logits.float()
