"""A task of a bank on its model: texts become rows that rows of other tasks can stand beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardprompt.bank.held import Hard, Held, Prefix, Soft
from hardprompt.classifier import SAMPLE
from hardprompt.errors import HardpromptError
from hardprompt.models.base import Labels, PromptModel
from hardprompt.models.codec import ANCHOR, Codec
from hardprompt.scoring.compile import Renderer, compile_rows, cut_texts, room_for
from hardprompt.scoring.mixed import MixedRow
from hardprompt.scoring.places import find_probes, steady_label_ids
from hardprompt.template import Template
from hardprompt.types import IntArray
from hardprompt.vocabulary import word_ranks

COMMON = 500  # English words, most frequent first, that may stand in a slot to find its place


class Placed:
    """Rows with these texts in the slots of the template; a subclass puts numbers there."""

    def __init__(
        self, held: Held, model: PromptModel, prompts: Sequence[str], n_before: int = 0
    ) -> None:
        """`prompts` fill the slots; `n_before` are the places of a prefix."""
        self.held, self._prompts = held, prompts
        self._renderer = Renderer(model.codec, Template.parse(held.template))
        self._labels = self._label_ids([label.word for label in held.labels])
        self._room = room_for(model.info.context - n_before, self._labels)

    def shortened(self, texts: Sequence[str]) -> tuple[list[str], int]:
        """The texts, cut where they are too long for the model, and how many were."""
        return cut_texts(self._renderer, texts, self._prompts, self._room)

    def rows(self, texts: Sequence[str]) -> list[MixedRow]:
        """A row for each text."""
        rows = self._renderer.rows([self._prompts] * len(texts), texts)
        return [MixedRow.of(row, self._labels) for row in rows]

    def _label_ids(self, words: Sequence[str]) -> Labels:
        return self._renderer.label_ids(words, SAMPLE, self._prompts)


class PlacedHard(Placed):
    """Raises `HardpromptError` where the model does not read the prompt's text as its ids."""

    def __init__(self, held: Hard, model: PromptModel) -> None:
        held.prompt.on(model)
        super().__init__(held, model, held.prompt.texts)


class PlacedPrefix(Placed):
    """Rows with nothing in their slots, behind keys and values."""

    def __init__(self, held: Prefix, model: PromptModel) -> None:
        shape = model.prefix_shape
        width = held.numbers.shape[1]
        if width != np.prod(shape):
            raise HardpromptError(
                f"a place of a prefix on '{model.info.name}' has {np.prod(shape):,} numbers, "
                f"this one has {width:,}; it was made for another model"
            )
        self._numbers = held.numbers.reshape(-1, *shape)
        n_slots = Template.parse(held.template).n_slots
        super().__init__(held, model, ("",) * n_slots, len(self._numbers))

    def rows(self, texts: Sequence[str]) -> list[MixedRow]:
        rows = self._renderer.rows([self._prompts] * len(texts), texts)
        return [MixedRow.of(row, self._labels, prefix=self._numbers) for row in rows]


class PlacedSoft(Placed):
    """Rows with points in their slots, which are found by writing words there."""

    def __init__(self, held: Soft, model: PromptModel) -> None:
        dim = model.embeddings.shape[1]
        if held.numbers.shape != (sum(held.slots), dim):
            raise HardpromptError(
                f"slots of {' + '.join(map(str, held.slots))} points on '{model.info.name}' need "
                f"{sum(held.slots)} by {dim} numbers, got "
                f"{' by '.join(map(str, held.numbers.shape))}"
            )
        template = Template.parse(held.template)
        renderer = Renderer(model.codec, template)
        self._words = common_words(model.codec, len(model.embeddings))
        self._slots = np.split(held.numbers, np.cumsum(held.slots)[:-1])
        self._probes = find_probes(renderer, self._words, template.n_slots, SAMPLE)
        filler = np.full(sum(held.slots), self._probes[0], dtype=np.int64)
        super().__init__(held, model, renderer.prompt_texts(filler, held.slots))

    def rows(self, texts: Sequence[str]) -> list[MixedRow]:
        filled = (True,) * len(self._slots)
        rows = compile_rows(self._renderer, texts, filled, self._probes)
        return [MixedRow.of(row, self._labels, self._slots) for row in rows]

    def _label_ids(self, words: Sequence[str]) -> Labels:
        widths = [len(slot) for slot in self._slots]
        return steady_label_ids(self._renderer, words, SAMPLE, widths, self._words)


def common_words(codec: Codec, n_ids: int) -> IntArray:
    """Token ids of the most frequent English words that are one token each; of a model without
    any, all that are not special."""
    start = len(codec.encode(ANCHOR))
    words = [f"{ANCHOR} {word}" for word in list(word_ranks())[:COMMON]]
    found = [ids[start:] for ids in codec.encode_many(words)]
    single = {ids[0] for ids in found if len(ids) == 1} - codec.special_ids
    usable = single if len(single) > 1 else set(range(n_ids)) - codec.special_ids
    return np.array(sorted(usable), dtype=np.int64)


def placed(held: Held, model: PromptModel) -> Placed:
    """Raises `HardpromptError` where what is held does not fit the model."""
    if isinstance(held, Hard):
        return PlacedHard(held, model)
    return PlacedSoft(held, model) if isinstance(held, Soft) else PlacedPrefix(held, model)
