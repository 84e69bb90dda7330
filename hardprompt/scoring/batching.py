"""Batches that fit in memory: halve on an out-of-memory error and keep what is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from hardprompt.errors import HardpromptError

Result = TypeVar("Result")

# Tokens of a batch, on a CPU in float32. Larger ones leave its caches and gain nothing there.
CPU_TOKENS, GPU_TOKENS = 2048, 65536
NO_MEMORY = "out of memory; take a smaller model or a device that has more"


class Batcher:
    """Remembers how many tokens fit, for the whole run."""

    def __init__(self, tokens: int, rows: int | None = None) -> None:
        self.tokens = tokens
        self.rows = rows  # None: as many as the tokens allow

    def split(
        self, n: int, tokens_each: int, run: Callable[[int, int], Result]
    ) -> Iterator[tuple[int, int, Result]]:
        """Yields `(low, high, run(low, high))` over `0..n`, in pieces that fit.

        A piece that runs out of memory is halved; what was finished before is kept.
        """
        low = 0
        while low < n:
            size = max(1, self.tokens // max(1, tokens_each))
            if self.rows is not None:
                size = min(size, self.rows)
            high = min(n, low + size)
            try:
                result = run(low, high)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._shrink((high - low) * tokens_each, high - low)
                continue
            yield low, high, result
            low = high

    def tiles(
        self,
        n: int,
        m: int,
        tokens_each: int,
        run: Callable[[int, int, int, int], Result],
        fewest: int | None = None,
    ) -> Iterator[tuple[tuple[int, int, int, int], Result]]:
        """Yields `((low, high, start, stop), run(low, high, start, stop))`, tiles of `n` by `m`
        pairs that fit. All of the m stay together where they can; given `fewest`, no more of them
        than so many where enough of the n fill a tile.

        A tile that runs out of memory is cut in two; what was finished before is kept.
        """
        todo = [(0, n, 0, m)] if n and m else []
        while todo:
            low, high, start, stop = todo.pop()
            most = max(1, self.tokens // max(1, tokens_each))
            if self.rows is not None:
                most = min(most, self.rows)
            m_here = stop - start
            if fewest is not None:
                m_here = min(m_here, max(fewest, most // (high - low)))
            m_here = min(m_here, most)
            n_here = max(1, most // m_here)
            if n_here < high - low:
                todo += [(low + n_here, high, start, stop)]
                high = low + n_here
            if m_here < stop - start:
                todo += [(low, high, start + m_here, stop)]
                stop = start + m_here
            tile = low, high, start, stop
            try:
                result = run(*tile)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                pairs = (high - low) * (stop - start)
                self._shrink(pairs * tokens_each, pairs)
                todo.append(tile)
                continue
            yield tile, result

    def _shrink(self, tokens: int, rows: int) -> None:
        if rows <= 1:
            raise HardpromptError(
                f"out of memory with a single row of {tokens} tokens; "
                "take a smaller model, --dtype bfloat16 or --device cpu"
            )
        self.tokens = max(1, tokens // 2)


def out_of_memory(error: Exception) -> bool:
    """Whether memory was wanting, and not the program wrong."""
    # torch.OutOfMemoryError is a RuntimeError; the CPU allocator raises a plain one.
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in text
        or "defaultcpuallocator" in text
        or "could not create a primitive" in text  # oneDNN's own words for it
    )
