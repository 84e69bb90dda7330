"""Attention to keys and values that many rows share: computed once, never copied for each row.

Known as cascade inference or Hydragen (Juravsky et al., 2024): the queries of all rows behind one
beginning meet its keys in one matrix product. Registered with transformers once; a model takes
part by its attention implementation alone, and hands `reading` through to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from hardprompt.errors import HardpromptError
from hardprompt.models.linear import HAS_BFLOAT16
from hardprompt.scoring.plan import cuts
from hardprompt.types import IntArray

NAME = "hardprompt_cascade"
# Keys of a row that products were measured with: faster, and scores of all pairs still small.
MOST_KEYS = 1024
LEAST_KEYS = 16  # torch's softmax takes a CPU five times as long over fewer
# Bytes of scores that a CPU computes in the time that a further run of beginnings takes.
RUN_COST = 200_000
OUTPUTS = (
    "o_proj",
    "out_proj",
    "c_proj",
    "dense",
)  # what an attention's output projection is called


class Unsupported(HardpromptError):
    """The model's attention has more to it than a softmax over all that came before."""


@dataclass(frozen=True)
class Context:
    """Keys and values of `X` beginnings, padded to the right; each is read by as many rows.

    In what order the tokens of one stand does not matter: their places are in their keys.
    """

    keys: tuple[Tensor, ...]  # of each layer: (X, kv_heads, t, head_dim)
    values: tuple[Tensor, ...]
    lengths: IntArray  # (X,) true tokens of each
    bias: Tensor | None = None  # (X, t), -inf at padding; None: there is none

    @classmethod
    def of_prefixes(cls, whole: Tensor, lengths: Tensor) -> Context:
        """Of `(layers, 2, X, kv_heads, t, head_dim)`, padded to the left, and true lengths."""
        whole = whole.flip(4)
        padding = torch.arange(whole.shape[4], device=whole.device) >= lengths[:, None]
        bias = torch.zeros(padding.shape, dtype=whole.dtype, device=whole.device)
        bias.masked_fill_(padding, float("-inf"))
        keys, values = whole.unbind(1)
        return cls(tuple(keys), tuple(values), lengths.cpu().numpy(), bias)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        return int(self.keys[0].shape[2])

    @property
    def n_bytes(self) -> int:
        return sum(2 * keys.numel() * keys.element_size() for keys in self.keys)

    def cut(self, low: int, high: int, layer: int | None = None) -> Context:
        """The beginnings `low..high`, as views, no wider than the longest of them; of all layers,
        or of one."""
        lengths = self.lengths[low:high]
        width = min(self.width, max(int(lengths.max()), LEAST_KEYS))
        padded = self.bias is not None and bool((lengths < width).any())
        layers = slice(None) if layer is None else slice(layer, layer + 1)
        return Context(
            tuple(keys[low:high, :, :width] for keys in self.keys[layers]),
            tuple(values[low:high, :, :width] for values in self.values[layers]),
            lengths,
            self.bias[low:high, :width] if padded and self.bias is not None else None,
        )

    def runs(self, queries: int) -> list[tuple[int, int]]:
        """The beginnings in runs `low..high` of like lengths: as many as pay where so many queries
        meet the keys of each."""
        if self.bias is None or self.bias.device.type != "cpu" or (np.diff(self.lengths) < 0).any():
            return [(0, len(self))]
        cost = RUN_COST // (queries * self.bias.element_size())
        lengths = self.lengths.clip(LEAST_KEYS)
        if (lengths[-1] - lengths).sum() <= cost:  # no division saves more; asked in every layer
            return [(0, len(self))]
        return cuts(lengths, cost)


@dataclass
class Reading:
    """What one forward pass reads beside its own tokens, and what is wanted of it.

    Rows are ordered by their beginning: all of the first, then all of the second.
    """

    context: Context | None = None
    own: Tensor | None = None  # (1 or rows, w, w) bool: which own tokens each reads; None: causal
    kept: list[tuple[Tensor, Tensor]] | None = None  # filled with the new keys and values
    # (rows,) the one position asked for, or -1 for the last of each: the last layer does no more.
    only: Tensor | int | None = None
    last_layer: int = -1


def cascade_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    reading: Reading | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """`query` (rows, heads, w, head_dim), `key`, `value` (rows, kv_heads, w, head_dim) of the new
    tokens -> (rows, w, heads, head_dim). Raises `Unsupported`."""
    if reading is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
        return out, None
    for name in ("softcap", "s_aux", "sliding_window"):
        if options.get(name) is not None:
            raise Unsupported(f"attention with {name}")
    if attention_mask is not None:
        raise Unsupported("attention with a mask of its own")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    if reading.kept is not None:
        reading.kept.append((key, value))
    w, own = query.shape[2], reading.own
    only = reading.only if layer == reading.last_layer else None
    if only is not None:
        query, own = _only(query, only, own)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if reading.context is None and own is None:
        out = _by_rows(query, key, value, None, scale, causal=query.shape[2] > 1)
        return (out if only is None else out.expand(-1, w, -1, -1)), None
    if only is None and own is None and w > 1:
        own = torch.ones(1, w, w, dtype=torch.bool, device=query.device).tril()
    out = _attend(query, key, value, own, reading.context, layer, scale)
    return (out if only is None else out.expand(-1, w, -1, -1)), None


def _only(query: Tensor, only: Tensor | int, own: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The queries at the wanted positions, (rows, heads, 1, head_dim), and what they read."""
    if isinstance(only, int):
        return query[:, :, -1:], None if own is None else own[:, -1:]
    rows = torch.arange(len(query), device=query.device)
    places = torch.arange(query.shape[2], device=query.device)
    own = places <= only[:, None] if own is None else own.expand(len(query), -1, -1)[rows, only]
    return query[rows, :, only][:, :, None], own[:, None]


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    own: Tensor | None,
    context: Context | None,
    layer: int,
    scale: float,
) -> Tensor:
    """(rows, wq, heads, head_dim)"""
    if context is None:
        return _by_rows(query, key, value, own, scale)
    if context.bias is None and context.width < query.shape[2]:
        # Little is shared and much is not: fused attention over copies is faster.
        each = len(query) // len(context)
        key = torch.cat([context.keys[layer].repeat_interleave(each, 0), key], 2)
        value = torch.cat([context.values[layer].repeat_interleave(each, 0), value], 2)
        if own is not None:
            own = functional.pad(own, (context.width, 0), value=True)
        return _by_rows(query, key, value, own, scale)
    return _shared(query, key, value, own, context, layer, scale)


def _by_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    own: Tensor | None,
    scale: float,
    *,
    causal: bool = False,
) -> Tensor:
    """(rows, wq, heads, dim): every row by itself, `own` (1 or rows, wq, t) bool."""
    if _multiplied(query, key):
        # Torch's fused attention takes a CPU as long in bfloat16 as in float32; products do not.
        return _by_products(query, key, value, own, scale, causal=causal)
    grouped = query.shape[1] != key.shape[1]
    mask = None if own is None else own[:, None]
    out = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=grouped, is_causal=causal
    )
    return out.transpose(1, 2)


def _multiplied(query: Tensor, key: Tensor) -> bool:
    return _in_bfloat16(query) and key.shape[2] <= MOST_KEYS


def _in_bfloat16(part: Tensor) -> bool:
    """Whether its products are those of oneDNN on a CPU in bfloat16."""
    return part.dtype == torch.bfloat16 and part.device.type == "cpu" and HAS_BFLOAT16


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, own: Tensor | None, scale: float, *, causal: bool
) -> Tensor:
    """As `_by_rows`, with the scores of all pairs of tokens in memory."""
    rows, heads, wq, dim = query.shape
    kv, t = key.shape[1:3]
    if causal:
        own = torch.ones(1, wq, t, dtype=torch.bool, device=query.device).tril()
    # Heads that read the same keys stand below each other.
    q, k, v = (part.reshape(rows * kv, -1, dim) for part in (query, key, value))
    scores = _scores(q, k, _barred(own, (rows, kv, 1, heads // kv), q.dtype), scale)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights @ v).view(rows, heads, wq, -1).transpose(1, 2)


def _scores(query: Tensor, key: Tensor, barred: Tensor | None, scale: float) -> Tensor:
    """`query` (n, w, dim) times `key` (n, t, dim), and `barred`, in one step: (n, w, t)."""
    whole = query.new_zeros(1, 1, 1) if barred is None else barred
    return torch.baddbmm(whole, query, key.transpose(1, 2), alpha=scale)


def _barred(own: Tensor | None, of: tuple[int, int, int, int], dtype: torch.dtype) -> Tensor | None:
    """-inf at what is not read, of `own` (1 or x * c, wq, w), for x beginnings, their kv heads, the
    c rows behind each and the g heads that read one: (1 or x * kv * c, g * wq, w)."""
    if own is None:
        return None
    wq, w = own.shape[1:]
    x, kv, c, g = of if len(own) > 1 else (1, 1, 1, of[-1])
    barred = torch.zeros(own.shape, dtype=dtype, device=own.device)
    barred = barred.masked_fill_(~own, float("-inf")).view(x, 1, c, 1, wq, w)
    return barred.expand(x, kv, c, g, wq, w).reshape(-1, g * wq, w)


def _shared(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    own: Tensor | None,
    context: Context,
    layer: int,
    scale: float,
) -> Tensor:
    """One matrix product for all queries behind a beginning, one for each row's own tokens; one
    softmax over both."""
    rows, heads, wq, dim = query.shape
    x, kv = context.keys[layer].shape[:2]
    c, g, w = rows // x, heads // kv, key.shape[2]

    def by_beginning(part: Tensor, each: int) -> Tensor:
        """(rows, kv * n, w, dim) -> (x * kv * c, n * w, dim) with each = n * w"""
        part = part.reshape(x, c, kv, each, dim)
        return part.transpose(1, 2).reshape(x * kv * c, each, dim)

    q, k, v = by_beginning(query, g * wq), by_beginning(key, w), by_beginning(value, w)
    if w == 1:
        # Reads itself. Products by element, since a thousand of 1 by 1 matrices are slow.
        mine = (q * k).sum(-1, keepdim=True) * scale
    else:
        mine = _scores(q, k, _barred(own, (x, kv, c, g), q.dtype), scale)
    outs = []
    for low, high in context.runs(c * heads * wq):
        run = slice(low * kv * c, high * kv * c)
        outs.append(_weighed(q[run], mine[run], v[run], context.cut(low, high, layer), scale))
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    return out.view(x, kv, c, g, wq, dim).permute(0, 2, 4, 1, 3, 5).reshape(rows, wq, heads, dim)


def _weighed(q: Tensor, mine: Tensor, v: Tensor, context: Context, scale: float) -> Tensor:
    """`q` (n * c, m, dim), where c of them read one of the n beginnings and heads of a context of
    one layer; `mine` (n * c, m, w) their scores to their own tokens, whose values are `v`
    (n * c, w, dim): what they read of all, (n * c, m, dim)."""
    (keys,), (values,), bias = context.keys, context.values, context.bias
    keys, values = keys.flatten(0, 1), values.flatten(0, 1)
    n, t, dim = keys.shape
    m, w = mine.shape[1:]
    padding = None if bias is None else bias.repeat_interleave(n // len(bias), 0)[:, None]
    scores = _scores(q.view(n, -1, dim), _laid(keys), padding, scale)
    both = torch.cat([scores, mine.view(n, -1, w)], -1)
    weights = both.softmax(-1, dtype=torch.float32).to(v.dtype)
    # As views: products read them where they lie.
    shares = weights.view(-1, m, t + w)[..., t:]
    out = (weights[..., :t] @ values).view(-1, m, dim)
    return torch.addcmul(out, shares, v) if w == 1 else torch.baddbmm(out, shares, v)


def _laid(part: Tensor) -> Tensor:
    """As products want it. Those of oneDNN in bfloat16 would copy a part of something larger
    themselves, and three times as slowly when they turn it round."""
    return part.contiguous() if _in_bfloat16(part) else part


AttentionInterface.register(NAME, cascade_attention)


def usual_attention(model: Any) -> str:
    """What stands in the cascade's place where that cannot serve: torch's own, where the model
    knows it."""
    return "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"


@contextmanager
def last_layer_once(parts: tuple[torch.nn.Module, ...], reading: Reading) -> Iterator[None]:
    """What follows the last layer's attention sees the one position that is read, nothing else.

    Its output is then added to every position alike, which is right at the one that is read.
    """
    only = reading.only
    if only is None:
        yield
        return

    def pick(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return at(inputs[0], only), *inputs[1:]

    with ExitStack() as stack:
        for part in parts:
            stack.callback(part.register_forward_pre_hook(pick).remove)
        yield


def at(states: Tensor, only: Tensor | int) -> Tensor:
    """(rows, w, dim) -> (rows, 1, dim) at the position asked for."""
    if isinstance(only, Tensor):
        return states[torch.arange(len(states), device=states.device), only][:, None]
    # Not as a view: a linear layer would meet its rows one by one.
    return states[:, -1:].contiguous()


def parts_after_attention(model: Any, n_layers: int) -> tuple[torch.nn.Module, ...]:
    """The output projection and the MLP of the last layer; what of them has no usual name is left
    to work in full."""
    layers = next(
        module
        for module in model.base_model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers
    )
    last = layers[n_layers - 1]
    attention = next((m for m in last.modules() if hasattr(m, "layer_idx")), None)
    found = [getattr(last, "mlp", None), *(getattr(attention, name, None) for name in OUTPUTS)]
    return tuple(part for part in found if part is not None)
