"""Loads a tokenizer and checks that it reads text as its own file says."""

from __future__ import annotations

from itertools import product
from typing import Any

import tokenizers
from transformers import AutoTokenizer
from transformers.utils.hub import cached_file

from hardprompt.errors import HardpromptError

WORDS = ("film", "Great", "don't", "naïve", "Zürich", "e-mail", "中文", "🙂", "snake_case", "42")
SEAMS = (" ", "  ", ", ", ".\n", "\t", " (", "' ", "/", "!? ", "...")
ENDS = ("", " ", "\n", " .")


def probes() -> list[str]:
    """Some 200 short texts in which tokenizers are known to disagree.

    None begins with a space: there transformers' classes for SentencePiece models differ from
    the files by design.
    """
    joined = [f"{a}{seam}{b}" for a, seam, b in product(WORDS[:4], SEAMS, WORDS[:4])]
    return joined + [f"{word}{end}" for word, end in product(WORDS, ENDS)]


def load_tokenizer(source: str, name: str, revision: str | None) -> Any:
    """The tokenizer of a folder or hub id; `name` is what errors call it.

    Raises `HardpromptError` where transformers reads text otherwise than the tokenizer's own
    `tokenizer.json`, as happened when a class replaced a byte-level tokenizer by another.
    """
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
    file = cached_file(
        source, "tokenizer.json", revision=revision, _raise_exceptions_for_missing_entries=False
    )
    if file is not None:
        _check(tokenizer, tokenizers.Tokenizer.from_file(file), name)
    _write_as_read(tokenizer)
    return tokenizer


def _check(tokenizer: Any, plain: Any, name: str) -> None:
    plain.no_padding()
    plain.no_truncation()
    texts = probes()
    loaded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    expected = plain.encode_batch(texts, add_special_tokens=False)
    for text, got, want in zip(texts, loaded, expected, strict=True):
        if list(got) != want.ids:
            tokens = " ".join(tokenizer.convert_ids_to_tokens(list(got)))
            raise HardpromptError(
                f"transformers reads {text!r} with the tokenizer of '{name}' as {tokens!r}, "
                f"its own tokenizer.json says {' '.join(want.tokens)!r}, so scores would be wrong; "
                'set "tokenizer_class": "PreTrainedTokenizerFast" in its tokenizer_config.json'
            )


def _write_as_read(tokenizer: Any) -> None:
    # WordPiece tidies what it writes: "do not" becomes "don't", which is read as other tokens.
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and isinstance(backend.decoder, tokenizers.decoders.WordPiece):
        backend.decoder = tokenizers.decoders.WordPiece(
            prefix=backend.decoder.prefix, cleanup=False
        )
