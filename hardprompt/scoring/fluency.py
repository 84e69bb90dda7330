"""How likely a model finds prompts themselves: what a search may weigh against their loss."""

from __future__ import annotations

import numpy as np

from hardprompt.models.base import PromptModel
from hardprompt.types import EMPTY, FloatArray, IntArray


class Fluency:
    """Mean negative log-likelihood of a prompt's tokens; the lower, the more fluent.

    The prompt is read alone, after the model's own beginning, several slots as one row. Without
    a token it is 0. One token before which nothing stands, as in a model without a beginning, is
    as likely as any other: the logarithm of the vocabulary's size.
    """

    def __init__(self, model: PromptModel) -> None:
        self._model = model

    def of(self, ids: IntArray) -> FloatArray:
        """`(n,)` of `(n, k)` ids, EMPTY left out."""
        return self._told(ids, self._model.prompt_log_probs(ids))

    def _told(self, ids: IntArray, log_probs: FloatArray) -> FloatArray:
        unknown = np.where((ids != EMPTY).any(axis=1), np.log(len(self._model.embeddings)), 0.0)
        return np.where(np.isnan(log_probs), unknown, -log_probs)
