"""Soft prompts in the slots of the hard ones: trained on search rows, chosen on dev."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from hardprompt.baselines.base import Bench, Fitted, Method, Unfit
from hardprompt.baselines.soft_files import save_soft_prompt
from hardprompt.encoders import Encoder, coordinate, make_encoder
from hardprompt.session import Session
from hardprompt.types import Batch, FloatArray, IntArray

STARTS = ("labels", "vocabulary")
TRIALS = 4  # settings tried; each gets the same share of the budget
CHECKS = 4  # times that a trial is measured on dev
ROWS = 32  # of a step
WIDEST = 512  # of the hidden layers: a large model's width would train more than it tells
FEWEST_STEPS = 8  # below that a trial is worth nothing: fewer trials are made


@dataclass(frozen=True)
class Trained:
    """A soft prompt and where it came from."""

    points: FloatArray  # (length, dim)
    quality: float
    size: int  # numbers trained
    settings: dict[str, Any]


class SoftMethod(Method):
    """Adam on points between tokens; the rate and the start are chosen on dev by Optuna (TPE).

    Every trial is trained to its end with a rate that falls to zero; of all points measured on
    dev the best is kept. Lengths are in units of the root mean square of the searched tokens'
    embedding coordinates, so that one range of rates suits every model.
    """

    encoder: ClassVar[str]  # what is trained: see `make_encoder`
    rates: ClassVar[tuple[float, float]]  # lowest and highest rate
    first_rate: ClassVar[float]  # tried first

    def fit(self, bench: Bench) -> Fitted:
        best, trials = self._tune(bench)
        session = bench.session
        kept = save_soft_prompt(bench.folder / "soft", session, best.points)
        near = session.space.nearest(best.points)[:, 0]
        return Fitted(
            predict=lambda split: session.scorers[split].by_points(best.points),
            write=lambda split: session.scorers[split].written_by_points(
                best.points, session.decoding
            ),
            trained=best.size,
            stored=best.points.size,
            n_bytes=best.points.nbytes,
            details={
                **best.settings,
                "trials": trials,
                "nearest": [session.model.codec.piece([int(token)]) for token in near],
                "files": kept,
            },
        )

    def _tune(self, bench: Bench) -> tuple[Trained, list[dict[str, Any]]]:
        import optuna

        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental options of the sampler
            seed = int(bench.rng.integers(2**31))
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)
            study = optuna.create_study(direction="maximize", sampler=sampler)
        optuna.logging.set_verbosity(level)
        study.enqueue_trial({"rate": self.first_rate, "start": STARTS[0]})
        n_trials = _affordable_trials(bench)
        share = bench.room / n_trials
        found: list[Trained] = []
        for _ in range(n_trials):
            trial = study.ask()
            rate = trial.suggest_float("rate", *self.rates, log=True)
            start = trial.suggest_categorical("start", STARTS)
            found.append(self._train(bench, rate, start, share))
            study.tell(trial, found[-1].quality)
        trials = [run.settings | {"quality": round(run.quality, 6)} for run in found]
        return max(found, key=lambda run: run.quality), trials

    def _train(self, bench: Bench, rate: float, start: str, rows: float) -> Trained:
        """One soft prompt, trained and measured for `rows` rows."""
        session = bench.session
        scale = coordinate(session.space)
        embeddings = session.space.embeddings[start_tokens(session, start, bench.rng)]
        first = torch.from_numpy(embeddings / scale).float()
        encoder = make_encoder(self.encoder, first, min(first.shape[1], WIDEST), bench.rng)
        optimizer = torch.optim.Adam(encoder.weights, lr=rate)
        n_steps, checks = plan(bench, rows)
        batches = minibatches(session.space.n_examples, bench.rng)
        best: tuple[float, FloatArray, int] | None = None
        for step in range(1, n_steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - (step - 1) / n_steps)
            self._step(bench, encoder, optimizer, next(batches), scale)
            if step in checks:
                points = (encoder.points().detach() * scale).numpy()
                bench.spend(len(session.task.dev))
                quality = bench.quality(session.scorers["dev"].by_points(points))
                if best is None or quality > best[0]:
                    best = (quality, points, step)
        assert best is not None
        settings = {"rate": rate, "start": start, "steps": n_steps, "kept_step": best[2]}
        return Trained(best[1], best[0], encoder.size, settings)

    def _step(
        self,
        bench: Bench,
        encoder: Encoder,
        optimizer: torch.optim.Optimizer,
        examples: IntArray,
        scale: float,
    ) -> None:
        soft = encoder.points() * scale
        batch = Batch(embeds=soft.detach().numpy()[None], wants_gradient=True, examples=examples)
        told = bench.session.objective.measure(batch)
        bench.spend(len(examples) * bench.session.space.gradient_price)
        if told.gradient is None or not np.isfinite(told.gradient).all():
            return  # the points have run off; the next trial begins elsewhere
        optimizer.zero_grad()
        torch.autograd.backward([soft], [torch.from_numpy(told.gradient[0])])
        optimizer.step()


def start_tokens(session: Session, start: str, rng: np.random.Generator) -> IntArray:
    """`(length,)` tokens to begin at: sampled from the vocabulary, with `labels` after the
    tokens of the label words (Lester et al., 2021, section 3.2)."""
    length = session.space.length
    sampled: IntArray = rng.choice(session.space.tokens, size=length)
    if start == "labels":
        words = [token for label in session.scorers["search"].labels for token in label]
        sampled[: len(words)] = words[:length]
    return sampled


def minibatches(n: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Row numbers of one step after another; every row once before any comes again."""
    size = min(ROWS, n)
    while True:
        order = rng.permutation(n)
        for low in range(0, n - size + 1, size):
            yield np.sort(order[low : low + size])


def plan(bench: Bench, rows: float) -> tuple[int, set[int]]:
    """Steps that so many rows pay for, and after which of them dev is measured."""
    n_dev = len(bench.session.task.dev)
    checks = CHECKS if rows >= 2 * CHECKS * n_dev else 1
    n_steps = int((rows - checks * n_dev) // _step_price(bench))
    if n_steps < 1:
        raise Unfit(f"{rows:,.0f} rows are too few for one step and a look at dev")
    return n_steps, {-(-n_steps * (check + 1) // checks) for check in range(checks)}


def _step_price(bench: Bench) -> float:
    space = bench.session.space
    return min(ROWS, space.n_examples) * space.gradient_price


def _affordable_trials(bench: Bench) -> int:
    least = FEWEST_STEPS * _step_price(bench) + len(bench.session.task.dev)
    return int(np.clip(bench.room // least, 1, TRIALS))
