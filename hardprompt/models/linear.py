"""Linear layers of a model that is read, computed by what is fastest on this CPU."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
HAS_BFLOAT16 = HAS_ONEDNN and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _narrowed() -> bool:
    """Whether float32 products of torch use half of this CPU's width: they are MKL's, which takes
    256-bit instructions on AMD's processors, whatever these have."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf8")
    except OSError:
        about = platform.processor()
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return wide and "AuthenticAMD" in about and has_mkl


BY_ONEDNN = HAS_ONEDNN and _narrowed()


def quicken(model: nn.Module) -> None:
    """Linear layers become their faster kinds where there are any; they stay what they are to who
    trains, adapts, copies or saves them. Weights of `QuickConv1D` are views that lie otherwise in
    memory: safetensors' own `save_file` wants them contiguous, `save_pretrained` sees to it."""
    kinds = QUICK if BY_ONEDNN or HAS_BFLOAT16 else {}
    for module in model.modules():
        if type(module) in kinds and module.weight.device.type == "cpu":
            module.__class__ = kinds[type(module)]
        if isinstance(module, QuickConv1D):
            module.lay()


def linear(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`states` (..., inputs) times `weight` (outputs, inputs), and the bias."""
    if not _takes(states, weight, bias):
        return functional.linear(states, weight, bias)
    if states.requires_grad and torch.is_grad_enabled():
        product: Tensor = _Frozen.apply(states, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return _product(states, weight, bias)


def _takes(states: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN can and should: float32 where torch's products are narrow, bfloat16 wherever
    it has it, and no layer that is trained."""
    parts = [part for part in (weight, bias) if part is not None]
    if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
        return False
    dtype = states.dtype
    fast = BY_ONEDNN if dtype == torch.float32 else HAS_BFLOAT16 and dtype == torch.bfloat16
    plain = all(part.device.type == "cpu" and part.dtype == dtype for part in (states, *parts))
    return fast and plain and states.numel() > 0 and states.ndim > 1


def _product(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    flat = states.reshape(-1, states.shape[-1])
    out: Tensor = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, "none", [], "")
    # Not a view, which autograd lets nobody change in place.
    whole: Tensor = torch.ops.aten._unsafe_view(out, (*states.shape[:-1], out.shape[-1]))
    return whole


class _Frozen(torch.autograd.Function):
    """The product with a weight that is not trained: only its other factor has a gradient."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(states, weight, bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _product(slopes[0].contiguous(), weight.t(), None), None, None


class QuickLinear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class QuickConv1D(Conv1D):
    """GPT-2's linear layer by `linear`. Its weight, of shape (inputs, outputs), lies in memory as
    that of `nn.Linear`: oneDNN would otherwise turn it round in every product."""

    def lay(self) -> None:
        self.weight.data = self.weight.data.t().contiguous().t()

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.t(), self.bias)


QUICK: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: QuickLinear, Conv1D: QuickConv1D}
