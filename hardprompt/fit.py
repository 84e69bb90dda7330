"""Label words and texts in a template, as one model's tokenizer reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.models.base import PromptModel
from hardprompt.scoring.compile import Renderer, compile_rows, room_for, tokens_of, too_long
from hardprompt.scoring.places import find_probes, steady_label_ids
from hardprompt.template import Template
from hardprompt.vocabulary import Vocabulary


class Fit:
    """A template with a prompt of `length` tokens in it (or of its own length).

    `sample` is a short text of the task. Raises `UsageError` where the model cannot read the
    template at all.
    """

    def __init__(
        self,
        model: PromptModel,
        template: Template,
        vocabulary: Vocabulary,
        length: int,
        sample: str,
    ) -> None:
        self._context = model.info.context
        self._slots = template.slots(template.fixed_length or length)
        self._renderer = Renderer(model.codec, template)
        self._tokens = vocabulary.tokens
        self._probes = self._find_probes(vocabulary, sample)
        filler = np.full(sum(self._slots), self._probes[0], dtype=np.int64)
        self._prompts = self._renderer.prompt_texts(filler, self._slots)

    def word(self, word: str, text: str) -> tuple[int, ...]:
        """Tokens of a label word after a text; raises where it has none of its own."""
        return steady_label_ids(self._renderer, (word,), text, self._slots, self._tokens)[0]

    def _find_probes(self, vocabulary: Vocabulary, sample: str) -> tuple[int, int]:
        """As the search does; where it would stop, any two, so that every text is unclean."""
        try:
            return find_probes(self._renderer, vocabulary.tokens, len(self._slots), sample)
        except HardpromptError:
            return int(vocabulary.tokens[0]), int(vocabulary.tokens[-1])

    def unclean(self, texts: Sequence[str]) -> list[int]:
        """Numbers of the texts around which a searched token would not stay what it is."""
        if self._clean(texts):
            return []
        return [number for number, text in enumerate(texts) if not self._clean([text])]

    def _clean(self, texts: Sequence[str]) -> bool:
        try:
            compile_rows(self._renderer, texts, (True,) * len(self._slots), self._probes)
        except HardpromptError:
            return False
        return True

    def targets(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Tokens of texts to be written, their end included."""
        return self._renderer.target_ids(texts)

    def too_long(self, texts: Sequence[str], reserved: int) -> list[int]:
        """Numbers of the texts that a search would cut, with `reserved` tokens behind them;
        raises where prompt and template alone fill the model's context."""
        room = room_for(self._context, reserved)
        return too_long(self._renderer, texts, room, tokens_of(self._renderer, self._prompts))
