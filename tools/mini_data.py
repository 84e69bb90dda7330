"""Training data of `mini`: plain passages and short labelled documents.

Everything is drawn from a seed and the number of the block, so that a training
that was stopped goes on with the very rows that it would have seen.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mini_phrasings import FIXED, FIXED_SHARE, SENTIMENT_MIX, TOPIC_WORDS, TOPICS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
NGRAM = 8
LABEL_WEIGHT = 4  # how much more the label word counts in the loss than another token
# Most of a small model's life is spent on short opinions: books and medicine are capped.
MEGABYTES = {"reviews-imdb": 33.0, "gutenberg": 14.0, "novels-1895-1929": 7.0, "qa-medquad": 4.0}
DEFAULT_MEGABYTES = 24.0
SOURCES = (("imdb", 0.32), ("yelp-sent", 0.30), ("amazon-multidomain", 0.24), ("bbc", 0.14))
POSITIVE = "positive"


@dataclass(frozen=True)
class Document:
    """A labelled document; `span` is where its label word stands, in characters."""

    text: str
    span: tuple[int, int]


def words_of(text: str) -> list[str]:
    """Lower-cased words, the units of the overlap test."""
    return re.findall(r"[a-z0-9']+", text.lower())


def ngrams(text: str, n: int = NGRAM) -> Iterator[tuple[str, ...]]:
    words = words_of(text)
    return zip(*(words[i:] for i in range(n)), strict=False)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def evaluation_ngrams(folders: Iterable[Path]) -> set[tuple[str, ...]]:
    """Every sequence of 8 words of every JSONL row under these folders."""
    found: set[tuple[str, ...]] = set()
    for folder in folders:
        for file in sorted(folder.rglob("*.jsonl")):
            for row in read_rows(file):
                for value in row.values():
                    for text in value if isinstance(value, list) else [value]:
                        if isinstance(text, str):
                            found.update(ngrams(text))
    return found


def plain_documents(
    folder: Path, banned: set[tuple[str, ...]], every: int
) -> Iterator[tuple[str, list[str]]]:
    """`(corpus, paragraphs)` of one document in `every`, up to the corpus' megabytes.

    A paragraph that shares 8 consecutive words with an evaluation row is left out.
    """
    for file in sorted(folder.glob("*.txt.gz")):
        name = file.name.removesuffix(".txt.gz")
        left = MEGABYTES.get(name, DEFAULT_MEGABYTES) * 1e6
        number = 0
        paragraphs: list[str] = []
        with gzip.open(file, "rt", encoding="utf8") as lines:
            for line in lines:
                line = line.rstrip("\n")
                if line == END:
                    if number % every == 0:
                        yield name, [p for p in paragraphs if banned.isdisjoint(ngrams(p))]
                    number += 1
                    paragraphs = []
                    if left <= 0:
                        break
                elif line.strip():
                    left -= len(line)
                    paragraphs.append(line)


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Byte-level BPE; token 0 is the end of text, which also begins one.

    A text is read as if a space stood before it, so that a word at its start is the same
    token as elsewhere and a prompt keeps its tokens wherever it is pasted.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Plain:
    """Encoded passages with the places where a passage may begin."""

    def __init__(self, ids: np.ndarray, starts: np.ndarray) -> None:
        self.ids, self.starts = ids, starts

    @classmethod
    def encode(cls, documents: Sequence[list[str]], tokenizer: Tokenizer) -> Plain:
        newline = tokenizer.encode("\n").ids
        pieces: list[np.ndarray] = []
        starts: list[int] = []
        position = 0
        for first in range(0, len(documents), 500):
            chunk = documents[first : first + 500]
            encoded = iter(tokenizer.encode_batch([p for doc in chunk for p in doc]))
            for doc in chunk:
                for _ in doc:
                    ids = next(encoded).ids + newline
                    starts.append(position)
                    position += len(ids)
                    pieces.append(np.array(ids, dtype=np.uint16))
                pieces.append(np.zeros(1, dtype=np.uint16))
                position += 1
        return cls(np.concatenate(pieces), np.array(starts, dtype=np.int64))

    def draw(self, rng: np.random.Generator, length: int) -> np.ndarray:
        """The end-of-text token and `length - 1` tokens from the start of a paragraph."""
        usable = np.searchsorted(self.starts, len(self.ids) - length)
        start = self.starts[rng.integers(max(1, usable))]
        return np.concatenate([np.zeros(1, np.uint16), self.ids[start : start + length - 1]])


def tidy(text: str) -> str:
    return " ".join(re.sub(r"<br\s*/?>|\\n", " ", text).split())


def detokenize(text: str) -> str:
    """`do n't ( ever ) .` -> `don't (ever).`"""
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", r"\1", text)
    text = re.sub(r" ([.,!?;:)\]])", r"\1", text)
    return re.sub(r"([(\[]) ", r"\1", text).replace("_num_", "2")


def tokenize_loosely(text: str) -> str:
    """The lower-cased, spaced-out look of many public data sets."""
    return " ".join(re.sub(r"([.,!?;:()\"])", r" \1 ", text.lower()).split())


class Labelled:
    """Draws labelled documents in many wordings from the train rows of the tasks."""

    def __init__(self, folder: Path, split: str, banned: set[tuple[str, ...]]) -> None:
        self.rows: dict[str, dict[str, list[dict[str, str]]]] = {}
        for name, _ in SOURCES:
            by_label = self.rows.setdefault(name, {})
            for row in read_rows(folder / name / f"{split}.jsonl"):
                if banned.isdisjoint(ngrams(row["text"])):
                    by_label.setdefault(str(row["label"]), []).append(row)

    def draw(self, rng: np.random.Generator, most_words: int) -> Document:
        shares = np.array([share for _, share in SOURCES])
        name = SOURCES[rng.choice(len(SOURCES), p=shares / shares.sum())][0]
        labels = sorted(self.rows[name])
        label = labels[rng.integers(len(labels))]
        rows = self.rows[name][label]
        row = rows[rng.integers(len(rows))]
        text = self._text(rng, name, row, most_words)
        if name == "bbc":
            return self._topic(rng, text, label)
        return self._sentiment(rng, text, label == POSITIVE)

    def _text(
        self, rng: np.random.Generator, name: str, row: dict[str, str], most_words: int
    ) -> str:
        title = row.get("title", "")
        if name == "amazon-multidomain" and len(title.split()) >= 2 and rng.random() < 0.25:
            return tidy(title)
        text = tidy(row["text"])
        if name == "yelp-sent":
            return detokenize(text) if rng.random() < 0.5 else text.replace("_num_", "2")
        if name == "amazon-multidomain" and title and rng.random() < 0.3:
            text = f"{tidy(title)}. {text}"
        text = snippet(rng, text, most_words)
        return tokenize_loosely(text) if rng.random() < 0.3 else text

    def _sentiment(self, rng: np.random.Generator, text: str, positive: bool) -> Document:
        shares = np.array([share for _, share, _ in SENTIMENT_MIX] + [FIXED_SHARE])
        family = rng.choice(len(shares), p=shares / shares.sum())
        if family == len(SENTIMENT_MIX):
            phrasing, pair = FIXED[rng.integers(len(FIXED))]
        else:
            phrasings, _, pairs = SENTIMENT_MIX[family]
            phrasing = phrasings[rng.integers(len(phrasings))]
            pair = pairs[rng.integers(len(pairs))]
        return render(rng, phrasing, text, pair[positive], pair[not positive])

    def _topic(self, rng: np.random.Generator, text: str, label: str) -> Document:
        others = [word for word in sorted(TOPIC_WORDS) if word != label]
        answer, other = (
            TOPIC_WORDS[word][rng.integers(len(TOPIC_WORDS[word]))]
            for word in (label, others[rng.integers(len(others))])
        )
        return render(rng, TOPICS[rng.integers(len(TOPICS))], text, answer, other)


def snippet(rng: np.random.Generator, text: str, most_words: int) -> str:
    """A few sentences in a row; the ends of a review, where verdicts stand, most often."""
    sentences = re.split(r"(?<=[.!?]) +", text)
    want = min(most_words, int(rng.integers(10, max(11, most_words))))
    place = rng.random()
    first = 0 if place < 0.35 else int(rng.integers(len(sentences)))
    if place > 0.7:
        first, size = len(sentences), 0
        while first > 0 and size < want:
            first -= 1
            size += len(sentences[first].split())
    taken: list[str] = []
    for sentence in sentences[first:]:
        if taken and len(taken) + len(sentence.split()) > want:
            break
        taken += sentence.split()
    return " ".join(taken[:most_words])


def render(rng: np.random.Generator, phrasing: str, text: str, answer: str, other: str) -> Document:
    """Fills a phrasing and says where the label word stands."""
    x, y = (answer, other) if rng.random() < 0.5 else (other, answer)
    if rng.random() < 0.3:
        phrasing = phrasing.replace("\n", " ")
    if phrasing.startswith("{x}"):
        x = x.capitalize()
    words = text.split()
    half = len(words) // 2
    parts = {
        "t": text,
        "t1": " ".join(words[:half]),
        "t2": " ".join(words[half:]),
        "x": x,
        "y": y,
    }
    before, after = phrasing.split("{a}")
    head = before.format(**parts)
    if rng.random() < 0.25:  # prompts are often written without capitals
        head = head.lower()
    return Document(head + answer + after.format(**parts), (len(head), len(head) + len(answer)))


class Mixture:
    """Blocks of training rows: half plain text, half labelled documents."""

    def __init__(self, plain: Plain, labelled: Labelled, tokenizer: Tokenizer, seed: int) -> None:
        self.plain, self.labelled, self.tokenizer, self.seed = plain, labelled, tokenizer, seed

    def block(self, number: int, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and loss weights, both `[rows, length]`, the same for the same number."""
        rng = np.random.default_rng((self.seed, number))
        most_words = 64 if length <= 128 else 300
        documents = [self.labelled.draw(rng, most_words) for _ in range(rows * length // 24)]
        encoded = iter(self._encode(documents))
        ids = np.zeros((rows, length), dtype=np.int64)
        weights = np.ones((rows, length), dtype=np.float32)
        pending = next(encoded)
        for row in range(rows):
            # Labelled rows end with the beginning of a passage, hence a little over one half.
            if rng.random() < 0.42:
                ids[row] = self.plain.draw(rng, length)
                continue
            filled = 0
            while filled + len(pending[0]) <= length:
                end = filled + len(pending[0])
                ids[row, filled:end], weights[row, filled:end] = pending
                filled = end
                pending = next(encoded)
            if filled < length:
                ids[row, filled:] = self.plain.draw(rng, length - filled)
            if len(pending[0]) > length:
                pending = next(encoded)
        return ids, weights

    def _encode(self, documents: list[Document]) -> list[tuple[np.ndarray, np.ndarray]]:
        result = []
        for document, encoding in zip(
            documents, self.tokenizer.encode_batch([d.text for d in documents]), strict=True
        ):
            low, high = document.span
            ids = np.array([0, *encoding.ids], dtype=np.int64)
            weights = np.ones(len(ids), dtype=np.float32)
            for index, (start, end) in enumerate(encoding.offsets, start=1):
                if start < high and end > low:
                    weights[index] = LABEL_WEIGHT
            result.append((ids, weights))
        return result
