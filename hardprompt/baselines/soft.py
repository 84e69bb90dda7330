"""Soft prompts in the slots of the hard ones: trained on search rows, chosen on dev."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from hardprompt.baselines.base import Bench, Fitted, Method
from hardprompt.baselines.soft_files import save_soft_prompt
from hardprompt.baselines.tuning import Plan, Settings, Trained, minibatches, rows_of_step, tune
from hardprompt.encoders import Encoder, coordinate, make_encoder
from hardprompt.session import Session
from hardprompt.types import Batch, FloatArray, IntArray

STARTS = ("labels", "vocabulary")
WIDEST = 512  # of the hidden layers: a large model's width would train more than it tells


@dataclass(frozen=True)
class SoftPrompt:
    """Points between tokens, and what was trained to get them."""

    points: FloatArray  # (length, dim)
    size: int  # numbers trained


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
        def ask(trial: Any) -> Settings:
            return {
                "rate": trial.suggest_float("rate", *self.rates, log=True),
                "start": trial.suggest_categorical("start", STARTS),
            }

        price = rows_of_step(bench) * bench.session.space.gradient_price
        first = {"rate": self.first_rate, "start": STARTS[0]}
        best, settings, trials = tune(bench, price, first, ask, partial(self._train, bench))
        points = best.state.points
        return as_points(bench, points, trained=best.state.size, trials=trials, **settings)

    def _train(self, bench: Bench, settings: Settings, plan: Plan) -> Trained[SoftPrompt]:
        """One soft prompt, trained and measured."""
        session, rate = bench.session, settings["rate"]
        scale = coordinate(session.space)
        embeddings = session.space.embeddings[start_tokens(session, settings["start"], bench.rng)]
        first = torch.from_numpy(embeddings / scale).float()
        encoder = make_encoder(self.encoder, first, min(first.shape[1], WIDEST), bench.rng)
        optimizer = torch.optim.Adam(encoder.weights, lr=rate)
        batches = minibatches(session.space.n_examples, bench.rng)

        def step(number: int) -> None:
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - (number - 1) / plan.n_steps)
            _step(bench, encoder, optimizer, next(batches), scale)

        def look() -> tuple[SoftPrompt, FloatArray]:
            points = (encoder.points().detach() * scale).numpy()
            return SoftPrompt(points, encoder.size), session.scorers["dev"].by_points(points)

        return plan.follow(bench, step, look)


def _step(
    bench: Bench,
    encoder: Encoder,
    optimizer: torch.optim.Optimizer,
    examples: IntArray,
    scale: float,
) -> None:
    soft = encoder.points() * scale
    batch = Batch(embeds=soft.detach().numpy()[None], wants_gradient=True, examples=examples)
    told = bench.exact.measure(batch)
    bench.spend(len(examples), backward=len(examples))
    if told.gradient is None or not np.isfinite(told.gradient).all():
        return  # the points have run off; the next trial begins elsewhere
    optimizer.zero_grad()
    torch.autograd.backward([soft], [torch.from_numpy(told.gradient[0])])
    optimizer.step()


def as_points(bench: Bench, points: FloatArray, *, trained: int, **details: Any) -> Fitted:
    """A soft prompt, `(length, dim)`, as a fitted method; it is also saved."""
    session, points = bench.session, points.astype(np.float32)
    kept = save_soft_prompt(bench.folder / "soft", session, points)
    near = session.space.nearest(points)[:, 0]
    nearest = [session.model.codec.piece([int(token)]) for token in near]
    return Fitted(
        predict=lambda split: session.scorers[split].by_points(points),
        write=lambda split: session.scorers[split].written_by_points(points, session.decoding),
        trained=trained,
        stored=points.size,
        n_bytes=points.nbytes,
        details={**details, "nearest": nearest, "files": kept},
    )


def start_tokens(session: Session, start: str, rng: np.random.Generator) -> IntArray:
    """`(length,)` tokens to begin at: sampled from the vocabulary, with `labels` after the
    tokens of the label words (Lester et al., 2021, section 3.2)."""
    length = session.space.length
    sampled: IntArray = rng.choice(session.space.tokens, size=length)
    if start == "labels":
        words = [token for label in session.scorers["search"].labels for token in label]
        sampled[: len(words)] = words[:length]
    return sampled
