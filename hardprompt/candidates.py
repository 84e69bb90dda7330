"""Prompts with what is known of them before test is opened: those found, and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hardprompt.evaluation import Evaluator

SlotIds = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Candidate:
    """A prompt, its figures on search and dev, and whether its text is read as its ids."""

    prompts: tuple[str, ...]  # the text of each slot
    slot_ids: SlotIds
    certified: bool  # on every search row the text is read as these ids
    source: str  # search, manual, empty or given
    loss: float
    dev: float
    fluency: float | None
    words: int | None = None  # the set of label words that it goes with; None: the task's own
    screened: float | None = None  # the loss as the search saw it, in half precision

    @property
    def ids(self) -> list[int]:
        return [token for slot in self.slot_ids for token in slot]

    def same(self, other: Candidate) -> bool:
        """Whether both are one prompt with the same label words, wherever they came from."""
        return (self.prompts, self.words) == (other.prompts, other.words)


@dataclass(frozen=True)
class Baselines:
    """What a prompt has to beat: no prompt, and what people would write."""

    empty: Candidate
    manual: tuple[Candidate, ...]
    words: Candidate | None = None  # no prompt, but the label words searched with it

    @property
    def none(self) -> Candidate:
        """No prompt, with the label words that give it the lower loss."""
        found = [self.empty] if self.words is None else [self.empty, self.words]
        return min(found, key=lambda candidate: candidate.loss)

    @property
    def best_manual(self) -> Candidate | None:
        """The best on dev; None where the task has no manual prompt for this template."""
        return max(self.manual, key=lambda m: (m.dev, -m.loss), default=None)


def measure(
    evaluator: Evaluator,
    prompts: Sequence[str],
    source: str,
    slot_ids: SlotIds | None = None,
    words: int | None = None,
) -> Candidate:
    """A prompt measured as text; `slot_ids` None: whatever its text is read as. `words` as of
    `Evaluator.log_probs`."""
    scorer = evaluator.session.scorers["search"]
    read = scorer.renderer.slot_ids(prompts, scorer.texts)
    if slot_ids is None:
        slot_ids = read[0] or ((),) * len(prompts)
    return Candidate(
        prompts=tuple(prompts),
        slot_ids=slot_ids,
        certified=all(found == slot_ids for found in read),
        source=source,
        loss=evaluator.loss(prompts, words=words),
        dev=evaluator.metric(prompts, "dev", words),
        fluency=evaluator.fluency(_tokens(evaluator, prompts, slot_ids)),
        words=words,
    )


def _tokens(evaluator: Evaluator, prompts: Sequence[str], slot_ids: SlotIds) -> list[int]:
    """The tokens of a prompt; of one that melts into its texts, those that it has alone."""
    found = [token for slot in slot_ids for token in slot]
    if found or len(prompts) > 1:
        return found
    codec = evaluator.session.model.codec
    return codec.encode(prompts[0])[len(codec.prefix) :]


def measure_baselines(evaluator: Evaluator) -> Baselines:
    session = evaluator.session
    words = evaluator.suiting(session.no_prompt)
    return Baselines(
        measure(evaluator, session.no_prompt, "empty"),
        tuple(measure(evaluator, (prompt,), "manual") for prompt in session.manual),
        None if words is None else measure(evaluator, session.no_prompt, "words", words=words),
    )
