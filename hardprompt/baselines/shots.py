"""In-context examples: labelled rows written before the text, in the template's own order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hardprompt.baselines.base import Bench, Fitted, Method, Unfit
from hardprompt.session import Session
from hardprompt.tasks.schema import Example
from hardprompt.types import FloatArray

PER_CLASS = (1, 2, 4)
DRAWS = 3  # sets of examples for each number
BETWEEN = "\n\n"


class Shots(Method):
    """The set of in-context examples that does best on dev; how many is chosen there too.

    A text with k examples before it costs k + 1 rows, since the model reads that many texts.
    """

    name: ClassVar[str] = "shots"
    writes: ClassVar[bool] = False
    portable: ClassVar[bool] = True
    uses_length: ClassVar[bool] = False

    def fit(self, bench: Bench) -> Fitted:
        session, counts = bench.session, bench.session.task.counts(bench.session.task.search)
        if 0 in counts:
            label = session.task.labels[counts.index(0)]
            raise Unfit(f"label '{label.name}' has no search row to show")
        found: list[tuple[float, _Shown]] = []
        for per_class in PER_CLASS:
            for _ in range(DRAWS):
                shown = _Shown(session, _draw(bench, per_class))
                price = (len(shown.examples) + 1) * len(session.task.dev)
                if price > bench.room or min(counts) < per_class:
                    continue
                bench.spend(price)
                found.append((bench.quality(shown.log_probs("dev")), shown))
        if not found:
            raise Unfit(f"{bench.budget:,.0f} rows are too few to try examples on dev")
        _, best = max(found, key=lambda pair: pair[0])
        text = BETWEEN.join(best.examples)
        n_tokens = len(session.model.codec.encode(text)) - len(session.model.codec.prefix)
        return Fitted(
            predict=best.log_probs,
            trained=0,
            stored=n_tokens,
            n_bytes=len(text.encode()),
            text=text,
            details={"examples": len(best.examples), "sets_tried": len(found)},
            late=lambda: {"test_texts_with_fewer": best.shortened("test")},
        )


@dataclass(frozen=True)
class _Shown:
    """Examples before every text of a split, as many as the model's context holds."""

    session: Session
    examples: tuple[str, ...]

    def log_probs(self, split: str) -> FloatArray:
        """`(N, classes)`."""
        return self.session.scorers[split].after([_before(kept) for kept in self._kept(split)])

    def shortened(self, split: str) -> int:
        """How many texts are too long to have all examples before them."""
        return sum(len(kept) < len(self.examples) for kept in self._kept(split))

    def _kept(self, split: str) -> list[Sequence[str]]:
        """For each text the last of the examples that fit before it."""
        scorer = self.session.scorers[split]
        room = self.session.model.info.context - max(map(len, scorer.labels))
        found: list[Sequence[str]] = [self.examples] * len(scorer.texts)
        while True:
            rows = scorer.without_prompt([_before(kept) for kept in found])
            long = [i for i, row in enumerate(rows) if found[i] and row.length > room]
            if not long:
                return found
            for i in long:
                found[i] = found[i][1:]


def _before(examples: Sequence[str]) -> str:
    return "".join(example + BETWEEN for example in examples)


def _draw(bench: Bench, per_class: int) -> tuple[str, ...]:
    """So many rows of each class from the search split, in random order, with their labels."""
    session, rng = bench.session, bench.rng
    rows: list[Example] = []
    for label in range(len(session.task.labels)):
        mine = [row for row in session.task.search if row.label == label]
        picked = rng.choice(len(mine), size=min(per_class, len(mine)), replace=False)
        rows += [mine[i] for i in picked]
    return tuple(
        session.template.render(
            session.no_prompt,
            rows[i].text,
            session.template.before_label + session.task.labels[rows[i].label].word,
        )
        for i in rng.permutation(np.arange(len(rows)))
    )
