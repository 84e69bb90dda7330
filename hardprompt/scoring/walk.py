"""An order in which rows that begin alike are scored, so that a beginning is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hardprompt.types import IntArray


@dataclass(frozen=True)
class Extend:
    """Compute `tokens` behind the first `depth` of the path, and put them on it."""

    depth: int
    tokens: IntArray  # (k,)


@dataclass(frozen=True)
class Score:
    """Score these rows from their token `depth` on, behind so much of the path."""

    depth: int
    rows: IntArray


@dataclass(frozen=True)
class _Plan:
    """The cheapest way found to score rows that share a path of `depth` tokens."""

    cost: float  # in tokens of a row, from the path's end on
    depth: int
    row: int  # one of them
    rest: IntArray  # those that are scored from here
    onward: _Plan | None = None  # the path goes on in the same batch
    branches: tuple[_Plan, ...] = ()  # begin with a batch of their own


def walk(tails: IntArray, batch_cost: float) -> Iterator[Extend | Score]:
    """Depth first over the trie of `tails`, `(n, w)` ids; every row is scored once.

    What begins alike is computed for itself where that saves more tokens of a row than the
    `batch_cost` of the batches that it takes. There is one path at a time: what a step puts on it
    replaces all that was there behind its depth. At least the last token of a row is left to be
    scored.
    """
    if not len(tails):
        return
    plan = _plan(tails, np.arange(len(tails)), 0, batch_cost, first=batch_cost)
    yield from _steps(tails, plan, 0)


def _plan(
    tails: IntArray, rows: IntArray, depth: int, batch_cost: float, first: float = 0.0
) -> _Plan:
    """`first`: what the path's going on costs besides its token, when no batch ends here."""
    left = tails.shape[1] - depth
    whole = _Plan(batch_cost + len(rows) * left, depth, int(rows[0]), rows)
    if left <= 1 or len(rows) == 1:
        return whole
    if alike := _alike(tails[rows, depth:-1]):
        onward = _plan(tails, rows, depth + alike, batch_cost)
        cost = first + alike + onward.cost
        return min(whole, replace(whole, cost=cost, rest=rows[:0], onward=onward), key=_cost)
    column = tails[rows, depth]
    tokens, counts = np.unique(column, return_counts=True)
    shared = [rows[column == token] for token in tokens[counts > 1]]
    plans = [_plan(tails, some, depth + 1, batch_cost) for some in shared]
    saved = [len(some) * left - plan.cost - 1 for some, plan in zip(shared, plans, strict=True)]
    order = np.argsort(saved)[::-1].tolist()
    worth = [i for n, i in enumerate(order) if saved[i] > (batch_cost if n else first)]
    everyone = order if counts.min() > 1 else []  # which leaves none to be scored from here
    found = [whole]
    for apart in (worth, everyone):
        if not apart:
            continue
        rest = np.setdiff1d(rows, np.concatenate([shared[i] for i in apart]))
        cost = first + sum(plans[i].cost + 1 for i in apart) + (len(apart) - 1) * batch_cost
        cost += batch_cost + len(rest) * left if len(rest) else 0
        onward, *branches = (plans[i] for i in apart)
        found.append(_Plan(cost, depth, int(rows[0]), rest, onward, tuple(branches)))
    return min(found, key=_cost)


def _cost(plan: _Plan) -> float:
    return plan.cost


def _alike(tails: IntArray) -> int:
    """With how many tokens all of them begin."""
    differ = (tails != tails[0]).any(0)
    return int(differ.argmax()) if differ.any() else len(differ)


def _steps(tails: IntArray, plan: _Plan, known: int) -> Iterator[Extend | Score]:
    """`known` tokens of the plan's path are there."""
    plans = [plan]
    while (onward := plans[-1].onward) is not None:
        plans.append(onward)
    depth, row = plans[-1].depth, plans[-1].row
    if depth > known:
        yield Extend(known, tails[row, known:depth])
    for at in reversed(plans):
        if len(at.rest):
            yield Score(at.depth, at.rest)
        for branch in at.branches:
            yield from _steps(tails, branch, at.depth)
