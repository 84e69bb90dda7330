"""Adapters on disk in the layout of `peft`: what kind they are, and their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from hardprompt import runs
from hardprompt.adapt.tensors import load_tensors, write_tensors
from hardprompt.errors import HardpromptError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write_adapter(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> list[str]:
    """Writes what `PeftModel.from_pretrained` reads; returns the names of the files."""
    weights = write_tensors(folder / WEIGHTS, tensors)
    runs.write_json(folder / CONFIG, config)
    return [CONFIG, weights]


def read_adapter(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and numbers of an adapter of that `peft_type`."""
    config = runs.read_json(folder / CONFIG)
    if config.get("peft_type") != kind:
        found = config.get("peft_type")
        raise HardpromptError(f"'{folder / CONFIG}' must have peft_type {kind}, it has {found}")
    return config, load_tensors(folder / WEIGHTS)


def base_of(model: Any) -> dict[str, Any]:
    """What an adapter's settings say of the model that it belongs to."""
    return {"base_model_name_or_path": model.name_or_path, "inference_mode": True}
