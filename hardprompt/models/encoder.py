"""Any model as the encoder whose vectors BERTScore compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardprompt.errors import UsageError
from hardprompt.metrics.bertscore import Encoded
from hardprompt.models.base import ModelInfo
from hardprompt.models.load import load_base
from hardprompt.models.memory import tokens_that_fit
from hardprompt.scoring.batching import Batcher
from hardprompt.types import IntArray


def load_encoder(
    name: str, *, layer: int | None = None, revision: str | None = None, device: str = "auto"
) -> TextEncoder:
    """A hub id or folder, masked or causal, as an encoder for `text_metric_named("bertscore", _)`.

    `layer` is what vectors are read behind, from 1; 0 are the embeddings, None is the last. The
    package bert-score takes 17 of roberta-large's 24. Raises `HardpromptError` as `load_model`.
    """
    model, tokenizer, info = load_base(name, revision=revision, device=device)
    layers = model.config.get_text_config().num_hidden_layers
    layer = layers if layer is None else layer
    if not 0 <= layer <= layers:
        raise UsageError(f"'{name}' has no layer {layer}; give one from 0 to {layers}")
    return TextEncoder(model, tokenizer, info, layer)


class TextEncoder:
    """Texts as the states behind one layer."""

    def __init__(self, model: Any, tokenizer: Any, info: ModelInfo, layer: int) -> None:
        self.signature = f"model:{info.name}|weights:{info.weights[:12]}|layer:{layer}"
        self._model, self._tokenizer, self._layer = model, tokenizer, layer
        self._context, self._device = info.context, torch.device(info.device)
        self._batcher = Batcher(tokens_that_fit(model, self._device))

    def tokens(self, texts: Sequence[str]) -> list[IntArray]:
        """The ids of each text, cut where the model's context ends."""
        return [np.array(ids, np.int64) for ids in self._read(texts)["input_ids"]]

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """What the model makes of each text; it does not depend on the others."""
        read = self._read(texts)
        ids = [np.array(text, np.int64) for text in read["input_ids"]]
        special = [np.array(text, bool) for text in read["special_tokens_mask"]]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)
        vectors: dict[int, Tensor] = {}
        longest = max(map(len, ids), default=0)

        def run(low: int, high: int) -> list[Tensor]:
            return self._states([ids[i] for i in order[low:high]])

        for low, high, states in self._batcher.split(len(ids), longest, run):
            vectors.update(zip(order[low:high], states, strict=True))
        return [Encoded(ids[i], ~special[i], vectors[i].numpy()) for i in range(len(ids))]

    def _read(self, texts: Sequence[str]) -> Any:
        return self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._context,
            return_special_tokens_mask=True,
            verbose=False,
        )

    @torch.no_grad()
    def _states(self, texts: list[IntArray]) -> list[Tensor]:
        """`(tokens, dim)` of each; padded to the right with what is never looked at."""
        width = max(1, *map(len, texts))
        ids = torch.zeros(len(texts), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = torch.from_numpy(text)
            mask[row, : len(text)] = 1
        output = self._model(
            input_ids=ids.to(self._device),
            attention_mask=mask.to(self._device),
            output_hidden_states=True,
        )
        states = output.hidden_states[self._layer].cpu()
        return [states[row, : len(text)] for row, text in enumerate(texts)]
