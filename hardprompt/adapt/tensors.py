"""Numbers of an adaptation on disk: safetensors, and JSON beside them where there is more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hardprompt.adapt.base import Adapted
from hardprompt.errors import HardpromptError


def trained_tensors(adapted: Adapted) -> dict[str, Tensor]:
    """What is trained by its name in the model; what is tied has one name."""
    wanted = {id(weight) for weight in adapted.trained}
    named = adapted.model.named_parameters()
    return {name: weight for name, weight in named if id(weight) in wanted}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Writes them, whole or not at all; returns the file's name. Raises `HardpromptError` with one
    line where the file cannot be written."""
    part = path.with_suffix(".part")
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(kept, part, metadata={"format": "pt"})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise HardpromptError(f"cannot write '{path}': {error}") from None
    return path.name


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise HardpromptError(f"cannot read '{path}': {error}") from None


@torch.no_grad()
def read_tensors(path: Path, model: Any) -> None:
    """Puts them into the model's parameters of the same names."""
    tensors = load_tensors(path)
    own = dict(model.named_parameters())
    wrong = [n for n, tensor in tensors.items() if n not in own or own[n].shape != tensor.shape]
    if wrong:
        raise HardpromptError(f"'{path}' is of another model: it has no {wrong[0]} of that shape")
    for name, tensor in tensors.items():
        own[name].copy_(tensor)
