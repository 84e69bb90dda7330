"""Policy gradients: a generator of prompts learns from their losses alone."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of
from hardprompt.strategies.fluent import HOLE, Writer, last_written
from hardprompt.types import EMPTY, Batch, Feedback, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from hardprompt.strategies.generators import PromptGenerator

GENERATORS = ("factored", "mlp", "table", "simplex")
REWARDS = ("rank", "zscore", "plain")
LIKELY = 96  # tokens that the model writes first prompts with
FRESH = 0.2  # share of new prompts in a step, below which it only repeats


@dataclass(kw_only=True)
class Policy(Strategy):
    """Draw prompts from a generator and make those of low loss more likely.

    The prompt generator with discrete rewards (P-tuning, Liu et al., 2021, figure 2a). Each step
    draws `samples` prompts and follows the variance-reduced policy gradient (BDPL, Diao et al.,
    2023, section 3). The `generator` is a distribution of its own for each place: probabilities on
    the simplex, as BDPL has them, a table of logits, or a direction in the space of embeddings,
    so that alike tokens learn from each other (factored); or a small network that reads the token
    before, in place of RLPrompt's frozen model with its trained layer (mlp).

    `reward` plain is minus the loss (BDPL), zscore divides it by its deviation (RLPrompt, Deng et
    al., 2022), rank counts the places of a step's prompts, since a few prompts with
    huge losses would say the most otherwise (NES, Wierstra et al., 2014, section 3.1).

    BDPL chooses tokens by their mutual information with the labels; here a place's `shortlist` is
    what the gradient at one prompt and the model's own proposals there speak for, alike, and
    `prior` times both is what the generator begins with. Where it only repeats itself, a new one
    begins at the best prompt so far. Prompts have the greatest length allowed.
    """

    name: ClassVar[str] = "policy"
    generator: str = "factored"
    reward: str = "rank"
    samples: int = 12  # prompts drawn a step
    shortlist: int | None = 200  # tokens of a place that may come; None: all
    prior: float = 1.0  # 0: all of the shortlist alike
    lr: float = 0.3  # for mlp and simplex rather 0.01
    decay: float = 0.0  # of weights (AdamW)
    clip: float = 3.0  # largest norm of a gradient
    hidden: int = 64  # units of the mlp
    patience: int = 3  # steps with hardly a new prompt before a new generator

    def __post_init__(self) -> None:
        one_of(GENERATORS, generator=self.generator)
        one_of(REWARDS, reward=self.reward)
        at_least(2, samples=self.samples)
        at_least(1, hidden=self.hidden, patience=self.patience)
        at_least(0, prior=self.prior, lr=self.lr, decay=self.decay, clip=self.clip)
        counts_with(self, "generator=mlp", self.generator == "mlp", "hidden")
        if self.shortlist is not None:
            at_least(1, shortlist=self.shortlist)

    def search(self) -> Script:
        self._best, self._row = np.inf, None
        begun: set[bytes] = set()
        while True:
            start = self._row
            if start is None or start.tobytes() in begun:
                start = yield from self._start()
            begun.add(start.tobytes())
            tokens, logits = yield from self._choices(start)
            yield from self._learn(tokens, self._generator(tokens, logits))

    def _start(self) -> Generator[Batch, Feedback, IntArray]:
        """The best of the seeds, of random prompts and of such as the model writes."""
        rows = self.space.starts(self.rng, max(self.samples, self.space.own_seeds))
        n = max(0, len(rows) - max(self.space.n_seeds, self.samples // 2))
        rows = yield from last_written(self.space, self.rng, rows, n, LIKELY)
        told = yield Batch(ids=rows)
        self._remember(rows, told)
        start: IntArray = rows[told.order()[0]]
        return start

    def _choices(self, start: IntArray) -> Generator[Batch, Feedback, tuple[IntArray, FloatArray]]:
        """`(k, n)` tokens of each place, and the logits that the generator begins with."""
        v = len(self.space.tokens)
        writer = Writer(self.space, v)
        whole = np.where(start == EMPTY, HOLE, start)[None]
        row = (yield from writer.fill(self.rng, whole))[0]
        told = yield Batch(ids=row[None], wants_gradient=True)
        self._remember(row[None], told)
        score = np.zeros((len(row), v))
        if told.gradient is not None:
            score -= _standardised(self.space.slope(told.gradient[0]))
        ids, log_probs = yield from writer.likely(np.tile(row, (len(row), 1)), np.arange(len(row)))
        order = np.argsort(ids, axis=1)
        score += _standardised(np.take_along_axis(log_probs, order, axis=1))
        n = min(v, self.shortlist or v)
        best = np.sort(np.argsort(-score, axis=1, kind="stable")[:, :n], axis=1)
        return self.space.tokens[best], self.prior * np.take_along_axis(score, best, axis=1)

    def _generator(self, tokens: IntArray, logits: FloatArray) -> PromptGenerator:
        from hardprompt.strategies import generators

        if self.generator == "simplex":
            return generators.Simplex(logits)
        if self.generator == "table":
            return generators.Table(logits)
        points = self.space.embeddings[tokens].astype(np.float64)
        points -= points.mean(axis=(0, 1))
        points /= max(float(np.sqrt((points**2).sum(axis=-1).mean())), 1e-12)
        if self.generator == "factored":
            return generators.Factored(logits, points)
        return generators.Mlp(logits, points, self.hidden, self.rng)

    def _learn(self, tokens: IntArray, generator: PromptGenerator) -> Script:
        import torch

        optimizer = torch.optim.AdamW(generator.weights, lr=self.lr, weight_decay=self.decay)
        seen: set[bytes] = set()
        stale = 0
        while stale < self.patience:
            drawn = generator.draw(self.rng, self.samples)
            rows = tokens[np.arange(len(tokens)), drawn]
            told = yield Batch(ids=rows)
            self._remember(rows, told)
            new = {row.tobytes() for row in rows} - seen
            seen |= new
            stale = 0 if len(new) > FRESH * self.samples else stale + 1
            loss = told.trusted()
            fit = np.isfinite(loss)
            if fit.sum() < 2:
                continue
            optimizer.zero_grad()
            self._surrogate(generator, drawn[fit], loss[fit]).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(generator.weights, self.clip)
            optimizer.step()
            generator.settle()

    def _surrogate(self, generator: PromptGenerator, drawn: IntArray, loss: FloatArray) -> Tensor:
        """What has the policy gradient as its derivative: with plain rewards an unbiased estimate
        of the gradient of the expected loss."""
        import torch

        likelihood = generator.log_likelihood(torch.from_numpy(drawn))
        return (torch.from_numpy(self._gains(loss)) * likelihood).sum() / (len(loss) - 1)

    def _gains(self, loss: FloatArray) -> FloatArray:
        """Minus the rewards of a step, without their mean."""
        gains: FloatArray = loss - loss.mean()
        if self.reward == "zscore":
            gains = gains / (gains.std() + 1e-4)
        if self.reward == "rank":
            n = len(loss)
            ranks = np.argsort(np.argsort(loss, kind="stable"), kind="stable") + 1
            worth = np.maximum(0.0, np.log(n / 2 + 1) - np.log(ranks))
            gains = 1 - n * worth / worth.sum()
        return gains

    def _remember(self, rows: IntArray, told: Feedback) -> None:
        first = told.order()[0]
        if told.trusted()[first] < self._best:
            self._best, self._row = float(told.loss[first]), rows[first]


def _standardised(values: FloatArray) -> FloatArray:
    """Rows of mean 0 and deviation 1; 0 where nothing is known."""
    values = np.nan_to_num(values.astype(np.float64))
    values = values - values.mean(axis=1, keepdims=True)
    scaled: FloatArray = values / np.maximum(values.std(axis=1, keepdims=True), 1e-12)
    return scaled
