"""Soft prompts and prefixes as folders, in the layouts of `baselines/soft_files.py` and `peft`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hardprompt.adapt.peft_files import CONFIG, WEIGHTS
from hardprompt.bank.held import Prefix, Soft
from hardprompt.baselines.soft_files import ABOUT, OWN, SCHEMA
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.base import ModelInfo, PromptModel
from hardprompt.shape import fault, read_outside
from hardprompt.tasks.schema import Label
from hardprompt.template import Template
from hardprompt.types import FloatArray

NUMBERS = "prompt_embeddings"  # what `peft` calls both points and prefixes
SHAPE: dict[str, Any] = {
    "schema": str,
    "model": {"name": str, "fingerprint": str},
    "template": str,
    "labels": dict,
}
SOFT_SHAPE = SHAPE | {"slots": [int], "virtual_beginning": [int]}


@dataclass(frozen=True)
class About:
    """What the numbers of a folder belong to."""

    labels: tuple[Label, ...]
    template: str
    content: dict[str, Any]


def read_soft(folder: Path, model: PromptModel) -> Soft:
    """The soft prompt that `hardprompt compare` left in a folder."""
    about = _read_about(folder, SOFT_SHAPE, model.info)
    inside = about.content["virtual_beginning"]
    if (folder / OWN).exists():
        points = tensor(folder / OWN, "points")
    else:
        _check_kind(folder, "PROMPT_TUNING")
        points = tensor(folder / WEIGHTS, NUMBERS)[len(inside) :]
    return Soft(about.labels, about.template, tuple(about.content["slots"]), points)


def read_prefix(folder: Path, model: PromptModel) -> Prefix:
    """The prefix in a folder that `peft` could load."""
    about = _read_about(folder, SHAPE, model.info)
    _check_kind(folder, "PREFIX_TUNING")
    return Prefix(about.labels, about.template, tensor(folder / WEIGHTS, NUMBERS))


def tensor(path: Path, name: str) -> FloatArray:
    """`(n, m)` finite float32 numbers of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            if name not in file.keys():  # noqa: SIM118  (no container)
                raise HardpromptError(f"'{path}' lacks the tensor '{name}'")
            found: FloatArray = file.get_tensor(name).float().numpy()
    except (OSError, SafetensorError) as error:
        raise HardpromptError(f"cannot read '{path}': {error}") from None
    if found.ndim != 2 or not found.size:
        raise HardpromptError(f"'{name}' in '{path}' must be a table, its shape is {found.shape}")
    if not np.isfinite(found).all():
        raise HardpromptError(f"'{name}' in '{path}' holds what is no number")
    return found


def labels_of(words: Any, source: str) -> tuple[Label, ...]:
    """Labels from `{name: word}`."""
    if not all(isinstance(word, str) for word in words.values()) or len(words) < 2:
        raise HardpromptError(f"'{source}' needs two labels or more, each with a word")
    return tuple(Label(name, word) for name, word in words.items())


def check_template(template: str, source: str) -> None:
    try:
        Template.parse(template)
    except UsageError as error:
        raise HardpromptError(f"'{source}': {error}") from None


def _read_about(folder: Path, shape: dict[str, Any], info: ModelInfo) -> About:
    path = folder / ABOUT
    content = read_outside(path, "description of a soft prompt")
    if wrong := fault(content, shape):
        raise HardpromptError(f"'{path}' does not describe a soft prompt: {wrong}")
    if content["schema"] != SCHEMA:
        raise HardpromptError(
            f"'{path}' is of schema '{content['schema']}'; this hardprompt reads '{SCHEMA}'"
        )
    check_template(content["template"], str(path))
    if content["model"]["fingerprint"] != info.fingerprint:
        raise HardpromptError(
            f"'{folder}' was made on '{content['model']['name']}', whose weights or tokenizer are "
            f"not those of '{info.name}' in {info.dtype}; a bank holds what belongs to one model"
        )
    return About(labels_of(content["labels"], str(path)), content["template"], content)


def _check_kind(folder: Path, kind: str) -> None:
    path = folder / CONFIG
    content = read_outside(path, "adapter of peft")
    if wrong := fault(content, {"peft_type": str}):
        raise HardpromptError(f"'{path}' is no adapter of peft: {wrong}")
    if (found := content["peft_type"]) != kind:
        raise HardpromptError(f"'{path}' must have peft_type {kind}, it has {found}")
