"""Text to token ids and back: the one place that knows special tokens and leading spaces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

ANCHOR = "a"  # read before a piece, so that a leading space is not lost in decoding


class Codec:
    """A Hugging Face tokenizer as the search needs it.

    `encode` keeps what the tokenizer itself puts in front (a beginning-of-sequence token or
    nothing) and drops what it puts behind, since a label word is to follow; `encode_whole`
    keeps both. `masked` says that the model fills masks: then `mask` is the text of one.
    """

    def __init__(self, tokenizer: Any, *, masked: bool = False) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        self.special_ids = frozenset(
            {int(i) for i in tokenizer.all_special_ids} | {i for i, t in added if t.special}
        )
        self.mask: str | None = str(tokenizer.mask_token) if masked else None

    @property
    def mask_id(self) -> int:
        return int(self._tokenizer.convert_tokens_to_ids(self.mask))

    @property
    def unknown_id(self) -> int | None:
        """What stands for letters that the tokenizer does not know; None: it knows all."""
        found: int | None = self._tokenizer.unk_token_id
        return found

    @cached_property
    def mask_takes_space(self) -> bool:
        """Whether the space before a mask is read as part of it, as a word would read it."""
        spaced, joined = self.encode_many([f"{ANCHOR} {self.mask}", f"{ANCHOR}{self.mask}"])
        return spaced == joined

    def encode_whole(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with all special tokens, as a model reads it that needs no more."""
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=True, verbose=False)
        return [list(ids) for ids in encoded["input_ids"]]

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, special tokens in front included."""
        return [self._drop_end(ids) for ids in self.encode_whole(texts)]

    def encode(self, text: str) -> list[int]:
        return self.encode_many([text])[0]

    def _drop_end(self, ids: list[int]) -> list[int]:
        n = len(self.suffix)
        return ids[: len(ids) - n] if n and tuple(ids[-n:]) == self.suffix else ids

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
    def suffix(self) -> tuple[int, ...]:
        """The special tokens that every text ends with, where no label is to follow."""
        return self._frame[1]

    @cached_property
    def _anchor(self) -> tuple[list[int], str]:
        ids = self._tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
        return ids, self.decode(ids)

    @cached_property
    def spaces_start(self) -> bool:
        """Whether a text is read as if a space stood before it (Metaspace, add_prefix_space)."""
        first = self.encode(ANCHOR)
        return self.encode(f"{ANCHOR} {ANCHOR}")[len(first) :] == first[len(self.prefix) :]

    @property
    def end_id(self) -> int | None:
        """What a model writes where a text ends; None: the tokenizer has no such token."""
        found: int | None = self._tokenizer.eos_token_id
        return found

    def following(self, texts: Sequence[str], before: str = ANCHOR) -> list[list[int] | None]:
        """Ids of each text as it is read after other text that ends in `before`; None where it
        melts into that, so that it has no tokens of its own."""
        head, *wholes = self.encode_many([before, *(before + text for text in texts)])
        n = len(head)
        return [ids[n:] if ids[:n] == head and len(ids) > n else None for ids in wholes]

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
