"""Training of a model's copy on search rows without a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hardprompt.adapt.base import Adaptation
from hardprompt.baselines.base import BACKWARD, Bench, Unfit
from hardprompt.baselines.tuning import Plan, Trained, minibatches
from hardprompt.errors import UnfitModel
from hardprompt.models.base import Labels
from hardprompt.models.batched import BatchedModel, logits_room
from hardprompt.models.trainable import Copy
from hardprompt.scoring.plan import Row, group_few
from hardprompt.scoring.scorer import score_rows
from hardprompt.types import FloatArray, IntArray

WARM_UP = 0.06  # of the steps (Liu et al., 2019, table 9)
CLIP = 1.0  # largest norm of a step's gradient


def row_losses(
    model: BatchedModel, rows: Sequence[Row], labels: Labels, gold: IntArray, numbers: IntArray
) -> Tensor:
    """`(m,)` negative log-likelihood of the right class of the rows of these numbers, or of what
    they end in, as the search has it, with what a backward pass through the weights needs."""
    found: dict[int, Tensor] = {}
    for group in group_few(rows, numbers.tolist(), model.batch_tokens):
        scores = model.differentiable(group, labels)
        log_probs = scores if group.targets is not None else scores.log_softmax(-1)
        right = torch.from_numpy(gold[group.examples]).to(log_probs.device)
        nll = -log_probs.gather(1, right[:, None])[:, 0]
        found |= zip(group.examples.tolist(), nll, strict=True)
    return torch.stack([found[number] for number in numbers.tolist()])


class Training:
    """A copy of the session's model with what an adaptation adds to it; begins anew each time."""

    def __init__(self, bench: Bench, adaptation: Adaptation) -> None:
        session = bench.session
        self._copy = Copy.of(session.model)
        try:
            self.adapted = adaptation.attach(self._copy.module, bench.rng)
        except UnfitModel as reason:
            raise Unfit(str(reason)) from None
        self._model = self._copy.scoring(self.adapted.model)
        for weight in self.adapted.trained:
            weight.requires_grad_()
        self._bench, self._labels = bench, session.scorers["search"].labels
        self._rows = {split: no_prompt_rows(bench, split) for split in ("search", "dev")}
        self._gold = session.gold("search")
        self._start = self._state()

    def run(self, rate: float, plan: Plan) -> Trained[list[Tensor]]:
        """AdamW from the start on, its rate warmed up and then lowered to zero."""
        self.restore(self._start)
        optimizer = torch.optim.AdamW(self.adapted.trained, lr=rate, weight_decay=0.0)
        batches = minibatches(len(self._rows["search"]), self._bench.rng)

        def step(number: int) -> None:
            for group in optimizer.param_groups:
                group["lr"] = rate * warmed(number, plan.n_steps)
            self._step(optimizer, next(batches))

        def look() -> tuple[list[Tensor], FloatArray]:
            return self._state(), score_rows(self._model, self._rows["dev"], self._labels)

        return plan.follow(self._bench, step, look)

    def restore(self, state: Sequence[Tensor]) -> None:
        """What is trained, as it was."""
        with torch.no_grad():
            for weight, value in zip(self.adapted.trained, state, strict=True):
                weight.copy_(value)

    def _state(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.adapted.trained]

    def _step(self, optimizer: torch.optim.Optimizer, numbers: IntArray) -> None:
        trained = self.adapted.trained
        for weight, slope in zip(trained, self._slopes(numbers), strict=True):
            weight.grad = slope
        self._bench.spend(len(numbers), len(numbers), BACKWARD)
        norm = torch.nn.utils.clip_grad_norm_(trained, CLIP)
        if torch.isfinite(norm):  # else it has run off; the next trial has another rate
            optimizer.step()

    def _slopes(self, numbers: IntArray) -> list[Tensor]:
        """Gradient of the mean loss of these rows, a batch that fits at a time."""
        trained, rows = self.adapted.trained, self._rows["search"]
        lengths = np.array([rows[number].length for number in numbers])
        ordered = numbers[np.argsort(lengths, kind="stable")]
        totals = [torch.zeros_like(weight) for weight in trained]

        def run(low: int, high: int) -> tuple[Tensor, ...]:
            losses = row_losses(self._model, rows, self._labels, self._gold, ordered[low:high])
            return torch.autograd.grad(losses.sum() / len(ordered), trained, allow_unused=True)

        # A backward pass holds the activations of every layer: twice the room. A text to be
        # written also takes the logits of all of its places.
        told = max(rows[number].target for number in numbers)
        width = 2 * (int(lengths.max()) + told * logits_room(self._copy.module))
        for _, _, slopes in self._copy.batcher.split(len(ordered), width, run):
            for total, slope in zip(totals, slopes, strict=True):
                if slope is not None:  # a weight that these rows do not use
                    total += slope
        return totals


def no_prompt_rows(bench: Bench, split: str) -> list[Row]:
    """The rows of a split with empty slots."""
    scorer = bench.session.scorers[split]
    return scorer.without_prompt([""] * len(scorer.texts))


def warmed(step: int, n_steps: int) -> float:
    """The share of the rate at step 1 to `n_steps`: rises to 1, then falls towards 0."""
    rising = max(1, round(WARM_UP * n_steps))
    return min(step / rising, (n_steps + 1 - step) / (n_steps + 1 - rising))
