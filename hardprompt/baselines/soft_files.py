"""Soft prompts on disk: in the layout of `peft` where the slot comes first, else in our own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardprompt import runs
from hardprompt.adapt.peft_files import write_adapter
from hardprompt.adapt.tensors import write_tensors
from hardprompt.session import Session
from hardprompt.types import FloatArray

SCHEMA = "hardprompt.soft/1"
ABOUT, OWN = "hardprompt.json", "soft_prompt.safetensors"


def save_soft_prompt(folder: Path, session: Session, points: FloatArray) -> list[str]:
    """Writes `(length, dim)` points and what they belong to; returns the names of the files.

    `peft` knows virtual tokens only before everything else. What the tokenizer itself puts in
    front (a beginning-of-sequence token) stands before our slot, so there it becomes the first
    virtual tokens, and the text is to be encoded without special tokens.
    """
    points = points.astype(np.float32)
    if comes_first(session):
        prefix = list(session.model.codec.prefix)
        rows = np.concatenate([session.model.embeddings[prefix], points]).astype(np.float32)
        config = _peft_config(session, len(rows))
        names = write_adapter(folder, config, {"prompt_embeddings": torch.from_numpy(rows)})
    else:
        names = [write_tensors(folder / OWN, {"points": torch.from_numpy(points)})]
    inside = session.model.codec.prefix if comes_first(session) else ()
    return [*names, write_about(folder, session, inside)]


def comes_first(session: Session) -> bool:
    """Whether nothing but the tokenizer's own beginning stands before the only slot, and the
    model is causal: `peft` has no prompts for masked ones."""
    template, causal = session.template, session.model.codec.mask is None
    return causal and template.n_slots == 1 and template.starts_with_slot()


def _peft_config(session: Session, n_virtual: int) -> dict[str, Any]:
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": session.config.model,
        "revision": session.config.revision,
        "inference_mode": True,
        "num_virtual_tokens": n_virtual,
        "token_dim": session.model.embeddings.shape[1],
        "num_transformer_submodules": 1,
        "prompt_tuning_init": "RANDOM",
    }


def write_about(folder: Path, session: Session, inside: Sequence[int] = ()) -> str:
    """Writes what the numbers of a folder belong to; returns the name of the file.

    `inside` are ids that are already among the virtual tokens: texts are encoded without them.
    """
    info = session.model.info
    content = {
        "schema": SCHEMA,
        "model": {"name": info.name, "fingerprint": info.fingerprint},
        "template": session.template.source,
        "labels": {label.name: label.word for label in session.task.labels},
        "slots": list(session.space.slots),
        "virtual_beginning": [int(token) for token in inside],
    }
    runs.write_json(folder / ABOUT, content)
    return ABOUT
