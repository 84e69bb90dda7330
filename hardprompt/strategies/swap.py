"""Gradient-guided token swaps: AutoPrompt, GCG, UAT and ARCA by their fields."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hardprompt.strategies.base import Script, Strategy, at_least, counts_with, one_of, share
from hardprompt.strategies.fluent import first_prompts
from hardprompt.strategies.gradients import Gradients
from hardprompt.strategies.moves import ALL, ONE, Lists, Moves, Places, join, readable_lists
from hardprompt.strategies.pool import Buffer, Walk
from hardprompt.strategies.probe import Probe
from hardprompt.types import Batch, Feedback, FloatArray, IntArray

ACCEPT = ("better", "anneal", "always")
IDLE = 5  # rounds of all places with nothing new to draw, after which no patience helps


@dataclass(kw_only=True)
class Swap(Strategy):
    """Replace tokens where the gradient promises most, several at once, from several starts.

    A step takes the gradient of the loss at a prompt, ranks every token of every place by its
    first-order change (HotFlip, Ebrahimi et al., 2018, eq. 10; AutoPrompt, Shin et al., 2020,
    eq. 2), and draws `width` prompts with swaps out of the `top_k` of a place (GCG, Zou et al.,
    2023, algorithm 1). All of them are measured on `probe` examples, another even sample each
    step, and the best `keep` on all examples. A share of the swaps, `fluent`, is drawn from
    shorter lists: of the `likely` tokens that the model itself would write in a place, those of
    the best slope. The best single swaps of a step are then joined one after the other (I-GCG,
    Jia et al., 2024, section 3.3).

    `accept` says where the next step begins. better: at the best of the `buffer`, which gives way
    to the next best after `patience` steps without a gain, and the last of them to a new start.
    always: at the best prompt of the step, even where it is worse (GCG). anneal: there too, but a
    worse one only with probability exp(-rise / T), where T falls to zero over the budget
    (llm-attacks). Both leave the prompt they are at in every step, as llm-attacks does, unless it
    may `stay`: then it is drawn and measured like its neighbours (ARCA). `record` says how many
    steps began at a worse prompt than the one before; the best of all is never lost, since every
    prompt measured is ranked.

    `places` says which places a step changes. any: drawn; even: all alike (llm-attacks); one: a
    single one, every place once in a random order, then again (AutoPrompt, without its repeats);
    turn: one after the other, coordinate-wise (ARCA, Jones et al., 2023). With a single place,
    `patience` counts rounds of all places, and the gradient may be the mean of `average` prompts
    with a random token in that place.

    AutoPrompt, GCG and ARCA are presets. UAT (Wallace et al., 2019): `width=3, top_k=3,
    places=turn, starts=1, probe=0, explore=0, merge=0, replace=1`. HotFlip itself, which takes the
    best flip of all places unmeasured, is none of the settings: its ranking is what they share.
    """

    name: ClassVar[str] = "swap"
    width: int = 32  # prompts drawn a step
    probe: int = 8  # examples that these are measured on first; 0: all of them on all
    keep: int = 3  # prompts measured on all examples after the probe
    top_k: int = 32  # tokens of a place that may come
    replace: int = 2  # most tokens changed at once
    buffer: int = 6  # prompts worth going on from
    starts: int = 8  # prompts measured before the first step
    momentum: float = 0.0  # of the gradient over steps (MAC, Zhang & Wei, 2024)
    merge: int = 3  # joined swaps measured a step
    explore: float = 0.1  # share of swaps drawn from the whole vocabulary
    fluent: float = 0.0  # share of swaps, and of first prompts, that the model itself would write
    likely: int = 96  # tokens of a place that the model finds likeliest
    patience: int = 2
    places: str = "any"
    average: int = 0  # random tokens that a place's gradient is averaged over; 0: the one there
    accept: str = "better"
    stay: bool = False  # a walk may end its step where it began
    temperature: float | None = None  # first T, in units of the loss; None: by its spread

    def __post_init__(self) -> None:
        at_least(1, width=self.width, top_k=self.top_k, replace=self.replace, buffer=self.buffer)
        at_least(1, starts=self.starts, patience=self.patience, likely=self.likely, keep=self.keep)
        at_least(0, momentum=self.momentum, merge=self.merge)
        at_least(0, probe=self.probe, average=self.average)
        share(explore=self.explore, fluent=self.fluent)
        one_of((*ALL, *ONE), places=self.places)
        one_of(ACCEPT, accept=self.accept)
        if not self.momentum < 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum:g}")
        if self.average and self.places not in ONE:
            raise ValueError("average needs one place at a time: places=one or places=turn")
        if self.temperature is not None:
            at_least(0, temperature=self.temperature)
        elif self.accept == "anneal" and self.starts == 1:
            raise ValueError("accept=anneal needs a temperature, or several starts to see spread")
        counts_with(self, "accept=anneal", self.accept == "anneal", "temperature")
        counts_with(self, "accept=better", self.accept == "better", "buffer")
        counts_with(self, "fluent above 0", self.fluent > 0, "likely")
        counts_with(self, "probe above 0", self.probe > 0, "keep")
        counts_with(self, "accept=always or accept=anneal", self.accept != "better", "stay")

    def search(self) -> Script:
        self._steps, self._uphill, self._last = 0, 0, np.inf
        self._seen: set[bytes] = set()  # measured on all examples
        self._probe = Probe(self.space, self.rng, self.probe, self.keep)
        self._front = self._make_front()
        self._places = Places(self.rng, self.places)
        self._gradients = Gradients(self.space, self.rng, self.average, self.momentum)
        self._moves = Moves(
            self.rng, self.space.tokens, self.width, self.replace, self.explore, self.fluent,
            even=self.places == "even",
        )  # fmt: skip
        while True:
            first = np.unique((yield from self._first()), axis=0)
            self._seen.update(row.tobytes() for row in first)
            told = yield Batch(ids=first)
            self._front.begin(first, told.trusted())
            yield from self._climb()

    def record(self) -> dict[str, Any]:
        """How many steps there were, and how many of them began at a worse prompt than the one
        before."""
        return {"accept": self.accept, "steps": self._steps, "uphill": self._uphill}

    def _make_front(self) -> Buffer | Walk:
        patience = self.patience * (self.space.length if self.places in ONE else 1)
        if self.accept == "better":
            return Buffer(self.buffer, patience)
        step = self._probe.price(self.width) + self.merge
        step += max(1, self.average) * self.space.gradient_price
        return Walk(
            self.rng, self.accept == "always", self.temperature, self.space.budget / step,
            keep=self.merge + 1, patience=patience,
        )  # fmt: skip

    def _first(self) -> Generator[Batch, Feedback, IntArray]:
        """The seeds, then prompts that the model writes and random ones."""
        # Seeds alone would be the same start again.
        if self._seen and self.starts <= self.space.n_seeds:
            return self.space.random(self.rng, self.starts)
        first = first_prompts(self.space, self.rng, self.starts, self.fluent, self.likely)
        return (yield from first)

    def _climb(self) -> Script:
        """Steps until nothing is left to go on from."""
        self._gradients.begin()
        self._tried = set(self._seen)  # or dropped by a probe of this climb
        self._idle = 0
        while (current := self._front.current()) is not None:
            parent, before = current
            self._steps, self._uphill = self._steps + 1, self._uphill + (before > self._last)
            self._last = before
            places = self._places.of(parent)
            gradient = None
            if places:
                gradient = yield from self._gradients.at(parent, places)
            if gradient is None:
                self._front.give_up()
                continue
            yield from self._step(parent, before, places, self.space.slope(gradient[places]))

    def _step(
        self, parent: IntArray, before: float, places: list[int], slope: FloatArray
    ) -> Script:
        top = np.argsort(slope, axis=1, kind="stable")[:, : self.top_k]
        lists = dict(zip(places, self.space.tokens[top], strict=True))
        readable: Lists = lists
        if self.fluent:
            few = max(1, self.top_k // 2)  # already a choice: half as many as of all tokens
            readable = yield from readable_lists(
                self.space, parent, places, slope, self.likely, few
            )
        # A walk may go where it was before; a climb would gain nothing there.
        tried = self._tried
        if self.accept != "better":
            tried = set() if self.stay else {parent.tobytes()}
        rows = self._moves.draw(parent, lists, readable, tried)
        self._idle = 0 if len(rows) else self._idle + 1
        if self._idle == IDLE * self.space.length:
            self._idle = 0
            self._front.give_up()
        rows = yield from self._probe.best(rows)
        if not len(rows):
            return
        loss = yield from self._measure(rows)
        joined = join(parent, rows, loss, before)[: self.merge]
        if joined := [row for row in joined if row.tobytes() not in tried]:
            tried.update(row.tobytes() for row in joined)
            yield from self._measure(np.array(joined))

    def _measure(self, rows: IntArray) -> Generator[Batch, Feedback, FloatArray]:
        """On all examples; `(n,)` losses, NaN where they are too high to matter."""
        told = yield self._front.batch(rows)
        loss = told.trusted()
        self._seen.update(row.tobytes() for row in rows)
        self._front.enter(rows, loss)
        return loss
