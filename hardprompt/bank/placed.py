"""A task of a bank on its model: texts become rows that rows of other tasks can stand beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardprompt.bank.held import Hard, Held, Prefix, Soft
from hardprompt.classifier import SAMPLE
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.base import Labels, PromptModel
from hardprompt.models.codec import ANCHOR, Codec
from hardprompt.scoring.compile import (
    Renderer,
    compile_rows,
    cut_texts,
    room_for,
    tokens_beside,
    tokens_of,
)
from hardprompt.scoring.mixed import MixedRow
from hardprompt.scoring.places import find_probes, steady_label_ids
from hardprompt.template import Template
from hardprompt.types import FloatArray, IntArray
from hardprompt.vocabulary import word_ranks

COMMON = 500  # English words, most frequent first, that may stand in a slot to find its place


@dataclass(frozen=True, eq=False)
class Placed:
    """What is held of a task, and all that its rows are made from."""

    held: Held
    renderer: Renderer
    prompts: tuple[str, ...]  # in the slots; of a soft prompt, words as long as it
    label_ids: Labels
    room: int  # tokens that a row may have without its prompt, before its label word
    slots: tuple[FloatArray, ...] = ()  # (k, dim) points of each slot
    probes: tuple[int, int] = (0, 0)  # tokens that the slots of points are found with
    prefix: FloatArray | None = None  # (n, layers, 2, kv_heads, head_dim)

    def shortened(self, texts: Sequence[str]) -> tuple[list[str], int]:
        """The texts, cut where they are too long for the model, and how many were."""
        return cut_texts(self.renderer, texts, self.room)

    def rows(self, texts: Sequence[str]) -> list[MixedRow]:
        """A row for each text."""
        if self.slots:
            filled = (True,) * len(self.slots)
            rows = compile_rows(self.renderer, texts, filled, self.probes)
        else:
            rows = self.renderer.rows([self.prompts] * len(texts), texts)
        return [MixedRow.of(row, self.label_ids, self.slots, self.prefix) for row in rows]


def placed(held: Held, model: PromptModel) -> Placed:
    """Raises `HardpromptError` where what is held does not fit the model, or leaves a text no room
    in its context."""
    renderer = Renderer(model.codec, Template.parse(held.template))
    if isinstance(held, Hard):
        found = _hard(held, model, renderer)
    elif isinstance(held, Soft):
        found = _soft(held, model, renderer)
    else:
        found = _prefix(held, model, renderer)
    prompt = tokens_of(renderer, found.prompts)
    alone, room = tokens_beside(renderer, found.prompts), found.room + prompt
    if alone >= room:
        raise UsageError(
            f"prompt and template take {alone:,} tokens, and a row has {room:,} before its "
            "label word: no room for a text"
        )
    return found


def _hard(held: Hard, model: PromptModel, renderer: Renderer) -> Placed:
    if held.prompt.writes:
        raise UsageError(
            "the prompt was found for texts to be written, and a bank answers with labels; use its "
            "own write"
        )
    classifier = held.prompt.on(model)  # raises where the text is no longer read as its ids
    prompts = held.prompt.texts
    labels = renderer.label_ids(_words(held), SAMPLE, prompts)
    return Placed(held, renderer, prompts, labels, classifier.room)


def _soft(held: Soft, model: PromptModel, renderer: Renderer) -> Placed:
    slots, n_slots = held.slots, renderer.template.n_slots
    points, wanted = " + ".join(map(str, slots)), (sum(slots), model.embeddings.shape[1])
    if len(slots) != n_slots or min(slots) < 1:
        raise HardpromptError(
            f"the template {held.template!r} has {n_slots} slots, but its points are {points}"
        )
    if held.numbers.shape != wanted:
        raise HardpromptError(
            f"slots of {points} points on '{model.info.name}' need {wanted[0]} by {wanted[1]} "
            f"numbers, got {' by '.join(map(str, held.numbers.shape))}"
        )
    words = common_words(model.codec, len(model.embeddings))
    probes = find_probes(renderer, words, n_slots, SAMPLE)
    filler = np.full(sum(slots), probes[0], dtype=np.int64)
    labels = steady_label_ids(renderer, _words(held), SAMPLE, slots, words)
    prompts = tuple(renderer.prompt_texts(filler, slots))
    return Placed(
        held,
        renderer,
        prompts,
        labels,
        _room(model.info.context, labels) - tokens_of(renderer, prompts),
        slots=tuple(np.split(held.numbers, np.cumsum(slots)[:-1])),
        probes=probes,
    )


def _prefix(held: Prefix, model: PromptModel, renderer: Renderer) -> Placed:
    shape, width = model.prefix_shape, held.numbers.shape[1]
    if width != np.prod(shape):
        raise HardpromptError(
            f"a place of a prefix on '{model.info.name}' has {np.prod(shape)} numbers, this one "
            f"has {width}; it was made for another model"
        )
    prompts = renderer.template.no_prompt
    labels = renderer.label_ids(_words(held), SAMPLE, prompts)
    places, context = len(held.numbers), model.info.context
    try:
        room = _room(context - places, labels)
    except UsageError:
        raise UsageError(
            f"a prefix of {places:,} places leaves no room for a text in the model's context of "
            f"{context:,} tokens"
        ) from None
    prefix = held.numbers.reshape(-1, *shape)
    return Placed(held, renderer, prompts, labels, room, prefix=prefix)


def _room(context: int, labels: Labels) -> int:
    return room_for(context, max(map(len, labels)))


def _words(held: Held) -> list[str]:
    return [label.word for label in held.labels]


def common_words(codec: Codec, n_ids: int) -> IntArray:
    """Token ids of the most frequent English words that are one token each; of a model without
    any, all that are not special."""
    start = len(codec.encode(ANCHOR))
    words = [f"{ANCHOR} {word}" for word in list(word_ranks())[:COMMON]]
    found = [ids[start:] for ids in codec.encode_many(words)]
    single = {ids[0] for ids in found if len(ids) == 1} - codec.special_ids
    usable = single if len(single) > 1 else set(range(n_ids)) - codec.special_ids
    return np.array(sorted(usable), dtype=np.int64)
