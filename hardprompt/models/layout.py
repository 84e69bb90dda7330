"""How the rows of a group are laid out so that what they begin with is read once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hardprompt.models.cascade import Context
from hardprompt.scoring.plan import Group
from hardprompt.scoring.walk import Extend, Score, walk


def steps_of(tails: Tensor, batch_cost: float) -> Iterator[Extend | Score]:
    if tails.is_floating_point():  # points between tokens have nothing in common
        return iter([Score(0, np.arange(len(tails)))])
    return walk(tails.cpu().numpy(), batch_cost)


def behind(tails: Tensor, context: Context) -> Tensor:
    """Every tail behind every beginning."""
    return tails.repeat(len(context), *(1 for _ in tails.shape[1:]))


def varying_segment(group: Group) -> int:
    """The first segment in which the examples differ, or the last with a token where they do not.
    Where the last segment says nothing before what is told, the one before: a token must be read
    to tell the next."""
    filled = [part.shape[1] > 0 for part in group.segments]
    told = 0 if group.targets is None else group.targets
    filled[-1] = bool((group.last > told).all())
    differ = [bool((part != part[0]).any()) for part in group.segments]
    first = differ.index(True) if any(differ) else len(differ) - 1
    return max((number for number in range(first + 1) if filled[number]), default=0)


def sharing(heads: Tensor, *, alone: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Heads shared by k candidates each, as `(X,)` numbers and the candidates `(X, k)`, for each
    k. `alone`: no two candidates have the same."""
    everyone = torch.arange(len(heads), device=heads.device)
    if alone or heads.is_floating_point() or not heads.shape[1]:
        yield everyone, everyone[:, None]
        return
    _, inverse, counts = torch.unique(heads, dim=0, return_inverse=True, return_counts=True)
    order = inverse.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    for k in counts.unique().tolist():
        first = starts[counts == k]
        rows = order[first[:, None] + torch.arange(k, device=heads.device)]
        yield rows[:, 0], rows
