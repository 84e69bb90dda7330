"""How many tokens may be read together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hardprompt.scoring.batching import CPU_TOKENS, GPU_TOKENS

ROWS, WIDTH = 4, 128  # of the probe
KEPT_BYTES = 2 * 1024**3  # of keys and values that are kept to save time
KEPT_SHARE = 4  # and no more than one part in so many of a GPU's free memory
SHARE = 0.5  # of the free memory; the rest is for keys and values, and for what pieces leave


def bytes_to_keep(place: torch.device) -> int:
    """How much of keys and values a model may keep for later, each kind of them."""
    if place.type != "cuda":
        return KEPT_BYTES
    return min(KEPT_BYTES, torch.cuda.mem_get_info(place)[0] // KEPT_SHARE)


def gathered(pieces: Iterable[tuple[int, int, Sequence[Tensor]]], n: int) -> list[Tensor]:
    """Tensors of n rows from pieces `(low, high, tensors of these rows)`: laid where they belong
    as they come, so that they are never held twice."""
    whole: list[Tensor] = []
    for low, high, parts in pieces:
        whole = whole or [part.new_empty(n, *part.shape[1:]) for part in parts]
        for all_rows, part in zip(whole, parts, strict=True):
            all_rows[low:high] = part
    return whole


@torch.no_grad()
def tokens_that_fit(model: Any, place: torch.device) -> int:
    """A first size for batches on this device; what proves too much is halved later.

    On CUDA from the memory that one short batch took, elsewhere a figure that was measured.
    """
    if place.type == "cpu":
        return CPU_TOKENS
    if place.type != "cuda":
        return GPU_TOKENS
    torch.cuda.reset_peak_memory_stats(place)
    before = torch.cuda.memory_allocated(place)
    model.base_model(input_ids=torch.zeros(ROWS, WIDTH, dtype=torch.int64, device=place))
    each = (torch.cuda.max_memory_allocated(place) - before) / (ROWS * WIDTH)
    free, _ = torch.cuda.mem_get_info(place)
    return max(1, min(GPU_TOKENS, int(SHARE * free / max(each, 1))))
