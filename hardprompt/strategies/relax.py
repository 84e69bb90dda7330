"""Continuous relaxation: train points between tokens, then take the tokens nearest to them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of
from hardprompt.strategies.descent import ASKS_PROMPTS, Descent, affordable_steps, cosine
from hardprompt.strategies.gradients import keep_latest
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

if TYPE_CHECKING:
    from hardprompt.strategies.gumbel import Gumbel
    from hardprompt.strategies.projections import Points

ENCODERS = ("none", "mlp", "lstm")
PROJECTIONS = ("end", "straight-through", "pull", "gumbel", "langevin")
OWN = {  # settings that a single projection has
    "pull": ("pull",),
    "gumbel": ("temperature", "coldest", "logit", "mixtures", "samples"),
    "langevin": ("beta",),
}
OPTIMIZERS = ("adam", "adafactor", "sgd")


@dataclass(kw_only=True)
class Relax(Strategy):
    """Train a soft prompt by gradient descent and project it to tokens, scored as text.

    `projection` says how points become tokens: straight-through, whose points take the gradient
    of their nearest tokens (PEZ, Wen et al., 2023); end, once, after the last step; pull, ever
    more by a growing penalty; gumbel, as mixtures of tokens (GBDA, Guo et al., 2021); langevin,
    at every step, with noise (FluentPrompt, Shi et al., 2022). `encoder` mlp or lstm trains a
    network that gives the points (P-tuning, Liu et al., 2021). A descent ends with a repair: each
    place in turn, first those that lose most when they are rounded, takes the best of its `k_best`
    nearest tokens. `descents` keeps where each ended.
    """

    name: ClassVar[str] = "relax"
    encoder: str = "none"
    projection: str = "straight-through"
    steps: int = 30  # of a descent at most; fewer where the rest of the budget would end before
    optimizer: str = "adam"
    # None: 0.1 for points, 1 for langevin's, 0.003 with a network, 0.3 for logits
    lr: float | None = None
    decay: float = 0.0
    raw: bool = False  # lengths in the embeddings' own units, not in those of a usual coordinate
    hidden: int = 64  # width of the network
    batch: int = 32  # examples a step
    check: int = 1  # steps between two measurements of the projected prompt on all examples
    k_best: int = 4  # 1: no repair
    pull: float = 4.0  # pull: how late the penalty grows
    temperature: float = 1.0  # gumbel: of the mixtures, falling in a line
    coldest: float = 0.1  # gumbel: where it ends
    logit: float = 10.0  # gumbel: of the tokens that it starts from, above all others
    mixtures: int = 1  # gumbel: asked a step
    samples: int = 8  # gumbel: hard samples at the end
    beta: float = 0.1  # langevin: temperature of the noise; 0: none (AutoPrompt-SGD)
    descents: list[Descent] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        one_of(ENCODERS, encoder=self.encoder)
        one_of(PROJECTIONS, projection=self.projection)
        one_of(OPTIMIZERS, optimizer=self.optimizer)
        at_least(1, steps=self.steps, hidden=self.hidden, batch=self.batch, check=self.check)
        at_least(1, k_best=self.k_best, mixtures=self.mixtures)
        at_least(0, lr=self.rate, decay=self.decay, pull=self.pull, beta=self.beta)
        at_least(0, temperature=self.temperature, coldest=self.coldest, samples=self.samples)
        if self.projection == "gumbel" and self.encoder != "none":
            raise ValueError("projection gumbel trains logits and takes encoder none")
        counts_with(self, "encoder=mlp or encoder=lstm", self.encoder != "none", "hidden")
        counts_with(self, "other projections", self.projection != "gumbel", "raw")
        prompts = self.projection in ASKS_PROMPTS
        counts_with(self, f"projection={' or '.join(ASKS_PROMPTS)}", prompts, "check")
        for projection, names in OWN.items():
            counts_with(self, f"projection={projection}", self.projection == projection, *names)

    @property
    def rate(self) -> float:
        if self.lr is not None:
            return self.lr
        if self.encoder != "none":
            return 0.003
        return {"gumbel": 0.3, "langevin": 1.0}.get(self.projection, 0.1)

    def record(self) -> dict[str, Any]:
        """The descents that came to their end: what rounding cost, and what repair won back."""
        return {"descents": [d.record(self.space.embeddings) for d in self.descents]}

    def search(self) -> Script:
        self.descents = []
        self._known: dict[bytes, Feedback] = {}
        starts = self.space.starts(self.rng, max(8, self.space.own_seeds))
        for number in range(10**9):
            if number >= len(starts):
                starts = np.concatenate([starts, self.space.random(self.rng, 8)])
            yield from self._descend(self._whole(starts[number]))

    def _whole(self, start: IntArray) -> IntArray:
        """Points have no holes between slots: there, random tokens fill them."""
        if self.projection in ASKS_PROMPTS or (start[: (start != EMPTY).sum()] != EMPTY).all():
            return start
        return np.where(start == EMPTY, self.rng.choice(self.space.tokens, start.shape), start)

    def _descend(self, start: IntArray) -> Script:
        told = yield Batch(ids=start[None])
        self._best: tuple[float, IntArray] = (np.inf, start)
        self._weigh(start, told.trusted()[0])
        course = self._course(start)
        n_steps = affordable_steps(self, self.space.budget - self.asked)
        for step in range(n_steps):
            told = yield from self._slope(course.question(step / n_steps), step)
            if told.gradient is None or not np.isfinite(told.gradient).all():
                break  # the same points would only be told the same
            course.learn(told.gradient, (step + 1) / n_steps)
        ends = course.ends()
        told = yield Batch(ids=ends, keep=1)
        for row, loss in zip(ends, told.trusted(), strict=True):
            self._weigh(row, loss)
        yield from self._repair(course)

    def _course(self, start: IntArray) -> Points | Gumbel:
        from hardprompt.strategies import gumbel, projections

        kinds: dict[str, type[Points | Gumbel]] = {
            "end": projections.Points,
            "straight-through": projections.StraightThrough,
            "pull": projections.Pull,
            "langevin": projections.Langevin,
            "gumbel": gumbel.Gumbel,
        }
        return kinds[self.projection](self, start)

    def _slope(self, batch: Batch, step: int) -> Generator[Batch, Feedback, Feedback]:
        """The answer to a step's question; prompts are measured on all examples as well."""
        batch = replace(batch, examples=self._examples())
        if batch.ids is None:
            return (yield batch)
        row = batch.ids[0]
        if batch.examples is None:  # the same question has the same answer
            if (known := self._known.get(row.tobytes())) is None:
                known = keep_latest(self._known, row.tobytes(), (yield batch))
            self._weigh(row, known.trusted()[0])
            return known
        told = yield batch
        if step % self.check == 0:
            exact = yield Batch(ids=batch.ids, bar=np.array([self._best[0]]))
            self._weigh(row, exact.trusted()[0])
        return told

    def _examples(self) -> IntArray | None:
        if self.batch >= self.space.n_examples:
            return None
        return np.sort(self.rng.choice(self.space.n_examples, self.batch, replace=False))

    def _weigh(self, row: IntArray, loss: float) -> None:
        """Keeps the best prompt of a descent; NaN is never better."""
        if loss < self._best[0]:
            self._best = float(loss), row

    def _repair(self, course: Points | Gumbel) -> Script:
        """The best of the `k_best` nearest tokens, place after place, the worst rounded first."""
        near = course.near(min(self.k_best, len(self.space.tokens)))
        descent = Descent(course.points(), near[:, 0], self._best[1])
        told = yield Batch(ids=course.row()[None])
        descent.hard = float(told.trusted()[0])
        if self.projection in ASKS_PROMPTS:
            lost = -cosine(descent.points, self.space.embeddings[near[:, 0]])
        else:
            lost = yield from self._measure_gap(descent)
        order = np.argsort(-lost, kind="stable")
        for place in order[: len(order) if self.k_best > 1 else 0]:
            rows = np.tile(self._best[1], (near.shape[1], 1))
            rows[:, course.places[place]] = near[place]
            told = yield Batch(ids=rows, keep=1)
            top = told.order()[0]
            self._weigh(rows[top], told.trusted()[top])
        descent.after, descent.repaired = self._best
        self.descents.append(descent)

    def _measure_gap(self, descent: Descent) -> Generator[Batch, Feedback, FloatArray]:
        """What rounding costs: the loss of the points, and with each of them alone rounded."""
        n = len(descent.points)
        points = np.repeat(descent.points[None], n + 1, axis=0)
        points[range(n), range(n)] = self.space.embeddings[descent.projected]
        told = yield Batch(embeds=points)
        descent.alone, descent.soft = told.loss[:n], float(told.loss[n])
        return descent.alone
