"""How likely a model finds prompts themselves: what a search may weigh against their loss."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hardprompt.models.base import PromptModel
from hardprompt.space import SearchSpace
from hardprompt.types import EMPTY, FloatArray, IntArray

RIDGE = 1e-4  # of the mean variance of an embedding: keeps directions without tokens out
MOST = 2**24  # log-probabilities held at once


class Fluency:
    """Mean negative log-likelihood of a prompt's tokens; the lower, the more fluent.

    The prompt is read alone, after the model's own beginning, several slots as one row. Without
    a token it is 0. One token before which nothing stands, as in a model without a beginning, is
    as likely as any other: the logarithm of the vocabulary's size.
    """

    def __init__(self, model: PromptModel, space: SearchSpace) -> None:
        self._model, self._space = model, space

    def of(self, ids: IntArray) -> FloatArray:
        """`(n,)` of `(n, k)` ids, EMPTY left out."""
        return self._told(ids, self._model.prompt_log_probs(ids))

    def gradient(self, ids: IntArray, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`(n,)` of these ids, read from `points`, and `(n, k, dim)` its gradient there.

        A token counts twice: what follows is read from it, and it is itself more or less likely
        where it stands. The first is the gradient at its point, ids held (as PEZ; Wen et al.,
        2023); the second is known of every token (as in ARCA; Jones et al., 2023), and told
        by the vector whose slope comes nearest to it over the allowed tokens. Where the
        model writes with the embeddings that it reads, that is the derivative itself.
        """
        tokens = self._space.tokens
        log_probs, out = np.empty(len(ids)), np.empty(points.shape, dtype=np.float32)
        step = max(1, MOST // (ids.shape[1] * len(tokens)))
        for low in range(0, len(ids), step):
            part = slice(low, low + step)
            told = self._model.prompt_gradient(ids[part], points[part], tokens)
            log_probs[part], slopes, gains = told
            out[part] = -(slopes + gains @ self._toward)
        return self._told(ids, log_probs), out

    @cached_property
    def _toward(self) -> FloatArray:
        """`(v, dim)`: turns a number for each allowed token into the vector whose inner products
        with their embeddings come nearest to these numbers, up to a constant."""
        table = np.asarray(self._space.embeddings[self._space.tokens], dtype=np.float32)
        table = table - table.mean(axis=0)
        gram = (table.T @ table).astype(np.float64)
        ridge = max(RIDGE * np.trace(gram) / len(gram), 1e-12)
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        toward: FloatArray = table @ inverse.astype(np.float32)
        return toward

    def _told(self, ids: IntArray, log_probs: FloatArray) -> FloatArray:
        vocabulary = len(self._space.embeddings)
        unknown = np.where((ids != EMPTY).any(axis=1), np.log(vocabulary), 0.0)
        return np.where(np.isnan(log_probs), unknown, -log_probs)
