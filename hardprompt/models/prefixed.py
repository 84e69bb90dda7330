"""A causal model whose every layer attends to keys and values that stand before all tokens."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from hardprompt.errors import UnfitModel
from hardprompt.models.cascade import NAME


class PrefixCache(DynamicCache):
    """Keys and values that begin with those of a prefix."""


class PrefixModel(nn.Module):
    """A model behind a prefix; called as the model itself, of whose tokens alone it tells.

    Masks and positions are those of the tokens; the prefix is counted here. To read on, hand in
    the cache of an earlier output or `cache`; one that lacks the prefix is refused.
    """

    def __init__(self, plain: Any, prefix: nn.Module) -> None:
        super().__init__()
        if plain.config._attn_implementation == NAME:  # is handed no mask, and so reads no cache
            raise ValueError("a prefix needs attention of transformers' own, such as 'sdpa'")
        self.plain, self.prefix = plain, prefix
        self._keeps_logits = "logits_to_keep" in inspect.signature(plain.forward).parameters
        self.length = len(self.keys_and_values())

    def __getattr__(self, name: str) -> Any:
        """The model's own configuration, embeddings and precision."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("plain"), name)

    def keys_and_values(self) -> Tensor:
        """`(length, layers, 2, kv_heads, head_dim)`: the prefix as it is now."""
        found: Tensor = self.prefix()
        return found

    def cache(self, n: int) -> PrefixCache:
        """The prefix for `n` rows, for a decoder to begin at."""
        cache = PrefixCache()
        # (layers, 2, kv_heads, length, head_dim)
        layers = self.keys_and_values().to(self.plain.dtype).permute(1, 2, 3, 0, 4)
        for number, (keys, values) in enumerate(layers):
            cache.update(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1), number)
        return cache

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: PrefixCache | None = None,
        inputs_embeds: Tensor | None = None,
        logits_to_keep: int = 0,
        **options: Any,
    ) -> Any:
        rows = input_ids if inputs_embeds is None else inputs_embeds
        assert rows is not None, "input_ids or inputs_embeds"
        if past_key_values is None:
            past_key_values = self.cache(len(rows))
        if not isinstance(past_key_values, PrefixCache):
            raise TypeError("past_key_values must begin with the prefix: take those of cache()")
        if attention_mask is not None:
            seen = attention_mask.new_ones(len(rows), self.length)
            options["attention_mask"] = torch.cat([seen, attention_mask], 1)
        if position_ids is not None:
            options["position_ids"] = position_ids + self.length
        if self._keeps_logits:
            options["logits_to_keep"] = logits_to_keep
        return self.plain(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            **options,
        )

    def generate(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any
    ) -> Tensor:
        """Ids of input and continuation, as `generate` of transformers finds them behind the
        prefix; how many is told by `max_new_tokens` or a `generation_config`."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        config = options.get("generation_config")
        copies = max(
            options.get(name, getattr(config, name, None)) or 1
            for name in ("num_beams", "num_return_sequences")
        )
        cache = self.cache(len(input_ids) * copies)
        # transformers takes for read as many ids as the cache holds: these stand for the prefix.
        read = input_ids[:, :1].repeat(1, self.length)
        found: Tensor = self.plain.generate(
            torch.cat([read, input_ids], 1),
            attention_mask=torch.cat([torch.ones_like(read), attention_mask], 1),
            past_key_values=cache,
            **options,
        )
        return found[:, self.length :]


def keys_and_values_of(model: Any, ids: Sequence[int]) -> Tensor:
    """`(len(ids), layers, 2, kv_heads, head_dim)` float32: what a model keeps of a row of tokens,
    which is the prefix that stands for them.

    Raises `UnfitModel` where the model keeps anything else (a window, a state, nothing).
    """
    kind = model.config.model_type
    unfit = UnfitModel(
        f"a prefix needs a causal model with plain keys and values at every layer, alike in all; "
        f"'{kind}' is none"
    )
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise unfit
    with torch.no_grad():
        row = torch.tensor([list(ids)], device=model.device)
        output = model(input_ids=row, use_cache=True)
    layers = getattr(output.past_key_values, "layers", None)
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        raise unfit
    pairs = [layer.keys for layer in layers] + [layer.values for layer in layers]
    if len({pair.shape for pair in pairs}) > 1:
        raise unfit
    kept = torch.stack([torch.cat([layer.keys, layer.values]) for layer in layers])
    return kept.permute(3, 0, 1, 2, 4).float()  # from (layers, 2, kv_heads, length, head_dim)
