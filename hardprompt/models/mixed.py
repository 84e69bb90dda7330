"""Batches of rows that belong to several tasks, as every family of models scores them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardprompt.models.alone import Alone
from hardprompt.scoring.mixed import MixedRow, pad_prefixes
from hardprompt.types import FloatArray


class Mixed(Alone):
    """Rows of unlike length, with points and prefixes of their own, padded into one batch."""

    @abstractmethod
    def _stand_in(self, label: tuple[int, ...]) -> tuple[int, ...]:
        """What stands in the label's place while the label word is read."""

    @abstractmethod
    def _told_at(self, row: MixedRow) -> int:
        """Where in a row the model tells the first token of the label word."""

    @abstractmethod
    def _read(self, rows: Sequence[MixedRow], where: Tensor) -> Tensor:
        """`(rows, m, V)`: log p(token) told at the positions `where`, `(rows, m)`."""

    @property
    @abstractmethod
    def prefix_shape(self) -> tuple[int, int, int, int]:
        """Layers, 2, heads of the keys and numbers of a head: of one place of a prefix."""

    @torch.no_grad()
    def mixed_log_probs(self, rows: Sequence[MixedRow]) -> list[FloatArray]:
        out: list[FloatArray] = [np.empty(0)] * len(rows)
        order = sorted(range(len(rows)), key=lambda number: (rows[number].width, number))

        def run(low: int, high: int) -> list[FloatArray]:
            return self._mixed([rows[number] for number in order[low:high]])

        width = self._mixed_width(rows) if rows else 0
        for low, high, found in self._batcher.split(len(rows), width, run):
            for number, scores in zip(order[low:high], found, strict=True):
                out[number] = scores
        return out

    def _mixed_width(self, rows: Sequence[MixedRow]) -> int:
        """Tokens that any of these rows takes at most in a batch."""
        return max(row.width for row in rows)

    def _mixed(self, rows: Sequence[MixedRow]) -> list[FloatArray]:
        """`(classes,)` of each row; one forward pass for each way to fill the label's place."""
        out: list[FloatArray] = [np.empty(len(row.labels)) for row in rows]
        for fill in dict.fromkeys(self._stand_in(label) for row in rows for label in row.labels):
            asked = [
                (number, [c for c, label in enumerate(row.labels) if self._stand_in(label) == fill])
                for number, row in enumerate(rows)
            ]
            asked = [(number, classes) for number, classes in asked if classes]
            scores = self._filled([rows[number] for number, _ in asked], fill)
            for (number, classes), found in zip(asked, scores, strict=True):
                out[number][classes] = found[: len(classes)]
        return out

    def _filled(self, rows: Sequence[MixedRow], fill: tuple[int, ...]) -> FloatArray:
        """`(rows, most)`: log p of those label words that are read behind `fill`, in their order;
        what follows the last of a row means nothing."""
        words = [[label for label in row.labels if self._stand_in(label) == fill] for row in rows]
        wanted = np.zeros((len(rows), max(map(len, words)), len(words[0][0])), dtype=np.int64)
        for mine, labels in zip(wanted, words, strict=True):
            mine[: len(labels)] = labels
        first = np.array([self._told_at(row) for row in rows], dtype=np.int64)
        where = self._tensor(first[:, None] + np.arange(wanted.shape[2]))
        log_probs = self._read([row.filled(fill) for row in rows], where)
        found = log_probs.gather(2, self._tensor(wanted).transpose(1, 2)).sum(1)
        scores: FloatArray = found.cpu().double().numpy()
        return scores

    def _padded(self, rows: Sequence[MixedRow]) -> tuple[Tensor, Tensor]:
        """`(rows, w)` ids, or `(rows, w, dim)` points where a row has some, padded to the right,
        and the true lengths, `(rows,)`."""
        ends = np.array([len(row.ids) for row in rows], dtype=np.int64)
        ids = np.zeros((len(rows), int(ends.max())), dtype=np.int64)
        for padded, row in zip(ids, rows, strict=True):
            padded[: len(row.ids)] = row.ids
        tokens = self._tensor(ids)
        if any(row.points for row in rows):
            tokens = self._model.get_input_embeddings()(tokens).to(self._model.dtype)
            for points, row in zip(tokens, rows, strict=True):
                for at, slot in row.points:
                    points[at : at + len(slot)] = self._tensor(slot)
        return tokens, self._tensor(ends)

    def _prefixes(self, rows: Sequence[MixedRow]) -> tuple[Tensor, Tensor] | None:
        """Keys and values, `(layers, 2, rows, kv_heads, t, head_dim)`, padded to the left, and
        their true lengths, `(rows,)`; None where no row has any."""
        if not any(row.n_before for row in rows):
            return None
        padded, lengths = pad_prefixes(rows)
        whole = self._tensor(padded).to(self._model.dtype)
        return whole.permute(2, 3, 0, 4, 1, 5), self._tensor(lengths)


@contextmanager
def reading_only(model: Any, where: Tensor) -> Iterator[None]:
    """The head sees nothing but these positions, `(rows, m)`: the logits of all of them are most
    of the memory of a small model, and a good part of its time."""

    def choose(module: Any, inputs: Any, output: Any) -> Any:
        if (states := getattr(output, "last_hidden_state", None)) is not None:
            output.last_hidden_state = pick(states, where)
        return output

    handle = model.base_model.register_forward_hook(choose)
    try:
        yield
    finally:
        handle.remove()


def pick(states: Tensor, where: Tensor) -> Tensor:
    """`(rows, m, d)`: of `(rows, w, d)` what stands at the positions `(rows, m)`."""
    return states.gather(1, where[..., None].expand(-1, -1, states.shape[-1]))
