"""How many tokens may be read together."""

from __future__ import annotations

from typing import Any

import torch

from hardprompt.scoring.batching import CPU_TOKENS, GPU_TOKENS

ROWS, WIDTH = 4, 128  # of the probe
SHARE = 0.5  # of the free memory; the rest is for keys and values, and for what pieces leave


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
