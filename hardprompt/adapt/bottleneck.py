"""Bottleneck adapters (Houlsby et al., 2019): two small networks in every block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hardprompt import runs
from hardprompt.adapt.base import Adaptation, Adapted
from hardprompt.adapt.blocks import blocks_of, outputs_of
from hardprompt.adapt.tensors import read_tensors, trained_tensors, write_tensors
from hardprompt.errors import HardpromptError, UsageError

CONFIG, WEIGHTS = "adapter.json", "adapter.safetensors"
SCHEMA = "hardprompt.adapter/1"
PLACE = "adapter"  # what it is called in the layer that it follows


@dataclass(frozen=True)
class Bottleneck(Adaptation):
    """A network of one hidden layer, added to what it reads, behind attention and behind the MLP
    of each block, before the residual (section 2.1, figure 2).

    Together they have `share` of the model's parameters, as near as whole hidden units come, and
    one unit each at least. Unlike the paper's, which also trains the norms, they are all that is
    trained. The last layer begins at zero, so that at first the model is as it was.
    """

    name: ClassVar[str] = "adapter"
    share: float = 0.03

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"an adapter has a share in 0 to 1 of the weights, got {self.share:g}")

    def attach(self, model: Any, rng: np.random.Generator) -> Adapted:
        total = sum(weight.numel() for weight in model.parameters())
        places, width = _places(model)
        fitting = (self.share * total / len(places) - width) / (2 * width + 1)
        units = max(1, round(fitting))
        trained = _insert(model, units, rng)
        size = sum(weight.numel() for weight in trained)
        details = {
            "share_wanted": self.share,
            "share": round(size / total, 6),
            "units": units,
            "fewest_units": round(fitting) < 1,  # the share is less than one unit takes
        }
        return Adapted(model, trained, stored=size, details=details)

    def save(self, adapted: Adapted, folder: Path) -> list[str]:
        weights = write_tensors(folder / WEIGHTS, trained_tensors(adapted))
        content = {"schema": SCHEMA, **adapted.details}
        runs.write_json(folder / CONFIG, content)
        return [CONFIG, weights]

    @classmethod
    def load(cls, folder: Path, model: Any) -> Any:
        about = runs.read_json(folder / CONFIG)
        if about.get("schema") != SCHEMA:
            found = about.get("schema")
            raise HardpromptError(f"'{folder / CONFIG}' must have schema {SCHEMA}, it has {found}")
        _insert(model, int(about["units"]), np.random.default_rng(0))
        read_tensors(folder / WEIGHTS, model)
        return model.eval().requires_grad_(False)


class Adapter(nn.Module):
    """`(..., width)` -> `(..., width)`, zero at first: down, GELU, up."""

    def __init__(self, width: int, units: int, like: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        down = torch.randn(units, width, generator=generator) / width**0.5
        self.down = nn.Parameter(down.to(like))
        self.down_bias = nn.Parameter(torch.zeros(units).to(like))
        self.up = nn.Parameter(torch.zeros(width, units).to(like))
        self.up_bias = nn.Parameter(torch.zeros(width).to(like))

    def forward(self, states: Tensor) -> Tensor:
        hidden = functional.gelu(functional.linear(states, self.down, self.down_bias))
        return functional.linear(hidden, self.up, self.up_bias)


def _places(model: Any) -> tuple[list[nn.Module], int]:
    """The layers that an adapter follows, and the width of what they give."""
    width = int(model.config.get_text_config().hidden_size)
    return [part for block in blocks_of(model) for part in outputs_of(block, width)], width


def _insert(model: Any, units: int, rng: np.random.Generator) -> list[nn.Parameter]:
    """Adapters into every place; returns their numbers, which alone require a gradient."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    places, width = _places(model)
    trained: list[nn.Parameter] = []
    for layer in places:
        adapter = Adapter(width, units, next(layer.parameters()), generator)
        layer.add_module(PLACE, adapter)
        layer.register_forward_hook(_add)
        trained += adapter.parameters()
    return trained


def _add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    adapter: nn.Module = getattr(layer, PLACE)
    added: Tensor = output + adapter(output)
    return added
