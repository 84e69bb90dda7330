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
    dry: int = 0  # turns since it last bettered the best of all
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

    A bandit over a sliding window of turns (as in OpenTuner, Ansel et al., 2014, section 3.4, with
    UCB1's bonus, Auer et al., 2002) chooses who asks next. A turn lasts `turn` rows at least, so
    that a step is not torn from its gradient. Who begins late, or has gained nothing for
    `patience` turns, begins anew from the `elite` best prompts that all have found.
    """

    name: ClassVar[str] = "portfolio"
    members: str = "swap,evolution,beam"  # names, with commas between
    turn: float = 20.0
    window: int = 12  # turns that the bandit remembers
    explore: float = 0.3  # weight of the bonus for who had few turns
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
        members = [Member(name, self._begun(name)) for name in self._names()]
        while living := [member for member in members if member.alive]:
            member = self._choose(living)
            if not member.asked or member.dry >= self.patience:
                member.strategy, member.dry, member.asked = self._begun(member.name), 0, False
            yield from self._play(member)

    def _names(self) -> list[str]:
        return [name.strip() for name in self.members.split(",") if name.strip()]

    def _begun(self, name: str) -> Strategy:
        """A fresh strategy that begins from the best prompts of all."""
        ranked = sorted(self._best.values(), key=lambda found: found[0])
        seeds = self.space.seeds
        if ranked:
            seeds = np.array([ids for _, ids in ranked[: self.elite]])
        # Who plans by its budget is to plan for a share of what is left.
        budget = max(self.turn, (self.space.budget - self._spent) / len(self._names()))
        strategy = make_strategy(name)
        (rng,) = self.rng.spawn(1)
        strategy.start(replace(self.space, seeds=seeds, budget=budget), rng)
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
        before, rows = self._lowest(), 0.0
        while rows < self.turn:
            batch = member.strategy.ask()
            if not len(batch):
                # Who ends without having asked will not do better another time.
                member.alive, member.dry = member.asked, self.patience
                break
            told = yield batch
            member.asked = True
            rows += len(batch) * self.space.price(batch)
            self._note(batch, told)
            member.strategy.tell(batch, told)
        self._spent += rows
        gain = before - self._lowest() if np.isfinite(before) else 0.0
        member.dry = 0 if gain > 0 else member.dry + 1
        self._turns.append(Turn(member, rows, gain))

    def _lowest(self) -> float:
        return min((loss for loss, _ in self._best.values()), default=float("inf"))

    def _note(self, batch: Batch, told: Feedback) -> None:
        """Keeps the best whole prompts measured on all examples."""
        if batch.ids is None or batch.examples is not None:
            return
        ids = self.space.canonical(batch.ids)
        fit = np.isfinite(told.trusted()) & self.space.lengths_allowed(ids)
        for row, loss in zip(ids[fit], told.loss[fit], strict=True):
            self._best[row.tobytes()] = (float(loss), row)
        ranked = sorted(self._best.items(), key=lambda item: item[1][0])
        self._best = dict(ranked[: self.elite])


def _worth(turns: list[Turn]) -> float:
    """Gain per row."""
    rows = sum(turn.rows for turn in turns)
    return sum(turn.gain for turn in turns) / rows if rows else 0.0
