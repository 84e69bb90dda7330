"""A task's rows as a model reads them: which tokens fit, a scorer for each split."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardprompt.errors import UsageError
from hardprompt.halves import check_whole
from hardprompt.models.base import PromptModel
from hardprompt.models.codec import ANCHOR, Codec
from hardprompt.scoring.compile import SPARE, Renderer, cut_texts, room_for, tokens_of
from hardprompt.scoring.places import find_probes, fitting, steady_label_ids
from hardprompt.scoring.scorer import WRITTEN, Scorer
from hardprompt.tasks import Example, Task
from hardprompt.template import Template
from hardprompt.types import IntArray
from hardprompt.vocabulary import Vocabulary

SPLITS = ("search", "dev", "test")


@dataclass(frozen=True)
class Splits:
    """A scorer for each split, how many of its texts were cut, and what they were cut for."""

    scorers: dict[str, Scorer]
    cut: dict[str, int]
    reserved: int  # tokens of the context that are kept free behind a row
    room: int  # tokens that a row may have without its prompt

    @classmethod
    def of(
        cls,
        model: PromptModel,
        task: Task,
        renderer: Renderer,
        slots: tuple[int, ...],
        vocabulary: Vocabulary,
        probes: tuple[int, int],
        written: int | None = None,
        given: Sequence[Sequence[str]] = (),
    ) -> Splits:
        """`written` are the tokens that a written text may have, where that was asked for;
        `given` are prompts that may be longer than the slots and are scored on the same rows."""
        filler = np.full(sum(slots), probes[0], dtype=np.int64)
        usual = renderer.prompt_texts(filler, slots)
        targets: dict[str, list[tuple[int, ...]]] = {}
        if task.writes:
            labels = WRITTEN
            targets = {split: _targets(renderer, getattr(task, split)) for split in SPLITS}
            ends = list(itertools.chain(*targets.values()))
        else:
            sample = task.shortest
            labels = steady_label_ids(renderer, task.words, sample, slots, vocabulary.tokens)
            ends = list(labels)
        reserved = max(written or 0, *map(len, ends))
        room = room_for(model.info.context, reserved)
        prompt, room = _cut_for(renderer, usual, given, room)
        scorers, cut = {}, {}
        for split in SPLITS:
            texts = [example.text for example in getattr(task, split)]
            texts, cut[split] = cut_texts(renderer, texts, room, prompt)
            rows = renderer, texts, labels, slots, probes, targets.get(split)
            scorers[split] = Scorer(model, *rows)
        return cls(scorers, cut, reserved, room - prompt)


def widths_of(
    codec: Codec, template: Template, prompts: Sequence[Sequence[str]]
) -> tuple[int, ...]:
    """Tokens of each slot that the longest of these prompts needs."""
    wrong = [prompt for prompt in prompts if len(prompt) != template.n_slots]
    if wrong:
        raise UsageError(
            f"the template {template.source!r} has {template.n_slots} slots, but a prompt has "
            f"{len(wrong[0])}; a prompt for several slots is given as its prompt.json"
        )
    for prompt in itertools.chain(*prompts):
        check_whole(prompt, "the prompt")
    start = len(codec.encode(ANCHOR))
    return tuple(
        max(1, *(len(codec.encode(f"{ANCHOR} {prompt[slot]}")) - start for prompt in prompts))
        for slot in range(template.n_slots)
    )


def fit_vocabulary(
    vocabulary: Vocabulary,
    model: PromptModel,
    renderer: Renderer,
    slots: tuple[int, ...],
    task: Task,
) -> tuple[Vocabulary, tuple[int, int]]:
    """The tokens that are read as themselves in the template, and two to find its slots with."""
    sample = task.shortest
    probes = find_probes(renderer, vocabulary.tokens, len(slots), sample)
    scorer = Scorer(model, renderer, [sample], (), slots, probes)
    fits = fitting(scorer, vocabulary.tokens, probes[0])
    if fits.all():
        return vocabulary, probes
    note = (
        f"{int((~fits).sum()):,} tokens of --vocab {vocabulary.kind} were left out: "
        "written in this template, they are read as others"
    )
    notes = (*vocabulary.notes, note)
    return replace(vocabulary, tokens=vocabulary.tokens[fits], notes=notes), probes


def right_classes(rows: Sequence[Example]) -> IntArray:
    """`(N,)` right classes; where texts are written, 0: the only figure that a row scores."""
    return np.array([example.label for example in rows], dtype=np.int64)


def _cut_for(
    renderer: Renderer, usual: Sequence[str], given: Sequence[Sequence[str]], room: int
) -> tuple[int, int]:
    """Tokens of the prompt that texts are cut for, and those that a row with it may have: one of
    the slots' length, or the longest `given` where that needs more than is spared beside it."""
    needed = tokens_of(renderer, usual)
    longest = max((tokens_of(renderer, prompt) for prompt in given), default=needed)
    return (longest, room + SPARE) if longest > needed + SPARE else (needed, room)


def _targets(renderer: Renderer, rows: Sequence[Example]) -> list[tuple[int, ...]]:
    """Tokens of what the model is to write for each row: the first reference."""
    return renderer.target_ids([row.references[0] for row in rows])
