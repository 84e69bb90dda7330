"""GPT-2's activation, computed where a CPU is fastest."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import Module, functional
from transformers.pytorch_utils import Conv1D

CUBIC, SLOPE = 0.044715, 2 * math.sqrt(2 / math.pi)
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
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


class Conv1DGelu(Conv1D):
    """A linear layer of GPT-2 and its activation, on a CPU in one step by oneDNN.

    The product is activated while it lies in the caches, before it is rounded.
    """

    def __init__(self, layer: Conv1D) -> None:
        super().__init__(layer.nf, layer.nx)  # type: ignore[no-untyped-call]
        self.weight, self.bias = layer.weight, layer.bias
        self._activation = TanhGelu()

    def forward(self, states: Tensor) -> Tensor:
        tracked = torch.is_grad_enabled() and (states.requires_grad or self.weight.requires_grad)
        if tracked or states.device.type != "cpu" or not HAS_ONEDNN:
            activated: Tensor = self._activation(
                super().forward(states)  # type: ignore[no-untyped-call]
            )
            return activated
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self.weight.t(), self.bias, "gelu", [], "tanh"
        )
        return fused


def _activated(x: Tensor) -> Tensor:
    gate = x * x
    gate.mul_(CUBIC * SLOPE).add_(SLOPE).mul_(x)
    return gate.sigmoid_().mul_(x)
