"""What every training of a comparison has in common: its settings and its end are dev's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from hardprompt.baselines.base import Bench, Unfit
from hardprompt.quiet import quiet_optuna
from hardprompt.types import FloatArray, IntArray

TRIALS = 4  # settings tried; each gets the same share of the budget
CHECKS = 4  # times that a trial is measured on dev
ROWS = 32  # of a step
FEWEST_STEPS = 8  # below that a trial is worth nothing: fewer trials are made

State = TypeVar("State")
Settings = dict[str, Any]  # what Optuna chose; what JSON can hold


@dataclass(frozen=True)
class Trained(Generic[State]):
    """What a training left, as good as dev ever saw it."""

    state: State
    quality: float
    step: int  # after which it was measured


def tune(
    bench: Bench,
    price: float,
    first: Settings,
    ask: Callable[[Any], Settings],
    train: Callable[[Settings, Plan], Trained[State]],
) -> tuple[Trained[State], Settings, list[Settings]]:
    """The best of a few trainings, its settings, and those of all.

    A step costs `price` rows. `first` is tried first, then what Optuna (TPE, Bergstra et al.,
    2011) suggests to `ask`; all share what is left of the budget equally.
    """
    import optuna

    with quiet_optuna():  # some of the sampler's options are experimental
        seed = int(bench.rng.integers(2**31))
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)
        study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial(first)
    n_trials = affordable_trials(bench, price)
    plan = Plan.of(bench, bench.room / n_trials, price)
    best: tuple[Trained[State], Settings] | None = None  # of the others only the figures are kept
    trials: list[Settings] = []
    for _ in range(n_trials):
        trial = study.ask()
        settings = ask(trial)
        trained = train(settings, plan)
        study.tell(trial, trained.quality)
        about = {**settings, "steps": plan.n_steps, "kept_step": trained.step}
        trials.append(about | {"quality": round(trained.quality, 6)})
        if best is None or trained.quality > best[0].quality:
            best = trained, about
    assert best is not None, "there is one trial at least"
    return *best, trials


@dataclass(frozen=True)
class Plan:
    """How long a training takes, and after which of its steps it is measured on dev."""

    n_steps: int
    checks: frozenset[int]

    @classmethod
    def of(cls, bench: Bench, rows: float, price: float) -> Plan:
        """What so many rows pay for, where a step costs `price`; raises `Unfit`."""
        n_dev = len(bench.session.task.dev)
        checks = CHECKS if rows >= 2 * CHECKS * n_dev else 1
        n_steps = int((rows - checks * n_dev) // price)
        if n_steps < 1:
            raise Unfit(f"{rows:,.0f} rows are too few for one step and a look at dev")
        last = (-(-n_steps * (check + 1) // checks) for check in range(checks))
        return cls(n_steps, frozenset(last))

    def follow(
        self,
        bench: Bench,
        step: Callable[[int], None],
        look: Callable[[], tuple[State, FloatArray]],
    ) -> Trained[State]:
        """Takes the steps, which pay for themselves, and keeps the best of what `look` shows: a
        state and its log-probabilities on dev, `(N, classes)`, which are paid for here."""
        best: Trained[State] | None = None
        for number in range(1, self.n_steps + 1):
            step(number)
            if number in self.checks:
                state, log_probs = look()
                bench.spend(len(bench.session.task.dev))
                quality = bench.quality(log_probs)
                if best is None or quality > best.quality:
                    best = Trained(state, quality, number)
        assert best is not None, "the last step is a check"
        return best


def affordable_trials(bench: Bench, price: float) -> int:
    """How many trainings are long enough to tell something, where a step costs `price` rows."""
    least = FEWEST_STEPS * price + len(bench.session.task.dev)
    return int(np.clip(bench.room // least, 1, TRIALS))


def rows_of_step(bench: Bench) -> int:
    """Rows of a minibatch."""
    return min(ROWS, bench.session.space.n_examples)


def minibatches(n: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Row numbers of one step after another, shuffled anew for every pass over the rows. Where
    `n` is no multiple of the batch, a pass leaves out the rows of its last, smaller batch."""
    size = min(ROWS, n)
    while True:
        order = rng.permutation(n)
        for low in range(0, n - size + 1, size):
            yield np.sort(order[low : low + size])
