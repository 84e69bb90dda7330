"""Causal language models: the label word is what the model would write next."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from hardprompt.models.base import Labels, ModelInfo
from hardprompt.models.codec import Codec
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.plan import Group
from hardprompt.types import FloatArray, IntArray

# A constant beginning is computed once when it has at least so many tokens,
# and as long as all of them together stay below so many bytes.
CACHED_TOKENS, CACHED_BYTES = 4, 2 * 1024**3
EMBEDDING_CHUNK = 8192


class CausalModel:
    """Scores rows of equal length together: no padding to the left, hence no mask."""

    def __init__(self, model: Any, codec: Codec, info: ModelInfo, batcher: Batcher) -> None:
        self.codec, self.info = codec, info
        self._model = model.eval().requires_grad_(False)
        self._batcher = batcher
        self._device = next(model.parameters()).device
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._heads: WeakKeyDictionary[Group, Any] = WeakKeyDictionary()

    @cached_property
    def embeddings(self) -> FloatArray:
        layer = self._model.get_input_embeddings()
        ids = torch.arange(layer.weight.shape[0], device=self._device)
        # Through the layer, not its weight: Gemma scales what it looks up.
        with torch.no_grad():
            chunks = [layer(part).float().cpu() for part in torch.split(ids, EMBEDDING_CHUNK)]
        table: FloatArray = torch.cat(chunks).numpy()
        return table

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
        head = self._head(group)

        def run(low: int, high: int) -> FloatArray:
            pairs = torch.arange(low, high, device=self._device)
            example = chosen[pairs % g]
            parts = self._parts(group, slots, pairs // g, example)
            scores: FloatArray = self._labels(group, labels, parts, example, head).cpu().numpy()
            return scores

        for low, high, scores in self._batcher.split(n * g, self._width(group, slots), run):
            out[low:high] = scores
        return out.reshape(n, g, len(labels))

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
        targets, head = self._tensor(gold), self._head(group)

        def run(low: int, high: int) -> tuple[FloatArray, tuple[Tensor, ...]]:
            pairs = torch.arange(low, high, device=self._device)
            example = chosen[pairs % g]
            leaves = [slot.clone().requires_grad_() for slot in slots]
            with torch.enable_grad():
                parts = self._parts(group, leaves, pairs // g, example)
                scores = self._labels(group, labels, parts, example, head)
                nll = -scores.log_softmax(-1).gather(1, targets[example, None]).sum()
                found = torch.autograd.grad(nll, leaves, allow_unused=True)
            kept = tuple(
                torch.zeros_like(leaf) if part is None else part
                for leaf, part in zip(leaves, found, strict=True)
            )
            return scores.detach().cpu().numpy(), kept

        # A backward pass holds the activations of every layer: twice the room.
        width = 2 * self._width(group, slots)
        for low, high, (scores, parts) in self._batcher.split(n * g, width, run):
            out[low:high] = scores
            for total, part in zip(totals, parts, strict=True):
                total += part
        return out.reshape(n, g, len(labels)), [total.cpu().numpy() for total in totals]

    @torch.no_grad()
    def next_token_log_probs(self, group: Group, prompts: Sequence[IntArray]) -> FloatArray:
        slots = [self._tensor(ids) for ids in prompts]
        n, g = len(slots[0]), len(group)
        head = self._head(group)
        total: FloatArray | None = None

        def run(low: int, high: int) -> tuple[Tensor, Tensor]:
            pairs = torch.arange(low, high, device=self._device)
            parts = self._parts(group, slots, pairs // g, pairs % g)
            logits = self._logits(parts, pairs % g, head, 1)[:, -1]
            return pairs // g, logits.float().log_softmax(-1)

        for _, _, (rows, log_probs) in self._batcher.split(n * g, self._width(group, slots), run):
            if total is None:
                total = np.zeros((n, log_probs.shape[1]))
            np.add.at(total, rows.cpu().numpy(), log_probs.cpu().numpy())
        assert total is not None
        return total / g

    @torch.no_grad()
    def last_hidden(self, group: Group) -> FloatArray:
        (segment,) = group.segments
        ids, last = self._tensor(segment), self._tensor(group.last)

        def run(low: int, high: int) -> FloatArray:
            output = self._model(
                input_ids=ids[low:high], use_cache=False, output_hidden_states=True
            )
            rows = torch.arange(high - low, device=self._device)
            states = output.hidden_states[-1][rows, last[low:high] - 1]
            found: FloatArray = states.float().cpu().numpy()
            return found

        parts = self._batcher.split(len(group), segment.shape[1], run)
        return np.concatenate([part for *_, part in parts])

    def prompt_log_prob(self, ids: Sequence[int]) -> float:
        """Mean log-probability of each token of a text after the tokenizer's own beginning."""
        start = len(self.codec.prefix)
        if len(ids) - max(start, 1) < 1:
            return float("nan")
        with torch.no_grad():
            row = self._tensor(np.array([list(ids)], dtype=np.int64))
            log_probs = self._model(input_ids=row, use_cache=False).logits[0].float()
        log_probs = log_probs[:-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]
        return float(log_probs[max(start - 1, 0) :].mean())

    def _members(self, group: Group, members: IntArray | None) -> Tensor:
        if members is None:
            return torch.arange(len(group), device=self._device)
        return self._tensor(members)

    def _tensor(self, array: IntArray | FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _width(self, group: Group, slots: Sequence[Tensor]) -> int:
        constant = sum(part.shape[1] for part in group.segments)
        return int(constant + sum(slot.shape[1] for slot in slots))

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

    def _labels(
        self, group: Group, labels: Labels, parts: list[Tensor], example: Tensor, head: Any
    ) -> Tensor:
        """`(rows, classes)`; one forward pass for each distinct beginning of a label word."""
        last = self._tensor(group.last)[example]
        end = last - int(group.last.max())  # <= 0: where the true end lies, from the row's end
        out = torch.empty(len(example), len(labels), device=self._device)
        for start in dict.fromkeys(label[:-1] for label in labels):
            m = len(start) + 1
            rows = _append(parts, last, start)
            logits = self._logits(rows, example, head, group.spread + m).float()
            first = group.spread + end  # (rows,) position of the first label token's prediction
            where = first[:, None] + torch.arange(m, device=self._device)
            log_probs = logits[torch.arange(len(rows[0]), device=self._device)[:, None], where]
            log_probs = log_probs.log_softmax(-1)
            for c, label in enumerate(labels):
                if label[:-1] == start:
                    ids = torch.tensor(label, device=self._device)
                    out[:, c] = log_probs[:, torch.arange(m, device=self._device), ids].sum(1)
        return out

    def _logits(self, parts: list[Tensor], example: Tensor, head: Any, keep: int) -> Tensor:
        """`(rows, keep, V)` logits of the last positions."""
        options: dict[str, Any] = {"use_cache": False}
        # Where nothing follows the beginning (an empty slot), there is nothing to run after it.
        if head is not None and any(part.shape[1] for part in parts[1:]):
            parts = parts[1:]
            options = {"past_key_values": self._expand(head, example), "use_cache": True}
        if any(part.is_floating_point() for part in parts):
            layer = self._model.get_input_embeddings()
            dtype = self._model.dtype
            points = [p.to(dtype) if p.is_floating_point() else layer(p) for p in parts]
            options["inputs_embeds"] = torch.cat(points, 1)
        else:
            options["input_ids"] = torch.cat(parts, 1)
        if self._keeps_logits:
            options["logits_to_keep"] = keep
        logits: Tensor = self._model(**options).logits
        return logits[:, -keep:]

    def _head(self, group: Group) -> Any:
        """Keys and values of the constant beginning, computed once; None where not worth it."""
        first = group.segments[0]
        if len(group.segments) < 2 or first.shape[1] < CACHED_TOKENS:
            return None
        if group not in self._heads:
            self._heads[group] = self._compute_head(first)
        return self._heads[group]

    def _compute_head(self, first: IntArray) -> Any:
        held = sum(_n_bytes(head) for head in self._heads.values() if head is not None)
        if held > CACHED_BYTES:
            return None
        with torch.no_grad():
            output = self._model(input_ids=self._tensor(first), use_cache=True)
        layers = getattr(output.past_key_values, "layers", None)
        # Sliding windows and state-space layers are not plain keys and values.
        if not layers or any(type(layer).__name__ != "DynamicLayer" for layer in layers):
            return None
        return [(layer.keys, layer.values) for layer in layers]

    def _expand(self, head: Any, example: Tensor) -> DynamicCache:
        # A cache is updated in place, so every batch gets its own copy.
        cache = DynamicCache()
        for number, (keys, values) in enumerate(head):
            cache.update(keys[example], values[example], number)
        return cache


def _n_bytes(head: list[tuple[Tensor, Tensor]]) -> int:
    return sum(2 * keys.numel() * keys.element_size() for keys, _ in head)


def _append(parts: list[Tensor], last: Tensor, start: tuple[int, ...]) -> list[Tensor]:
    """The rows with `start` written directly after each row's true end."""
    if not start:
        return parts
    tail = parts[-1]
    extended = torch.nn.functional.pad(tail, (0, len(start)))
    where = last[:, None] + torch.arange(len(start), device=tail.device)
    extended.scatter_(1, where, torch.tensor(start, device=tail.device).expand(len(tail), -1))
    return [*parts[:-1], extended]
