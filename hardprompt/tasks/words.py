"""Label words: what the model is to write for each label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from hardprompt.errors import UsageError
from hardprompt.halves import check_whole
from hardprompt.tasks.schema import Label

# Names that are no words, by their letters -> the word that says the same to a model.
KNOWN = {
    "neg": "negative",
    "pos": "positive",
    "neu": "neutral",
    "verynegative": "terrible",
    "veryneg": "terrible",
    "verypositive": "great",
    "verypos": "great",
    "scitech": "technology",
    "sciencetech": "technology",
    "sciencetechnology": "technology",
    "scienceandtechnology": "technology",
    "tech": "technology",
}
CAMEL = re.compile(r"(?<=[A-Za-z][a-z])(?=[A-Z][a-z])")
SEPARATORS = re.compile(r"[\s_/|&+.,:;-]+")


def spellings(name: str) -> list[str]:
    """A label's name as words, the plainest first, the name itself last.

    `Sci/Tech` -> technology, sci tech; `verynegative` -> terrible, very negative;
    `WrittenWork` -> written work.
    """
    letters = re.sub(r"[^a-z]", "", name.lower())
    spaced = " ".join(SEPARATORS.sub(" ", CAMEL.sub(" ", name)).lower().split())
    spaced = re.sub(r"^very(?=[a-z]{3})", "very ", spaced)  # no English word begins so
    found = [KNOWN[letters]] if letters in KNOWN and not re.search(r"\d", name) else []
    return list(dict.fromkeys([*found, *([spaced] if spaced else []), name]))


def label_words(names: Sequence[str], given: Mapping[str, str] | None = None) -> tuple[Label, ...]:
    """A word for every label: the given one, else the plainest that no other label has."""
    given = given or {}
    choices = [[given[name]] if name in given else spellings(name) for name in names]
    place = [0] * len(names)
    while True:
        words = [choice[i] for choice, i in zip(choices, place, strict=True)]
        uses = Counter(words)
        movable = [
            n for n, word in enumerate(words) if uses[word] > 1 and place[n] + 1 < len(choices[n])
        ]
        if not movable:
            return tuple(Label(name, word) for name, word in zip(names, words, strict=True))
        for n in movable:
            place[n] += 1


def equal_words(labels: Sequence[Label]) -> tuple[Label, Label] | None:
    """The first two labels that have the same word, which would make them one class."""
    seen: dict[str, Label] = {}
    for label in labels:
        if label.word in seen:
            return seen[label.word], label
        seen[label.word] = label
    return None


def parse_labels(written: str) -> dict[str, str | None]:
    """`negative=terrible,positive` -> label names in their order, with the words given."""
    check_whole(written, "--labels")
    found: dict[str, str | None] = {}
    for entry in written.split(","):
        name, equals, word = (part.strip() for part in entry.partition("="))
        if not name or (equals and not word):
            raise UsageError(
                f"--labels is written name=word,name=word, got {written!r}; for labels with commas "
                "or equals signs in their names write a task file: hardprompt new-task"
            )
        if name in found:
            raise UsageError(f"--labels names '{name}' twice")
        found[name] = word if equals else None
    if len(found) < 2:
        raise UsageError(f"--labels needs two or more labels, got {written!r}")
    return found
