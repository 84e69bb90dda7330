"""A found prompt on a model: texts in, classes or texts out, the same as in the search."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.halves import stripped_text
from hardprompt.models.base import Labels, PromptModel
from hardprompt.models.writer import Decoding
from hardprompt.scoring.compile import SPARE, Renderer, cut_texts, room_for, tokens_of
from hardprompt.scoring.scorer import score_texts
from hardprompt.types import FloatArray

if TYPE_CHECKING:
    from hardprompt.prompt import HardPrompt

LIBRARIES = ("torch", "transformers")  # what scores come from
SAMPLE = "It is a text"  # a row to look at the prompt in


class Classifier:
    """Reads texts through a prompt; `cut` counts those too long for the model so far.

    Raises `HardpromptError` where the model does not read the prompt's text as its ids.
    """

    def __init__(
        self,
        prompt: HardPrompt,
        model: PromptModel,
        beams: int | None = None,
        limit: int | None = None,
    ) -> None:
        """`beams` and `limit` are for a prompt that writes; None: as it was found with."""
        self.prompt, self.model = prompt, model
        self.cut = 0
        self._renderer = Renderer(model.codec, prompt.parsed)
        self._check_ids()
        words = [label.word for label in prompt.labels]
        self._labels: Labels = ()
        self._decoding = _decoding(prompt, beams, limit)
        if words:
            self._labels = self._renderer.label_ids(words, SAMPLE, prompt.texts)
            reserved = max(map(len, self._labels))
        else:
            reserved = max(prompt.writing.reserved, self._decoding.limit)
        self.room = self._room_for(reserved)

    @property
    def differences(self) -> list[str]:
        """A sentence for each thing that is not as it was when the prompt was found."""
        was, info = self.prompt.model, self.model.info
        found: list[str] = []
        if was.tokenizer != info.tokenizer:
            found.append("the tokenizer is not the one that the prompt was found with")
        if was.dtype != info.dtype:
            found.append(f"the prompt was found in {was.dtype}, the model is now in {info.dtype}")
        elif was.weights != info.weights:
            found.append(
                f"the weights of '{info.name}' are not those of '{was.name}' that the prompt was "
                "found on: its scores do not hold here"
            )
        return found + [
            f"the prompt was found with {name} {old}, this is {name} {now}"
            for name in LIBRARIES
            if (old := self.prompt.versions.get(name)) != (now := version(name))
        ]

    def log_probs(self, texts: Sequence[str]) -> FloatArray:
        """`(N, classes)` log-probabilities, normalised over the classes. Over-long texts are cut
        at their end; an empty one is an error, since there is nothing to classify."""
        if not self._labels:
            raise UsageError("the prompt was found for texts to be written; use write")
        shortened = self.shortened(texts)
        return self._scored(self.prompt.texts, shortened)

    def without_prompt(self, texts: Sequence[str]) -> FloatArray:
        """`(N, classes)` of the same texts with nothing in the prompt's place."""
        shortened = self.shortened(texts)
        return self._scored(self._prompts(False), shortened)

    def write(self, texts: Sequence[str], *, with_prompt: bool = True) -> list[str]:
        """What the model writes for each text: one line; over-long texts are cut."""
        if self._labels:
            raise UsageError("the prompt was found for labels; use predict")
        if not texts:
            return []
        rows = self._renderer.encode(self._prompts(with_prompt), self.shortened(texts))
        given = [np.array(row, dtype=np.int64) for row in rows]
        return self.model.write(given, self._decoding)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The name of the likeliest label of each text."""
        names = [label.name for label in self.prompt.labels]
        return [names[best] for best in self.log_probs(texts).argmax(axis=1)]

    def shortened(self, texts: Sequence[str]) -> list[str]:
        """The texts as they are read: without space around them, cut where too long."""
        if isinstance(texts, str):
            raise UsageError(f"texts must be a list, got a single one: [{texts[:40]!r}] is one")
        stripped = [stripped_text(text, n) for n, text in enumerate(texts, start=1)]
        found, cut = cut_texts(self._renderer, stripped, self.room)
        self.cut += cut
        return found

    def reads(self, text: str, *, with_prompt: bool = True) -> str:
        """Exactly what the model reads, its own beginning included: all before the label word,
        or the whole row with a mask in the label's place."""
        prompts = self._prompts(with_prompt)
        codec, written = self.model.codec, self._renderer.write(prompts, text)
        if codec.mask is None:
            return codec.decode(codec.prefix) + written + self.prompt.parsed.before_label
        return codec.decode(codec.prefix) + written + codec.decode(codec.suffix)

    def _prompts(self, with_prompt: bool) -> tuple[str, ...]:
        return self.prompt.texts if with_prompt else self.prompt.parsed.no_prompt

    def _scored(self, prompts: Sequence[str], texts: Sequence[str]) -> FloatArray:
        return score_texts(self.model, self._renderer, prompts, texts, self._labels)

    def _room_for(self, reserved: int) -> int:
        """Tokens that a row may have without its prompt: as many as in the search, so that a text
        is cut as it was there, as far as this model has room for them."""
        room = room_for(self.model.info.context, reserved)
        room -= tokens_of(self._renderer, self.prompt.texts)
        return room if self.prompt.room is None else min(self.prompt.room, room + SPARE)

    def _check_ids(self) -> None:
        expected = tuple(slot.ids for slot in self.prompt.slots)
        read = self._renderer.slot_ids(self.prompt.texts, [SAMPLE])[0]
        if read != expected:
            raise HardpromptError(
                f"the tokenizer of '{self.model.info.name}' reads the prompt "
                f"{self.prompt.text!r} as {_ids(read)}, not as {_ids(expected)} as when it was "
                "found; take the model that it was found on, or search again"
            )


def _decoding(prompt: HardPrompt, beams: int | None, limit: int | None) -> Decoding:
    if prompt.labels and (beams or limit):
        raise UsageError(
            "--beams and --max-new-tokens are for texts to be written; the prompt was found for "
            "labels"
        )
    return Decoding(limit or prompt.writing.limit, beams or prompt.writing.beams)


def _ids(slots: tuple[tuple[int, ...], ...] | None) -> str:
    return "no tokens of its own" if slots is None else " + ".join(str(list(ids)) for ids in slots)
