"""The spaces that are small enough to be measured completely."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError
from hardprompt.session import Session
from hardprompt.tasks import task_names
from hardprompt.types import IntArray
from hardprompt.vocabulary import word_ranks

ROWS = 64  # of the search split
FREQUENT = 200  # words of the list that say little of a task


@dataclass(frozen=True)
class Place:
    """A task and a model, and the space in which they are searched."""

    task: str  # a built-in task, or a folder under the shared data
    model: str
    length: int
    words: int | None = None  # of `task_words`; None: all of `--vocab words`

    def prepare(self, shared: Path) -> Session:
        """The session of a search in this space, in float32, the text before the prompt."""
        config = RunConfig(
            task=_built_in_or(shared / "data/tasks", self.task, task_names()),
            model=_built_in_or(shared / "models", self.model, ["mini"]),
            template="suffix",
            length=self.length,
            search_rows=ROWS,
            dtype="float32",
            strategy="random",
            budget=1.0,
            start=("random",),
        )
        session = Session.prepare(config)
        if self.words is not None:
            session.space = replace(session.space, tokens=task_words(session, self.words))
        return session


def _built_in_or(root: Path, name: str, built_in: Collection[str]) -> str:
    if name in built_in:
        return name
    if not (root / name).exists():
        raise HardpromptError(
            f"no folder {root / name}; --shared names where data/tasks and models are, --places "
            "the places that need neither"
        )
    return str(root / name)


PLACES = {
    "mini-sentiment": Place("sentiment", "mini", 3, words=32),
    "mini-sst2": Place("sst2", "mini", 3, words=32),
    "stories-sentiment": Place("sentiment", "stories260K", 2),
}


def task_words(session: Session, n: int) -> IntArray:
    """`(n,)` tokens, ascending: half the most frequent words of the language, half those of the
    task's search rows beyond the commonest; lower case, each one token, no label words."""
    codec, ranks = session.model.codec, word_ranks()
    words = {codec.piece([int(token)]).strip(): int(token) for token in session.space.tokens}
    words = {word: token for word, token in words.items() if word.islower()}
    frequent = sorted(words, key=lambda word: ranks[word])[: n - n // 2]
    texts = " ".join(example.text.lower() for example in session.task.search)
    counts = Counter(re.findall(r"[a-z]+", texts))
    rare = [w for w in words if ranks[w] >= FREQUENT and w not in frequent]
    own = sorted(rare, key=lambda word: (-counts[word], ranks[word]))[: n // 2]
    return np.array(sorted(words[word] for word in [*frequent, *own]), dtype=np.int64)
