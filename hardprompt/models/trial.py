"""Whether a model is one whose rows can be read side by side, found by trying."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardprompt.errors import HardpromptError
from hardprompt.models.codec import Codec
from hardprompt.scoring.batching import out_of_memory

# Largest difference of numbers, relative to the largest. Rounding makes 1e-6 in float32 and some
# hundredths in half precision.
TOLERANCE = {"float32": 1e-4, "float64": 1e-6}
HALF = 0.1
LONG, SHORT = 12, 7  # tokens of the rows that are tried
PADDING = 0  # the token that fills rows up in every batch


def bound(dtype: str, numbers: Any) -> float:
    """What rounding may make of these numbers in this precision."""
    return TOLERANCE.get(dtype, HALF) * float(np.abs(numbers).max())


@torch.no_grad()
def check_padding(model: Any, codec: Codec, name: str, masked: bool) -> None:
    """Raises `HardpromptError` for a model that reads what stands behind a shorter row to fill it
    up: its scores would depend on the rows beside. Some look past the attention mask, and some
    that write are no causal models."""
    kind = f"'{name}' is of type '{model.config.model_type}'"
    like = "BERT, RoBERTa or their like" if masked else "GPT-2, Llama or their like"
    try:
        alone, beside = _alone_and_beside(model, codec, masked)
    except Exception as error:  # of whatever kind: models are many
        if out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HardpromptError(
            f"{kind}, which cannot be read here: {reason}; take {like}"
        ) from error
    if not _alike(alone, beside, model.dtype):
        raise HardpromptError(
            f"{kind}, whose scores of a row depend on the rows beside it, because it reads the "
            f"padding behind shorter ones; take {like}"
        )


@torch.no_grad()
def hides_left_padding(model: Any) -> bool:
    """Whether a row goes on alike with padding to its left, hidden as `generate` hides it: not
    where a model without attention reads it all the same."""
    device = next(model.parameters()).device
    ids = np.random.default_rng(0).integers(0, len(model.get_input_embeddings().weight), (1, SHORT))
    short = torch.from_numpy(ids).to(device)
    row, mask = torch.nn.functional.pad(short, (LONG - SHORT, 0)), torch.ones(1, LONG)
    mask[:, : LONG - SHORT] = 0
    options: dict[str, Any] = {"attention_mask": mask.long().to(device), "use_cache": False}
    if "position_ids" in inspect.signature(model.forward).parameters:
        options["position_ids"] = (options["attention_mask"].cumsum(1) - 1).clamp(min=0)
    alone = model(input_ids=short, use_cache=False).logits[:, -1].float().cpu()
    padded = model(input_ids=row, **options).logits[:, -1].float().cpu()
    return _alike(alone, padded, model.dtype)


def _alike(one: Tensor, other: Tensor, dtype: torch.dtype) -> bool:
    """Whether logits `(..., V)` are the same but for rounding."""
    most = bound(str(dtype).removeprefix("torch."), one.numpy())
    return not bool((one - other).abs().max() > most)  # NaN is another fault's


def _alone_and_beside(model: Any, codec: Codec, masked: bool) -> tuple[Tensor, Tensor]:
    """`(SHORT, V)` logits of a row read alone, from points where these will be asked for, and
    filled up as it is beside a longer one."""
    layer, device = model.get_input_embeddings(), next(model.parameters()).device
    ids = np.setdiff1d(np.arange(len(layer.weight)), list(codec.special_ids))
    rows = torch.from_numpy(np.random.default_rng(0).choice(ids, (2, LONG))).to(device)
    short = rows[:1, :SHORT].clone()
    rows[0, SHORT:] = PADDING
    given = {"inputs_embeds": layer(short).to(model.dtype)} if masked else {"input_ids": short}
    mask = torch.ones_like(rows)
    mask[0, SHORT:] = 0
    options = {} if masked else {"use_cache": False}
    hidden = {"attention_mask": mask} if masked else {}
    alone = model(**given, **options).logits[0]
    beside = model(input_ids=rows, **hidden, **options).logits[0, :SHORT]
    return alone.float().cpu(), beside.float().cpu()
