"""Causal language models: the label word is what the model would write next."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from hardprompt.models.base import Labels, ModelInfo
from hardprompt.models.batched import BatchedModel, as_input, joined
from hardprompt.models.codec import Codec
from hardprompt.models.memory import bytes_to_keep
from hardprompt.models.mixed import pick
from hardprompt.models.prefixed import keys_and_values_of
from hardprompt.models.targets import Targets
from hardprompt.models.writer import Decoding, write
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.mixed import MixedRow
from hardprompt.scoring.plan import Group
from hardprompt.types import FloatArray, IntArray

CACHED_TOKENS = 4  # a constant beginning of fewer is read anew in every row


class CausalModel(BatchedModel):
    """Scores rows of equal length together: no padding to the left, hence no mask."""

    def __init__(self, model: Any, codec: Codec, info: ModelInfo, batcher: Batcher) -> None:
        super().__init__(model, codec, info, batcher)
        takes = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in takes
        self._takes_places = "position_ids" in takes
        self._heads: WeakKeyDictionary[Group, Any] = WeakKeyDictionary()
        # Bytes of keys and values that may stay; what finds no room is computed anew.
        self._kept_bytes = bytes_to_keep(self._device)

    @property
    def first_told(self) -> int:
        return 0 if self.codec.prefix else 1

    def _looks(self, k: int) -> int:
        return 1

    def _alone(self, prompts: Tensor, look: Tensor) -> tuple[Tensor, Tensor]:
        """All places at once, each read from what stands before it."""
        n, k = prompts.shape[:2]
        places = torch.arange(self.first_told, k, device=self._device).expand(n, -1)
        parts = [self._repeated(self.codec.prefix, n), prompts[:, :-1]]
        return self._logits(parts, look, None, places - k).float().log_softmax(-1), places

    def write(self, rows: Sequence[IntArray | FloatArray], decoding: Decoding) -> list[str]:
        return write(self._model, self.codec, self._batcher, rows, decoding)

    def _labels(self, group: Group, labels: Labels, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows, classes)`; one forward pass for each distinct beginning of a label word."""
        if group.targets is not None:
            return self._targets(group, parts, example)[:, None]
        head = self._head(group)
        last = self._tensor(group.last)[example]
        out = torch.empty(len(example), len(labels), device=self._device)
        for start in dict.fromkeys(label[:-1] for label in labels):
            m = len(start) + 1
            rows = _append(parts, last, start)
            where = self._end(group, example)[:, None] - m + torch.arange(m, device=self._device)
            log_probs = self._logits(rows, example, head, where).float().log_softmax(-1)
            for c, label in enumerate(labels):
                if label[:-1] == start:
                    ids = torch.tensor(label, device=self._device)
                    out[:, c] = log_probs[:, torch.arange(m, device=self._device), ids].sum(1)
        return out

    def _targets(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        """`(rows,)`: the mean log-probability of a token of what each row ends in."""
        targets = Targets.of(group, example)
        where = targets.places(self._end(group, example))
        return targets.mean(self._logits(parts, example, self._head(group), where).float())

    def _end(self, group: Group, example: Tensor) -> Tensor:
        """`(rows,)`: where each row's padding begins, counted from the padded end: 0, or less."""
        return self._tensor(group.last)[example] - int(group.last.max())

    def _hidden(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        options: dict[str, Any] = {"use_cache": False, "output_hidden_states": True}
        if self._keeps_logits:
            options["logits_to_keep"] = 1
        # Not one logit is wanted.
        end = torch.full_like(example, -1)[:, None]
        with _head_reading(self._model.get_output_embeddings(), end):
            output = self._model(**self._inputs(parts), **options)
        last = self._tensor(group.last)[example]
        states: Tensor = output.hidden_states[-1]
        return states[torch.arange(len(last), device=self._device), last - 1]

    def _words(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        where = self._end(group, example)[:, None] - 1
        return self._logits(parts, example, None, where)[:, 0].float().log_softmax(-1)

    def _next(self, group: Group, slots: int, parts: list[Tensor], example: Tensor) -> Tensor:
        where = torch.full_like(example, -1)[:, None]
        logits = self._logits(parts, example, self._head(group), where)[:, 0]
        return logits.float().log_softmax(-1)

    def _logits(self, parts: list[Tensor], example: Tensor, head: Any, where: Tensor) -> Tensor:
        """`(rows, m, V)` logits at the places `where` (rows, m), -1 being the rows' last."""
        options: dict[str, Any] = {"use_cache": False}
        # Where nothing follows the beginning (an empty slot), there is nothing to run after it.
        if head is not None and any(part.shape[1] for part in parts[1:]):
            parts = parts[1:]
            options = {"past_key_values": self._expand(head, example), "use_cache": True}
        return self._logits_at(joined(self._model, parts), where, options)

    def _logits_at(self, rows: Tensor, where: Tensor, options: dict[str, Any]) -> Tensor:
        """`(rows, m, V)` logits at the places `where` of `(rows, w)` ids or `(rows, w, dim)`
        points, from one forward pass with these options."""
        if self._keeps_logits:
            options["logits_to_keep"] = -int(where.min())
        with _head_reading(self._model.get_output_embeddings(), where):
            logits: Tensor = self._model(**as_input(rows), **options).logits
        # A model without an output layer of its own: of all places, or of the last.
        return logits if logits.shape[1] == where.shape[1] else _from_end(logits, where)

    def _stand_in(self, label: tuple[int, ...]) -> tuple[int, ...]:
        return label[:-1]

    def _told_at(self, row: MixedRow) -> int:
        return row.place - 1

    def _read(self, rows: Sequence[MixedRow], where: Tensor) -> Tensor:
        tokens, ends = self._padded(rows)
        options: dict[str, Any] = {"use_cache": False}
        if (prefixes := self._prefixes(rows)) is not None:
            options = self._behind(*prefixes, ends)
        logits = self._logits_at(tokens, where - tokens.shape[1], options)
        return logits.float().log_softmax(-1)

    def _behind(self, whole: Tensor, lengths: Tensor, ends: Tensor) -> dict[str, Any]:
        """What a forward pass takes for rows with these true lengths behind prefixes, which are
        padded to the left."""
        cache = DynamicCache()
        for number, (keys, values) in enumerate(whole):
            cache.update(keys, values, number)
        t, own = whole.shape[4], torch.arange(int(ends.max()), device=self._device)
        before = torch.arange(t, device=self._device) >= t - lengths[:, None]
        mask = torch.cat([before, own < ends[:, None]], 1)
        options = {"past_key_values": cache, "use_cache": True, "attention_mask": mask.long()}
        if self._takes_places:
            # Padding stays at the last place: behind a prefix, it might lie beyond a model's table.
            options["position_ids"] = lengths[:, None] + own.minimum(ends[:, None] - 1)
        return options

    @cached_property
    def prefix_shape(self) -> tuple[int, int, int, int]:
        layers, both, heads, dim = keys_and_values_of(self._model, [0]).shape[1:]
        return layers, both, heads, dim

    def _head(self, group: Group) -> Any:
        """Keys and values of the constant beginning of each member, or one row for all of them,
        computed once; None where not worth it."""
        first = group.segments[0]
        if len(group.segments) < 2 or first.shape[1] < CACHED_TOKENS:
            return None
        if group not in self._heads:
            self._heads[group] = self._compute_head(first)
        return self._heads[group]

    def _compute_head(self, first: IntArray) -> Any:
        held = sum(_n_bytes(head) for head in self._heads.values() if head is not None)
        alike = bool((first == first[0]).all())
        rows = self._tensor(first[:1] if alike else first)

        @torch.no_grad()
        def run(low: int, high: int) -> list[tuple[Tensor, Tensor]] | None:
            # Not the head on top: logits of every place are the most of its memory.
            output = self._model.base_model(input_ids=rows[low:high], use_cache=True)
            cache = getattr(output, "past_key_values", None)
            # Sliding windows and state-space layers are not plain keys and values.
            if type(cache) is not DynamicCache or not cache.layers:
                return None
            plain = [layer for layer in cache.layers if type(layer) is DynamicLayer]
            return [_tensors(layer) for layer in plain] if len(plain) == len(cache.layers) else None

        pieces = []
        taken = 0
        for _, high, layers in self._batcher.split(len(rows), rows.shape[1], run):
            if layers is None:
                return None
            pieces.append(layers)
            taken += _n_bytes(layers)
            if held + taken * len(rows) / high > self._kept_bytes:
                return None
        return [
            tuple(map(torch.cat, zip(*layer, strict=True))) for layer in zip(*pieces, strict=True)
        ]

    def _expand(self, head: Any, example: Tensor) -> DynamicCache:
        # A cache is updated in place, so every batch gets its own copy.
        cache = DynamicCache()
        for number, (keys, values) in enumerate(head):
            each = example % len(keys)  # one row is that of all
            cache.update(keys[each], values[each], number)
        return cache


@contextmanager
def _head_reading(layer: Any, where: Tensor) -> Iterator[None]:
    """The output layer sees nothing but the places `where`: logits of all of them are most of the
    memory of a small model."""
    if layer is None:
        yield
        return
    handle = layer.register_forward_pre_hook(
        lambda _, inputs: (_from_end(inputs[0], where), *inputs[1:])
    )
    try:
        yield
    finally:
        handle.remove()


def _from_end(states: Tensor, where: Tensor) -> Tensor:
    """`(rows, m, d)`: what stands at the places `where` (rows, m), -1 being the last."""
    return pick(states, where + states.shape[1])


def _tensors(layer: DynamicLayer) -> tuple[Tensor, Tensor]:
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values


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
