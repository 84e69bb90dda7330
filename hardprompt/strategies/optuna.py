"""Optuna's samplers over coordinates of the tokens' embeddings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, one_of
from hardprompt.types import EMPTY, Batch, FloatArray, IntArray

SAMPLERS = ("tpe", "cmaes")
TRIES = 50  # steps to a neighbour before a prompt that was seen before is let through


@dataclass(kw_only=True)
class Optuna(Strategy):
    """Let Optuna (TPE or CMA-ES) move in a small map of the vocabulary; nearest tokens decide.

    Every token has coordinates on the `axes` principal axes of the allowed tokens' embeddings.
    One categorical of a whole vocabulary would tell a sampler nothing about likeness.
    TPE: Bergstra et al., 2011; CMA-ES: Hansen & Ostermeier, 2001.
    """

    name: ClassVar[str] = "optuna"
    sampler: str = "tpe"
    axes: int = 3
    batch: int = 8

    def __post_init__(self) -> None:
        one_of(SAMPLERS, sampler=self.sampler)
        at_least(1, axes=self.axes, batch=self.batch)

    def search(self) -> Script:
        import optuna

        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental options of the samplers
            study = optuna.create_study(direction="minimize", sampler=self._sampler(optuna))
        optuna.logging.set_verbosity(level)
        self._map = self._coordinates()
        self._seen: set[bytes] = set()
        self._enqueue(study)
        while True:
            trials = [study.ask() for _ in range(self.batch)]
            ids = np.array([self._unseen(self._prompt(trial)) for trial in trials])
            told = yield Batch(ids=ids)
            for trial, loss in zip(trials, told.trusted(), strict=True):
                if np.isfinite(loss):
                    study.tell(trial, float(loss))
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def _sampler(self, optuna: Any) -> Any:
        seed = int(self.rng.integers(2**31))
        if self.sampler == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)

    def _coordinates(self) -> FloatArray:
        """`(v, axes)` principal coordinates, each axis scaled to -1..1."""
        table = self.space.embeddings[self.space.tokens].astype(np.float64)
        left, size, _ = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)
        axes = min(self.axes, left.shape[1])
        places = left[:, :axes] * size[:axes]
        scaled: FloatArray = places / np.maximum(np.abs(places).max(axis=0), 1e-12)
        return scaled

    def _names(self, place: int) -> list[str]:
        return [f"place{place}_axis{axis}" for axis in range(self._map.shape[1])]

    def _prompt(self, trial: Any) -> IntArray:
        point = np.array(
            [
                [trial.suggest_float(name, -1.0, 1.0) for name in self._names(place)]
                for place in range(self.space.length)
            ]
        )
        distance = ((point[:, None] - self._map) ** 2).sum(axis=-1)
        row: IntArray = self.space.tokens[distance.argmin(axis=1)]
        if self.space.shortest < self.space.length:
            length = trial.suggest_int("length", max(1, self.space.shortest), self.space.length)
            row = np.where(np.arange(len(row)) < length, row, EMPTY)
        canonical: IntArray = self.space.canonical(row[None])[0]
        return canonical

    def _unseen(self, row: IntArray) -> IntArray:
        # Many points are one prompt: step to a neighbour that was not asked yet.
        row = row.copy()
        for _ in range(TRIES):
            if row.tobytes() not in self._seen:
                break
            places = np.flatnonzero(row != EMPTY)
            row[self.rng.choice(places)] = self.rng.choice(self.space.tokens)
        self._seen.add(row.tobytes())
        return row

    def _enqueue(self, study: Any) -> None:
        """The seeds' coordinates first; a token that may not be searched has the nearest's."""
        if self.space.seeds is None:
            return
        for seed in self.space.complete(self.rng, self.space.seeds):
            filled = np.where(seed == EMPTY, self.space.tokens[0], seed)
            near = self.space.nearest(self.space.embeddings[filled])[:, 0]
            at = np.searchsorted(self.space.tokens, near)
            point = {
                name: float(value)
                for place, index in enumerate(at)
                for name, value in zip(self._names(place), self._map[index], strict=True)
            }
            if self.space.shortest < self.space.length:
                point["length"] = int((seed != EMPTY).sum())
            study.enqueue_trial(point)
