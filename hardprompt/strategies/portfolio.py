"""Portfolio: several strategies share one budget, and what they find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from hardprompt.registry import make_strategy, strategy_class
from hardprompt.strategies.base import Script, Strategy, at_least
from hardprompt.types import Batch, Feedback, IntArray

NESTED = ("auto", "portfolio")


@dataclass
class Member:
    """One strategy of the portfolio, and how it fares."""

    name: str
    strategy: Strategy
    best: float = np.inf  # the lowest loss since it began
    dry: int = 0  # turns since then
    asked: bool = False  # whether it asked anything since it began
    alive: bool = True  # whether it may still have something to ask


@dataclass(frozen=True)
class Turn:
    member: Member
    rows: float
    gain: float  # how far the best loss of all fell


@dataclass(kw_only=True)
class Portfolio(Strategy):
    """Let the strategy that lately gained most per row go on, and the others now and then.

    A bandit over a sliding window of turns (as in OpenTuner, Ansel et al., 2014, with UCB1's
    bonus, Auer et al., 2002) chooses who asks next. A turn lasts `turn` rows at least, so
    that a step is not torn from its gradient. Who betters nothing of its own for `patience` turns
    begins anew: from the `elite` best prompts of all where others know better ones, and else
    elsewhere, since there is nothing more to find here.
    """

    name: ClassVar[str] = "portfolio"
    members: str = "swap,evolution"  # names, with commas between
    turn: float = 20.0
    window: int = 12  # turns that the bandit remembers
    explore: float = 1.0  # weight of the bonus for who had few turns
    patience: int = 3
    elite: int = 4

    def __post_init__(self) -> None:
        at_least(1, turn=self.turn, window=self.window, patience=self.patience, elite=self.elite)
        at_least(0, explore=self.explore)
        if not self._names() or any(name in NESTED for name in self._names()):
            raise ValueError(f"members must be strategies other than {' and '.join(NESTED)}")
        for name in self._names():
            strategy_class(name)

    def search(self) -> Script:
        self._best: dict[bytes, tuple[float, IntArray]] = {}
        self._spent = 0.0
        self._turns: list[Turn] = []
        members = [Member(name, self._begun(name, self.space.seeds)) for name in self._names()]
        while living := [member for member in members if member.alive]:
            member = self._choose(living)
            if member.dry >= self.patience:
                self._restart(member)
            yield from self._play(member)

    def _names(self) -> list[str]:
        return [name.strip() for name in self.members.split(",") if name.strip()]

    def _restart(self, member: Member) -> None:
        known = member.best <= self._lowest()
        seeds = None if known else np.array([ids for _, ids in self._best.values()])
        member.strategy, member.asked = self._begun(member.name, seeds), False
        member.best, member.dry = np.inf, 0

    def _begun(self, name: str, seeds: IntArray | None) -> Strategy:
        # Who plans by its budget is to plan for a share of what is left.
        budget = max(self.turn, (self.space.budget - self._spent) / len(self._names()))
        strategy = make_strategy(name)
        (rng,) = self.rng.spawn(1)
        own = self.space.own_seeds if seeds is self.space.seeds else 0
        space = replace(self.space, seeds=seeds, own_seeds=own, budget=budget)
        strategy.start(space, rng)
        return strategy

    def _choose(self, members: list[Member]) -> Member:
        """Who never had a turn, else the best by gain per row and the bonus of UCB1."""
        for member in members:
            if not any(turn.member is member for turn in self._turns):
                return member
        recent = self._turns[-self.window :]
        worth = np.array([_worth([t for t in recent if t.member is m]) for m in members])
        count = np.array([sum(t.member is m for t in recent) for m in members])
        bonus = np.sqrt(2 * np.log(len(recent)) / np.maximum(count, 0.5))
        value = worth / max(worth.max(), 1e-12) + self.explore * bonus
        return members[int(value.argmax())]

    def _play(self, member: Member) -> Script:
        before, own, rows = self._lowest(), member.best, 0.0
        while rows < self.turn:
            batch = member.strategy.ask()
            if not len(batch):
                # Who ends without having asked will not do better another time.
                member.alive, member.dry = member.asked, self.patience
                break
            told = yield batch
            member.asked = True
            rows += len(batch) * self.space.price(batch)
            member.best = min(member.best, self._note(batch, told))
            member.strategy.tell(batch, told)
        else:
            member.dry = 0 if member.best < own else member.dry + 1
        self._spent += rows
        gain = before - self._lowest() if np.isfinite(before) else 0.0
        self._turns.append(Turn(member, rows, gain))

    def _lowest(self) -> float:
        return min((loss for loss, _ in self._best.values()), default=np.inf)

    def _note(self, batch: Batch, told: Feedback) -> float:
        """Keeps the best whole prompts measured on all examples; the best loss of this batch."""
        if batch.ids is None or batch.examples is not None:
            return np.inf
        ids = self.space.canonical(batch.ids)
        fit = np.isfinite(told.trusted()) & self.space.lengths_allowed(ids)
        for row, loss in zip(ids[fit], told.loss[fit], strict=True):
            self._best[row.tobytes()] = (float(loss), row)
        ranked = sorted(self._best.items(), key=lambda item: item[1][0])
        self._best = dict(ranked[: self.elite])
        return float(told.loss[fit].min(initial=np.inf))


def _worth(turns: list[Turn]) -> float:
    """Gain per row."""
    rows = sum(turn.rows for turn in turns)
    return sum(turn.gain for turn in turns) / rows if rows else 0.0
