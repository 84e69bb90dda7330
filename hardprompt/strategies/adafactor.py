"""Adafactor as prompt tuning uses it: a fixed rate, no momentum, no scale of the parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

DECAY = 0.8  # of the average of squares at step t, 1 - t ** -DECAY
TINY = 1e-30


class Adafactor(torch.optim.Optimizer):
    """Shazeer & Stern, 2018, algorithm 4 with a constant rate; torch's own knows no such thing.

    The squares of a matrix are kept as averages of its rows and of its columns, and an update's
    root mean square is at most 1, so that a step moves a coordinate by about `lr`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    update = _update(weight.grad, self.state[weight])
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.sub_(group["lr"] * update)


def _update(slope: Tensor, state: dict[str, Any]) -> Tensor:
    state["step"] = state.get("step", 0) + 1
    keep = 1 - state["step"] ** -DECAY
    square = slope**2 + TINY

    def average(name: str, value: Tensor) -> Tensor:
        state[name] = value if name not in state else keep * state[name] + (1 - keep) * value
        found: Tensor = state[name]
        return found

    if slope.dim() < 2:
        variance = average("all", square)
    else:
        rows, columns = average("rows", square.mean(-1)), average("columns", square.mean(-2))
        mean = rows.mean(-1, keepdim=True)
        variance = (rows / mean).unsqueeze(-1) * columns.unsqueeze(-2)
    update = slope / variance.sqrt()
    size: Tensor = update.square().mean().sqrt()
    return update / size.clamp(min=1.0)
