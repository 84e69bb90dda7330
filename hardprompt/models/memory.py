"""How many tokens may be read together."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hardprompt.scoring.batching import CPU_TOKENS, GPU_TOKENS

ROWS, WIDTH = 4, 128  # of the probe
KEPT_BYTES = 2 * 1024**3  # of keys and values that are kept to save time
KEPT_SHARE = 4  # and no more than one part in so many of a GPU's free memory
SHARE = 0.5  # of the free memory; the rest is for keys and values, and for what pieces leave

# Of glibc's mallopt: above how many free bytes memory goes back to the system, and blocks of which
# size always do. The second can be no larger on every glibc.
M_TRIM_THRESHOLD, FREE_BYTES = -1, 1024**3
M_MMAP_THRESHOLD, BLOCK_BYTES = -3, 32 * 1024**2
MALLOC_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory(place: torch.device) -> bool:
    """Keeps what one batch leaves for the next one, for this process; whether it did.

    glibc gives freed memory back to the system, which hands it out again page by page, each filled
    with zeros: 3 to 8% of a search of `mini` in float32 on a CPU, and more with smaller models.
    What the user has set in the environment holds; other systems' libraries stay as they are.
    """
    told = any(name in os.environ for name in MALLOC_VARIABLES)
    told = told or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if place.type != "cpu" or told or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    blocks = mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES)
    return bool(blocks and mallopt(M_TRIM_THRESHOLD, FREE_BYTES))


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


def cpu_tokens(dtype: torch.dtype) -> int:
    """Tokens of a batch on a CPU: equally many bytes in every precision."""
    return CPU_TOKENS * torch.float32.itemsize // dtype.itemsize


@torch.no_grad()
def tokens_that_fit(model: Any, place: torch.device) -> int:
    """A first size for batches on this device; what proves too much is halved later.

    On CUDA from the memory that one short batch took, elsewhere a figure that was measured.
    """
    if place.type == "cpu":
        return cpu_tokens(model.dtype)
    if place.type != "cuda":
        return GPU_TOKENS
    torch.cuda.reset_peak_memory_stats(place)
    before = torch.cuda.memory_allocated(place)
    model.base_model(input_ids=torch.zeros(ROWS, WIDTH, dtype=torch.int64, device=place))
    each = (torch.cuda.max_memory_allocated(place) - before) / (ROWS * WIDTH)
    free, _ = torch.cuda.mem_get_info(place)
    return max(1, min(GPU_TOKENS, int(SHARE * free / max(each, 1))))
