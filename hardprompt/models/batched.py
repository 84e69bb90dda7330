"""What every family of models does alike: candidates times examples, in batches that fit."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardprompt.errors import HardpromptError
from hardprompt.models.base import Labels, ModelInfo
from hardprompt.models.codec import Codec
from hardprompt.models.linear import quicken
from hardprompt.models.memory import cpu_tokens
from hardprompt.models.mixed import Mixed
from hardprompt.models.writer import Decoding
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.plan import Group, Row, group_rows
from hardprompt.types import FloatArray, IntArray

EMBEDDING_CHUNK = 8192
FLOATS = 16  # numbers, by the width of the model, that a token takes while it is read


class BatchedModel(Mixed):
    """Pairs of a candidate and an example, dealt into batches; a family scores one batch."""

    way = "rows read whole, those of like length together"

    def __init__(self, model: Any, codec: Codec, info: ModelInfo, batcher: Batcher) -> None:
        quicken(model)
        super().__init__(model.eval().requires_grad_(False), codec, batcher)
        self.info = info

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch, as many as fitted so far."""
        return self._batcher.tokens

    @batch_tokens.setter
    def batch_tokens(self, tokens: int) -> None:
        self._batcher.tokens = tokens

    def copied(self, dtype: torch.dtype) -> tuple[Any, Codec, ModelInfo, Batcher]:
        """What a model of this family is made from, in another precision."""
        info = replace(self.info, dtype=str(dtype).removeprefix("torch."))
        on_cpu = self._device.type == "cpu"
        tokens = cpu_tokens(dtype) if on_cpu else self._batcher.tokens
        model = copy.deepcopy(self._model)
        for weight in model.parameters():  # not the buffers: rotary frequencies need their bits
            weight.data = weight.data.to(dtype)
        return model, self.codec, info, Batcher(tokens, self._batcher.rows)

    def groups(self, rows: Sequence[Row], examples: Sequence[int]) -> list[Group]:
        return group_rows(rows, examples)

    @abstractmethod
    def write(self, rows: Sequence[IntArray | FloatArray], decoding: Decoding) -> list[str]:
        """What the model goes on with after each row; see `PromptModel`."""

    @abstractmethod
    def _labels(self, group: Group, labels: Labels, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows, classes)`: log p(label word | row). `parts` are segments and slots in reading
        order, each `(rows, t)` ids or `(rows, k, dim)` points; `example` numbers each row's
        member of the group."""

    @abstractmethod
    def _next(self, group: Group, slots: int, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows, V)`: log p(token after the last of the `slots` filled ones | row)."""

    @abstractmethod
    def _hidden(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows, dim)`: the last hidden state where the label word is predicted."""

    @abstractmethod
    def _words(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows, V)`: log p(token in the label word's place | row)."""

    def _output_states(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows, dim)`: what the output layer reads where the label word is predicted."""
        return self._hidden(group, parts, example)

    @cached_property
    def embeddings(self) -> FloatArray:
        layer = self._model.get_input_embeddings()
        ids = torch.arange(layer.weight.shape[0], device=self._device)
        # Through the layer, not its weight: Gemma scales what it looks up.
        with torch.no_grad():
            chunks = [layer(part).float().cpu() for part in torch.split(ids, EMBEDDING_CHUNK)]
        table: FloatArray = torch.cat(chunks).numpy()
        return table

    @property
    def passed(self) -> int:
        layers = (self._model.get_input_embeddings(), self._model.get_output_embeddings())
        tables = [getattr(layer, "weight", None) for layer in layers]
        sizes = {id(table): int(table.numel()) for table in tables if table is not None}
        return self.info.parameters - sum(sizes.values())

    @torch.no_grad()
    def label_log_probs(
        self,
        group: Group,
        labels: Labels,
        prompts: Sequence[IntArray | FloatArray],
        members: IntArray | None = None,
    ) -> FloatArray:
        slots = [self._tensor(given) for given in prompts]
        chosen = self._members(group, members)
        n, g = (len(slots[0]) if slots else 1), len(chosen)
        out = np.empty((n * g, len(labels)), dtype=np.float64)

        def run(low: int, high: int) -> FloatArray:
            pairs = torch.arange(low, high, device=self._device)
            example = chosen[pairs % g]
            parts = self._parts(group, slots, pairs // g, example)
            scores: FloatArray = self._labels(group, labels, parts, example).cpu().numpy()
            return scores

        width = self._width(group, slots) + self._target_room(group)
        for low, high, scores in self._batcher.split(n * g, width, run):
            out[low:high] = scores
        return out.reshape(n, g, len(labels))

    def differentiable(self, group: Group, labels: Labels) -> Tensor:
        """`(g, classes)`: `label_log_probs` of a group without slots, with what a backward pass
        through the weights needs, of all its rows at once."""
        example = self._members(group, None)
        return self._labels(group, labels, self._parts(group, [], example, example), example)

    def gradient(
        self,
        group: Group,
        labels: Labels,
        gold: IntArray,
        points: Sequence[FloatArray],
        members: IntArray | None = None,
    ) -> tuple[FloatArray, list[FloatArray]]:
        slots = [torch.from_numpy(np.array(p, np.float32)).to(self._device) for p in points]
        chosen = self._members(group, members)
        n, g = len(slots[0]), len(chosen)
        out = np.empty((n * g, len(labels)), dtype=np.float64)
        totals = [torch.zeros_like(slot) for slot in slots]
        targets = self._tensor(gold)

        def run(low: int, high: int) -> tuple[FloatArray, tuple[Tensor, ...]]:
            pairs = torch.arange(low, high, device=self._device)
            example = chosen[pairs % g]
            leaves = [slot.clone().requires_grad_() for slot in slots]
            with torch.enable_grad():
                parts = self._parts(group, leaves, pairs // g, example)
                scores = self._labels(group, labels, parts, example)
                nll = surprise(scores, None if group.targets is not None else targets[example])
                found = torch.autograd.grad(nll, leaves, allow_unused=True)
            kept = tuple(
                torch.zeros_like(leaf) if part is None else part
                for leaf, part in zip(leaves, found, strict=True)
            )
            return scores.detach().cpu().numpy(), kept

        # A backward pass holds the activations of every layer: twice the room.
        width = 2 * (self._width(group, slots) + self._target_room(group))
        for low, high, (scores, parts) in self._batcher.split(n * g, width, run):
            out[low:high] = scores
            for total, part in zip(totals, parts, strict=True):
                total += part
        return out.reshape(n, g, len(labels)), [total.cpu().numpy() for total in totals]

    @torch.no_grad()
    def next_token_log_probs(self, group: Group, prompts: Sequence[IntArray]) -> FloatArray:
        slots = [self._tensor(ids) for ids in prompts]
        n, g = len(slots[0]), len(group)
        total: FloatArray | None = None

        def run(low: int, high: int) -> tuple[Tensor, Tensor]:
            pairs = torch.arange(low, high, device=self._device)
            parts = self._parts(group, slots, pairs // g, pairs % g)
            return pairs // g, self._next(group, len(slots), parts, pairs % g)

        for _, _, (rows, log_probs) in self._batcher.split(n * g, self._width(group, slots), run):
            if total is None:
                total = np.zeros((n, log_probs.shape[1]))
            found, starts = np.unique(rows.cpu().numpy(), return_index=True)
            total[found] += np.add.reduceat(log_probs.cpu().numpy(), starts, dtype=np.float64)
        assert total is not None
        return total / g

    def last_hidden(self, group: Group) -> FloatArray:
        return np.concatenate([found for _, found in self._each_row(group, self._hidden)])

    def output_states(self, group: Group) -> FloatArray:
        return np.concatenate([found for _, found in self._each_row(group, self._output_states)])

    def word_log_probs(
        self, group: Group, tokens: IntArray
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        columns = self._tensor(tokens)

        def chosen(group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
            return self._words(group, parts, example)[:, columns]

        return self._each_row(group, chosen)

    def output_embeddings(self, tokens: IntArray) -> FloatArray:
        weight: Tensor = self._output_layer().weight
        rows: FloatArray = weight.detach()[self._tensor(tokens)].float().cpu().numpy()
        return rows

    def _output_layer(self) -> Any:
        layer = self._model.get_output_embeddings()
        if getattr(layer, "weight", None) is None:
            raise HardpromptError(f"'{self.info.name}' has no output embeddings to read words from")
        return layer

    def _each_row(
        self, group: Group, compute: Callable[[Group, list[Tensor], Tensor], Tensor]
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """What is computed of the rows of a group without slots, in batches, with their numbers."""
        assert len(group.segments) == 1, "a group without slots"

        @torch.no_grad()
        def run(low: int, high: int) -> FloatArray:
            example = torch.arange(low, high, device=self._device)
            parts = self._parts(group, [], example, example)
            found: FloatArray = compute(group, parts, example).float().cpu().numpy()
            return found

        for low, high, found in self._batcher.split(len(group), self._width(group, []), run):
            yield np.arange(low, high), found

    def _members(self, group: Group, members: IntArray | None) -> Tensor:
        if members is None:
            return torch.arange(len(group), device=self._device)
        return self._tensor(members)

    def _width(self, group: Group, slots: Sequence[Tensor]) -> int:
        constant = sum(part.shape[1] for part in group.segments)
        return int(constant + sum(slot.shape[1] for slot in slots))

    def _target_room(self, group: Group) -> int:
        """Tokens that a batch must count for the logits of the texts to be written in each row."""
        if group.targets is None:
            return 0
        return int(group.targets.max()) * logits_room(self._model)

    def _parts(
        self, group: Group, slots: Sequence[Tensor], cand: Tensor, example: Tensor
    ) -> list[Tensor]:
        """Segments and slots in reading order, each `(rows, t)` ids or `(rows, k, dim)` points."""
        parts = []
        for i, segment in enumerate(group.segments):
            parts.append(self._tensor(segment)[example])
            if i < len(slots):
                parts.append(slots[i][cand])
        return parts

    def _inputs(self, parts: list[Tensor]) -> dict[str, Tensor]:
        """Rows for the model's forward pass: as ids, or as points where a part is given so."""
        return as_input(joined(self._model, parts))


def logits_room(model: Any) -> int:
    """The logits of one place take as much memory as reading so many tokens."""
    table = model.get_input_embeddings().weight
    return int(-(-table.shape[0] // (FLOATS * table.shape[1])))


def surprise(scores: Tensor, gold: Tensor | None) -> Tensor:
    """The negative log-likelihood summed over all rows: of the right classes `gold` (...) among
    `scores` (..., classes); None: of what the rows end in, which the scores are."""
    if gold is None:
        return -scores.sum()
    return -scores.log_softmax(-1).gather(-1, gold[..., None]).sum()


def joined(model: Any, parts: Sequence[Tensor]) -> Tensor:
    """Parts of rows side by side, `(rows, w)` ids, or `(rows, w, dim)` points where one is so."""
    if not any(part.is_floating_point() for part in parts):
        return torch.cat(list(parts), 1)
    layer, dtype = model.get_input_embeddings(), model.dtype
    return torch.cat([p.to(dtype) if p.is_floating_point() else layer(p) for p in parts], 1)


def as_input(rows: Tensor) -> dict[str, Tensor]:
    """Rows as a model's forward pass takes them."""
    return {"inputs_embeds" if rows.is_floating_point() else "input_ids": rows}
