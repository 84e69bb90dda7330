"""Optuna's samplers over shortlists of tokens, or over coordinates of their embeddings."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import numpy as np

from hardprompt.front import by_fronts, nondominated
from hardprompt.quiet import quiet_optuna
from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of, share
from hardprompt.strategies.fluent import first_prompts
from hardprompt.strategies.optuna_spaces import LIKELY, Axes, Layout, shortlist
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

SAMPLERS = ("gp", "tpe", "cmaes", "nsga2")
SPACES = ("shortlist", "axes")
TRIES = 50  # steps to a neighbour before a prompt that was seen before is let through


@dataclass(kw_only=True)
class Optuna(Strategy):
    """Let Optuna choose each place's token from a shortlist that is proposed anew now and then.

    Samplers: `tpe` (Bergstra et al., 2011), `cmaes` (Hansen & Ostermeier, 2001), `gp` (expected
    improvement, Jones et al., 1998), and `nsga2` (Deb et al., 2002), which minimises loss, mean
    negative log-likelihood of a token and length together and keeps the front. `over` axes, they
    move in a small map of the vocabulary instead, as `cmaes` always does.

    A study's time grows with the square of its trials. Every `renew` prompts a new one begins and
    goes on: tpe and gp are told of the best and the latest of `memory` prompts, nsga2 of the best
    `population`. cmaes keeps its one study, learns from its own generations alone, and begins in
    the middle of the map.
    """

    name: ClassVar[str] = "optuna"
    sampler: str = "gp"  # tpe takes a few ms a prompt, gp a tenth of a second
    over: str | None = None  # shortlist or axes; None: shortlist where the sampler can
    width: int = 16  # tokens of a shortlist besides the elite's
    fluent: float = 0.5  # share of these, and of first prompts, that the model itself would write
    elite: int = 4  # tpe, gp: best prompts whose tokens stay in the shortlists
    renew: int = 64  # prompts between two proposals; not for cmaes
    memory: int = 200  # tpe, gp: prompts that a new study is told of
    axes: int = 3  # coordinates of a token
    population: int = 24  # nsga2: of a generation; its tokens stay in the shortlists
    starts: int = 16  # prompts measured before the first study
    batch: int = 8

    def __post_init__(self) -> None:
        one_of(SAMPLERS, sampler=self.sampler)
        if self.over is not None:
            one_of(SPACES, over=self.over)
        if self.sampler == "cmaes" and self.over == "shortlist":
            raise ValueError("sampler cmaes moves between numbers; leave out over=shortlist")
        at_least(1, width=self.width, elite=self.elite, renew=self.renew, axes=self.axes)
        at_least(1, starts=self.starts, batch=self.batch)
        at_least(2, memory=self.memory, population=self.population)
        share(fluent=self.fluent)
        axes, learns = self._over_axes, self.sampler in ("tpe", "gp")
        counts_with(self, "shortlists", not axes, "width")
        counts_with(self, "axes", axes, "axes")
        counts_with(self, "shortlists of tpe and gp", learns and not axes, "elite")
        counts_with(self, "tpe and gp", learns, "memory")
        counts_with(self, "samplers other than cmaes", self.sampler != "cmaes", "renew")
        counts_with(self, "sampler=nsga2", self.pareto, "population")

    @property
    def pareto(self) -> bool:
        """Whether a front is searched, not one best prompt."""
        return self.sampler == "nsga2"

    @property
    def _over_axes(self) -> bool:
        return self.over == "axes" or self.sampler == "cmaes"

    def search(self) -> Script:
        self._seen: set[bytes] = set()
        self._ids: IntArray = np.empty((0, self.space.length), dtype=np.int64)
        self._values: FloatArray = np.empty((0, 3 if self.pareto else 1))
        first = yield from first_prompts(self.space, self.rng, self.starts, self.fluent, LIKELY)
        while not len(self._ids):  # until one can be measured
            first = np.unique(first, axis=0)
            self._seen.update(row.tobytes() for row in first)
            yield from self._measure(first)
            first = self.space.random(self.rng, self.starts)
        axes = Axes(self.space, self.axes) if self._over_axes else None
        # CMA-ES is told in generations of its own, and its time does not grow.
        batches = count() if self.sampler == "cmaes" else range(-(-self.renew // self.batch))
        while True:
            layout = axes or (yield from self._shortlist())
            study = self._study(layout)
            for _ in batches:
                asked = [self._ask(study, layout) for _ in range(self.batch)]
                values = yield from self._measure(np.array([row for _, row in asked]))
                for (trial, _), value in zip(asked, values, strict=True):
                    self._tell(study, trial, value)

    def _measure(self, rows: IntArray) -> Generator[Batch, Feedback, FloatArray]:
        """`(n, objectives)`, NaN where a prompt could not be measured; all that can is kept."""
        told = yield Batch(ids=rows, wants_fluency=self.pareto)
        values = told.loss[:, None]
        if told.fluency is not None:
            values = np.column_stack([told.loss, told.fluency, (rows != EMPTY).sum(axis=1)])
        fit = np.isfinite(values).all(axis=1)
        self._ids = np.concatenate([self._ids, rows[fit]])
        self._values = np.concatenate([self._values, values[fit]])
        return values

    def _elite(self) -> IntArray:
        """Numbers of the prompts to go on from, best first."""
        if self.pareto:
            return by_fronts(self._values, self.population)[: self.population]
        return np.argsort(self._values[:, 0], kind="stable")[: self.elite]

    def _shortlist(self) -> Generator[Batch, Feedback, Layout]:
        elite = self._ids[self._elite()]
        around = elite[0]
        if self.pareto:  # anywhere along the front
            around = self.rng.choice(self._ids[nondominated(self._values)])
        return (yield from shortlist(self.space, self.rng, around, elite, self.width, self.fluent))

    def _study(self, layout: Layout) -> Any:
        """A new study that is told what was measured before, as far as its layout can show it."""
        import optuna

        distributions = layout.distributions()
        with quiet_optuna():
            study = optuna.create_study(
                directions=["minimize"] * self._values.shape[1],
                sampler=self._sampler(optuna.samplers),
            )
            for number in self._remembered():
                params, values = layout.params(self._ids[number]), self._values[number].tolist()
                # TPE learns each place for itself, the others only from whole prompts; to CMA-ES
                # it only says that there is something to begin with.
                if len(params) < len(distributions) and not (params and self.sampler == "tpe"):
                    continue
                if self.pareto:  # a generation is made of trials that were asked for
                    study.enqueue_trial(params)
                    study.tell(study.ask(distributions), values)
                    continue
                shown = {name: distributions[name] for name in params}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=shown, values=values)
                )
        return study

    def _remembered(self) -> list[int]:
        """Numbers of the prompts that a new study is told of."""
        if self.pareto:
            return [int(number) for number in self._elite()]
        half, n = self.memory // 2, len(self._ids)
        best = np.argsort(self._values[:, 0], kind="stable")[:half].tolist()
        return sorted({*best, *range(max(0, n - half), n)})

    def _sampler(self, samplers: Any) -> Any:
        seed = int(self.rng.integers(2**31))
        if self.sampler == "cmaes":
            return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        if self.sampler == "gp":
            return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        if self.sampler == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=self.population)
        # The axes of a token belong together; places by themselves are learned sooner.
        together = self.over == "axes"
        return samplers.TPESampler(seed=seed, multivariate=together, constant_liar=True)

    def _ask(self, study: Any, layout: Layout) -> tuple[Any, IntArray]:
        """A trial and its prompt, which was not asked before as far as one is found."""
        distributions = layout.distributions()
        with quiet_optuna():
            trial = study.ask(distributions)
            row = layout.row(trial.params)
            if row.tobytes() in self._seen:
                # Many points are one prompt, and samplers repeat themselves: step to a neighbour.
                self._tell(study, trial, np.array([np.nan]))
                for _ in range(TRIES):
                    row = layout.neighbour(self.rng, row)
                    if row.tobytes() not in self._seen:
                        break
                study.enqueue_trial(layout.params(row))
                trial = study.ask(distributions)
        self._seen.add(row.tobytes())
        return trial, row

    def _tell(self, study: Any, trial: Any, values: FloatArray) -> None:
        import optuna

        with quiet_optuna():
            if np.isfinite(values).all():
                study.tell(trial, values.tolist())
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
