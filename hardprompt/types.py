"""The records that strategies, study and objective exchange. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]

EMPTY = -1  # no token here: a shorter prompt; never a vocabulary id


@dataclass(frozen=True)
class Batch:
    """What a strategy wants to know. `Batch()` means that nothing is left to ask."""

    ids: IntArray | None = None  # (n, k), k <= space.length; EMPTY to the right inside each slot
    embeds: FloatArray | None = None  # (n, k, dim) points between tokens: encoders and mixtures
    wants_gradient: bool = False  # told, never fetched
    wants_proposals: int = 0  # the m tokens the model itself finds likeliest next in the slot
    wants_fluency: bool = False  # how likely the model finds the prompt itself
    keep: int | None = None  # permission: only the best `keep` of this batch need an exact loss
    bar: FloatArray | None = None  # (n,) permission: row i needs an exact loss only up to bar[i]
    examples: IntArray | None = None  # score on these only (minibatch, probe); None: all

    def __post_init__(self) -> None:
        if self.ids is not None and self.embeds is not None:
            raise ValueError("a batch holds either ids or embeds, not both")

    def __len__(self) -> int:
        rows = self.ids if self.ids is not None else self.embeds
        return 0 if rows is None else len(rows)


@dataclass(frozen=True)
class Proposals:
    """Tokens that the model itself would write next after each row's prompt so far."""

    ids: IntArray  # (n, m), likeliest first
    log_probs: FloatArray  # (n, m)


@dataclass(frozen=True)
class Feedback:
    """What a strategy learns: exactly what the ledger holds, so that replay tells the same."""

    loss: FloatArray  # (n,), lower is better, NaN: could not be measured
    exact: BoolArray  # (n,), False: dropped early, loss is a bound and not below its bar
    # (n, k, dim) d mean NLL / d embedding, and that of the fluency in its weight; 0 at EMPTY, NaN
    # all over a row that could not be differentiated; a prompt that cannot be written has its own
    gradient: FloatArray | None = None
    proposals: Proposals | None = None
    pairs: int = 0  # of rows and examples that it takes to answer in full; for the record
    pairs_saved: int = 0  # of these, not computed because rows were dropped
    fluency: FloatArray | None = None  # (n,) mean NLL of a prompt token, the lower the more fluent

    def order(self) -> IntArray:
        """Row numbers, best first; bounds after exact losses of the same value, NaN last."""
        loss = np.where(np.isnan(self.loss), np.inf, self.loss)
        return np.lexsort((~self.exact, loss))

    def trusted(self) -> FloatArray:
        """`loss` with NaN where it is only a bound."""
        return np.where(self.exact, self.loss, np.nan)
