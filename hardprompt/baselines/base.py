"""What every method of a comparison is: it chooses on search and dev rows, then predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.metrics.figures import TextFigures
from hardprompt.objective import Objective
from hardprompt.scoring.losses import loss_named
from hardprompt.session import Session
from hardprompt.types import FloatArray

BROKEN = -2.0  # below every metric
TIE = 1e-6  # what the likelihood may add: less than any two values of a metric differ by
# Rows that a backward pass of one row through a model's weights costs (Kaplan et al., 2020,
# section 2.1): twice what reading it does.
BACKWARD = 2.0


class Unfit(HardpromptError):
    """A method cannot be used on this task or template; the table says why and goes on."""


@dataclass
class Bench:
    """What a method works with: a session, a budget, a folder for its own files.

    Costs are in rows. One text read by the model costs 1; rows of search and of dev count alike,
    as long as they serve to fit or to choose. A row that is differentiated costs as much more as
    its backward pass. Figures of the report are not counted, and nobody sees test here.
    """

    session: Session
    rng: np.random.Generator
    budget: float  # rows
    folder: Path
    on_spend: Callable[[float], None] = lambda spent: None  # rows so far, for a progress bar
    spent: float = field(default=0.0, init=False)
    forward: float = field(default=0.0, init=False)  # rows read
    backward: float = field(default=0.0, init=False)  # of these, differentiated

    @property
    def room(self) -> float:
        """Rows that are left."""
        return self.budget - self.spent

    def spend(self, rows: float, backward: float = 0.0, price: float | None = None) -> None:
        """Pays for `rows` read, and for a backward pass of `backward` of them. `price` is that
        of the pass of one row; None: what the space's `gradient_price` leaves for it."""
        each = self.session.space.gradient_price - 1 if price is None else price
        self.forward += rows
        self.backward += backward
        self.spent += rows + each * backward
        self.on_spend(self.spent)

    @cached_property
    def exact(self) -> Objective:
        """The session's objective in the precision of its reports, where a search may see another:
        what is trained by gradients is trained in it, whatever it trains."""
        return replace(self.session, screened=False).objective

    def by_text(self, prompts: tuple[str, ...], split: str) -> FloatArray:
        """`(N, classes)` log-probabilities of a prompt as text, paid for."""
        scorer = self.session.scorers[split]
        self.spend(len(scorer.texts))
        return scorer.by_text(prompts)

    @property
    def judging(self) -> int:
        """Rows that a look by `judged` costs. Of a text that is written the model reads every
        token once for each beam, as it reads those of a reference once."""
        beams = self.session.decoding.beams if self.session.task.writes else 1
        return beams * len(self.session.task.dev)

    def judged(self, prompts: tuple[str, ...]) -> float:
        """What the choice among a few prompts goes by, paid for: as `quality`, but where texts
        are written the metric of those that the model writes for dev."""
        session, figures = self.session, self.session.figures("dev")
        if not isinstance(figures, TextFigures):
            return self.quality(self.by_text(prompts, "dev"))
        self.spend(self.judging)
        return figures.value(
            figures.outcome(session.scorers["dev"].written(prompts, session.decoding))
        )

    def quality(self, log_probs: FloatArray) -> float:
        """What a training is chosen by: the metric on dev, ties broken by the likelihood; of
        texts to be written, the likelihood of a token of the references alone.

        Log-probabilities that are none (points that ran off) are worse than anything.
        """
        if not np.isfinite(log_probs).all():
            return BROKEN
        session, gold = self.session, self.session.gold("dev")
        if session.task.writes:  # to write them out for every look at dev would take too long
            return float(np.exp(log_probs.mean()))
        score = session.figures("dev").value(log_probs.argmax(axis=1))
        nll = float(loss_named("nll").total(log_probs[None], gold, len(gold))[0])
        return score - TIE * nll / (1 + nll)


def _writes_nothing(split: str) -> list[str]:
    raise Unfit(f"it has no texts to write for {split}: it says how likely labels are")


@dataclass(frozen=True)
class Fitted:
    """A method ready to predict, and what it took."""

    # A split -> (N, classes) log-probabilities; of texts to be written (N, 1), and the texts.
    predict: Callable[[str], FloatArray]
    trained: int  # numbers that were fitted; the id of a token is one
    stored: int  # numbers that must be kept to use it
    n_bytes: int  # of what must be kept
    write: Callable[[str], list[str]] = _writes_nothing
    text: str | None = None  # what a person can read and paste; None: nothing
    details: dict[str, Any] = field(default_factory=dict)  # for the record; what JSON can hold
    # More of them that only the report shows: worked out when the clock has stopped.
    late: Callable[[], dict[str, Any]] = dict


class Method(ABC):
    """One row of the table. Draws only from `bench.rng` and stays within `bench.budget`."""

    name: ClassVar[str]  # without its size, where it has one
    writes: ClassVar[bool] = True  # whether it can serve tasks whose answer is a text
    discrete: ClassVar[bool] = False  # a prompt of words in the slot: what the others are held to
    portable: ClassVar[bool] = False  # what is found serves any other model as it is
    uses_length: ClassVar[bool] = True  # False: the same whatever --len is, and fitted once

    @abstractmethod
    def fit(self, bench: Bench) -> Fitted:
        """Fits and chooses; raises `Unfit` where task or template leave no way to use it."""


def as_text(session: Session, prompts: tuple[str, ...], *, trained: int, **details: Any) -> Fitted:
    """A prompt of words as a fitted method: what is kept is its text."""
    text = session.template.show(prompts)
    codec = session.model.codec
    before = len(codec.encode("a"))
    n_tokens = sum(len(codec.encode(f"a {prompt}")) - before for prompt in prompts if prompt)
    return Fitted(
        predict=lambda split: session.scorers[split].by_text(prompts),
        write=lambda split: session.scorers[split].written(prompts, session.decoding),
        trained=trained,
        stored=n_tokens,
        n_bytes=len(text.encode()),
        text=text,
        details=details,
    )
