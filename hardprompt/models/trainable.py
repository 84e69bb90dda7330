"""A copy of a model that may be changed and trained; the frozen one stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from hardprompt.models.base import ModelInfo, PromptModel
from hardprompt.models.batched import BatchedModel
from hardprompt.models.cascade import NAME, usual_attention
from hardprompt.models.causal import CausalModel
from hardprompt.models.codec import Codec
from hardprompt.models.masked import MaskedModel
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.plan import Group


@dataclass(frozen=True)
class Copy:
    """A model of transformers to be adapted, and what it takes to score with it afterwards."""

    module: Any  # in float32, its attention the plain one
    codec: Codec
    info: ModelInfo
    batcher: Batcher

    @classmethod
    def of(cls, model: PromptModel) -> Copy:
        """Half precision is made float32, in which small steps are not rounded away."""
        assert isinstance(model, BatchedModel), "all families are"
        module, codec, info, batcher = model.copied(torch.float32)
        if module.config._attn_implementation == NAME:
            module.set_attn_implementation(usual_attention(module))
        return cls(module, codec, info, batcher)

    def scoring(self, module: Any) -> BatchedModel:
        """Scores with `module`, which was made from the copy; none of its weights requires a
        gradient any more."""
        make = MaskedModel if self.info.kind == "masked" else _Whole
        return make(module, self.codec, self.info, self.batcher)


class _Whole(CausalModel):
    def _head(self, group: Group) -> Any:
        return None  # an adapted model may have keys and values of its own before every row
