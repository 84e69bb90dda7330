"""Text to token ids and back: the one place that knows special tokens and leading spaces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

ANCHOR = "a"  # read before a piece, so that a leading space is not lost in decoding


class Codec:
    """A Hugging Face tokenizer as the search needs it.

    `encode` keeps what the tokenizer itself puts in front (a beginning-of-sequence token or
    nothing) and drops what it puts behind, since a label word is to follow.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.special_ids = frozenset(int(i) for i in tokenizer.all_special_ids)

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, special tokens in front included."""
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=True, verbose=False)
        return [self._drop_end(list(ids)) for ids in encoded["input_ids"]]

    def encode(self, text: str) -> list[int]:
        return self.encode_many([text])[0]

    def _drop_end(self, ids: list[int]) -> list[int]:
        n = len(self._suffix)
        return ids[: len(ids) - n] if n and tuple(ids[-n:]) == self._suffix else ids

    @cached_property
    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the tokenizer puts before and after a text."""
        bare = self._tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
        full = self._tokenizer(ANCHOR, add_special_tokens=True)["input_ids"]
        for at in range(len(full) - len(bare) + 1):
            if full[at : at + len(bare)] == bare:
                return tuple(full[:at]), tuple(full[at + len(bare) :])
        return (), ()

    @property
    def prefix(self) -> tuple[int, ...]:
        """The special tokens that every text begins with; empty for a model without them."""
        return self._frame[0]

    @property
    def _suffix(self) -> tuple[int, ...]:
        return self._frame[1]

    @cached_property
    def _anchor(self) -> tuple[list[int], str]:
        ids = self._tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
        return ids, self.decode(ids)

    @cached_property
    def spaces_start(self) -> bool:
        """Whether a text is read as if a space stood before it (Metaspace, add_prefix_space)."""
        return self.encode(f" {ANCHOR}") == self.encode(ANCHOR)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text

    def piece(self, ids: Sequence[int]) -> str:
        """The text that these tokens add after other text, leading space included."""
        anchor, text = self._anchor
        return self.decode([*anchor, *ids])[len(text) :]

    def survives(self, pieces: Sequence[tuple[int, str]]) -> list[bool]:
        """Whether each single token, written as text after other text, is read as itself."""
        anchor, text = self._anchor
        encoded = self.encode_many([text + piece for _, piece in pieces])
        expected = [[*self.prefix, *anchor, token] for token, _ in pieces]
        return [got == want for got, want in zip(encoded, expected, strict=True)]
