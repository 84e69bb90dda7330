"""Prefix tuning (Li & Liang, 2021): keys and values before all tokens, at every layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hardprompt.adapt.base import Adaptation, Adapted
from hardprompt.adapt.peft_files import base_of, read_adapter, write_adapter
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.prefixed import PrefixModel, keys_and_values_of

KIND, NUMBERS = "PREFIX_TUNING", "prompt_embeddings"  # as `peft` calls them


@dataclass(frozen=True)
class Prefix(Adaptation):
    """A prefix of `length` places that begins at words, or at random ones of their size.

    With `projection` a network of one hidden layer gives the prefix while it is trained (section
    4.3) and is dropped when it is saved. Its last layer begins at zero and it is added to the
    start, so that training begins at the start's own keys and values. (The paper reaches them in
    500 steps towards the activations of real words.) What is trained is in units of the keys'
    and the values' root mean square at each layer, so that one range of rates suits every model.
    """

    name: ClassVar[str] = "prefix"
    length: int = 10
    words: tuple[int, ...] = ()  # token ids to begin at, repeated as needed; none: at random
    projection: bool = True
    hidden: int = 512  # units

    def __post_init__(self) -> None:
        for what, given in (("length", self.length), ("hidden", self.hidden)):
            if given < 1:
                raise UsageError(f"{what} of a prefix must be at least 1, got {given}")

    def attach(self, model: Any, rng: np.random.Generator) -> Adapted:
        model.eval().requires_grad_(False)
        ids = self.words or rng.integers(model.config.vocab_size, size=self.length)
        start = keys_and_values_of(model, np.resize(np.array(ids), self.length).tolist())
        unit = start.square().mean((0, 3, 4), keepdim=True).sqrt()  # (1, layers, 2, 1, 1)
        if not self.words:
            drawn = torch.from_numpy(rng.standard_normal(start.shape, np.float32))
            start = unit * drawn.to(start.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**31)))
            network = _network(start, self.hidden) if self.projection else None
        prefix = _Direct(start, unit) if network is None else _Projected(start, unit, network)
        return Adapted(
            PrefixModel(model, prefix),
            trained=list(prefix.parameters()),
            stored=start.numel(),
            details={
                "length": self.length,
                "start": "words" if self.words else "random",
                "hidden": self.hidden if self.projection else None,
            },
        )

    def save(self, adapted: Adapted, folder: Path) -> list[str]:
        with torch.no_grad():
            return write_prefix(folder, adapted.model.plain, adapted.model.keys_and_values())

    @classmethod
    def load(cls, folder: Path, model: Any) -> PrefixModel:
        kept = read_prefix(folder, model).to(model.device)
        prefix = _Direct(kept, torch.ones_like(kept[:1, :, :, :1, :1]))
        return PrefixModel(model, prefix).eval().requires_grad_(False)


def write_prefix(folder: Path, model: Any, keys_and_values: Tensor) -> list[str]:
    """Writes `(length, layers, 2, kv_heads, head_dim)`, which plain `peft` loads on the model."""
    length, layers, _, heads, dim = keys_and_values.shape
    config = {
        **base_of(model),
        "peft_type": KIND,
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": length,
        "num_layers": layers,
        "num_attention_heads": heads,  # those of the keys
        "token_dim": heads * dim,
        "num_transformer_submodules": 1,
        "prefix_projection": False,
        "encoder_hidden_size": heads * dim,
    }
    return write_adapter(folder, config, {NUMBERS: keys_and_values.reshape(length, -1)})


def read_prefix(folder: Path, model: Any) -> Tensor:
    """`(length, layers, 2, kv_heads, head_dim)` of a folder that belongs to such a model."""
    _, tensors = read_adapter(folder, KIND)
    shape = keys_and_values_of(model, [0]).shape[1:]
    rows = tensors.get(NUMBERS, torch.empty(0))
    if rows.ndim != 2 or rows.shape[1] != shape.numel():
        raise HardpromptError(
            f"'{folder}' must hold {NUMBERS} of {shape.numel()} numbers a place for this model, "
            f"it has {tuple(rows.shape)}; it was made for another"
        )
    return rows.reshape(-1, *shape)


class _Direct(nn.Module):
    """The keys and values themselves."""

    unit: Tensor

    def __init__(self, start: Tensor, unit: Tensor) -> None:
        super().__init__()
        self.register_buffer("unit", unit)
        self.points = nn.Parameter(start / unit)

    def forward(self) -> Tensor:
        return self.points * self.unit


class _Projected(nn.Module):
    """What a network makes of a vector for each place, added to the start."""

    unit: Tensor
    start: Tensor

    def __init__(self, start: Tensor, unit: Tensor, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("unit", unit)
        self.register_buffer("start", start)
        self.network = network

    def forward(self) -> Tensor:
        added: Tensor = self.network(torch.arange(len(self.start), device=self.start.device))
        return self.start + self.unit * added.view_as(self.start)


def _network(start: Tensor, hidden: int) -> nn.Module:
    """Place -> vector -> tanh -> keys and values of all layers; at first zero."""
    length, _, _, heads, dim = start.shape
    last = nn.Linear(hidden, start[0].numel())
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    layers = nn.Embedding(length, heads * dim), nn.Linear(heads * dim, hidden), nn.Tanh(), last
    return nn.Sequential(*layers).to(start.device)
