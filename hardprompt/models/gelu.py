"""GPT-2's activation, computed where a CPU is fastest."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import Module, functional
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

from hardprompt.models.linear import HAS_BFLOAT16, HAS_ONEDNN, QuickConv1D

CUBIC, SLOPE = 0.044715, 2 * math.sqrt(2 / math.pi)
ROWS = 256  # converted together: few enough to stay in the caches


class TanhGelu(Module):
    """GELU in its tanh approximation (Hendrycks & Gimpel, 2016, section 2).

    x / 2 (1 + tanh(u)) is x sigmoid(2u): the same function, and a sigmoid takes a CPU a fifth of
    the time of a tanh, which is a good part of a small model's.
    """

    def forward(self, states: Tensor) -> Tensor:
        if states.requires_grad or states.device.type != "cpu":
            return functional.gelu(states, approximate="tanh")
        if states.dtype == torch.float32:
            return _activated(states)
        out = torch.empty_like(states)
        rows = states.reshape(-1, states.shape[-1])
        for low in range(0, len(rows), ROWS):
            piece = rows[low : low + ROWS]
            out.view(rows.shape)[low : low + ROWS] = _activated(piece.float())
        return out


class FusedMLP(Module):
    """GPT-2's MLP: on a CPU its first layer and the activation are one step of oneDNN, which
    activates the product while it lies in the caches, before it is rounded.

    The layers stay what they are, and are called as such where they are trained or adapted.
    """

    def __init__(self, mlp: GPT2MLP) -> None:
        super().__init__()
        self.c_fc, self.c_proj, self.act, self.dropout = mlp.c_fc, mlp.c_proj, mlp.act, mlp.dropout

    def forward(self, states: Tensor) -> Tensor:
        layer = self.c_fc
        if self._plain(states):
            states = torch.ops.mkldnn._linear_pointwise(
                states, layer.weight.t(), layer.bias, "gelu", [], "tanh"
            )
        else:
            states = self.act(layer(states))
        out: Tensor = self.dropout(self.c_proj(states))
        return out

    def _plain(self, states: Tensor) -> bool:
        """Whether oneDNN can: the first layer is GPT-2's own and nothing asks for a gradient."""
        layer = self.c_fc
        own = type(layer) in (Conv1D, QuickConv1D)
        if states.device.type != "cpu" or not _takes(states.dtype) or not own:
            return False
        tracked = states.requires_grad or layer.weight.requires_grad
        return not layer._forward_hooks and not (tracked and torch.is_grad_enabled())


def _takes(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in this precision here; where it does not, it raises."""
    if dtype == torch.bfloat16:
        return HAS_BFLOAT16
    return HAS_ONEDNN and dtype == torch.float32


def _activated(x: Tensor) -> Tensor:
    gate = x * x
    gate.mul_(CUBIC * SLOPE).add_(SLOPE).mul_(x)
    return gate.sigmoid_().mul_(x)
