"""Sets of label words, one word a class: shortlists of each way, and the best combinations."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardprompt.errors import UsageError
from hardprompt.models.base import Labels
from hardprompt.scoring.losses import Loss, normalise
from hardprompt.scoring.places import steady_tokens
from hardprompt.session import Session
from hardprompt.types import BoolArray, FloatArray, IntArray
from hardprompt.verbalizers.rank import WAYS, Evidence
from hardprompt.vocabulary import Vocabulary, stem

SHORTLIST = 30  # words of a class that each way may name
SPARE = 2  # times as many are looked at, since some are not one token in this template
MOST = 20_000  # combinations that are all tried
CHUNK = 512  # combinations weighed at once
ALIKE = 3  # sets of a list that one word may stand in


@dataclass(frozen=True)
class Words:
    """A word for each label, in the order of the labels."""

    words: tuple[str, ...]
    labels: Labels  # their token ids
    loss: float  # on the search rows
    ways: tuple[tuple[str, ...], ...]  # that named each word; none: the task's own


def find_words(
    session: Session,
    prompts: Sequence[str],
    vocabulary: Vocabulary,
    *,
    ways: Sequence[str] = tuple(WAYS),
    n: int = 10,
) -> list[Words]:
    """The n best sets of label words with these prompts in place, by the loss on the search rows.

    No two words of a set are the same but for their endings, every word is one token in its place,
    and no word stands in more than a few sets. Nothing but the search rows is looked at.
    """
    evidence = Evidence.gather(session, prompts, vocabulary.tokens)
    lists = _shortlists(session, evidence, vocabulary, ways)
    named = list(dict.fromkeys(word for shortlist in lists for word in shortlist))
    labels = tuple((token,) for _, token in named)
    scores = session.scorers["search"].by_text(prompts, labels)
    number = {word: i for i, word in enumerate(named)}
    stems = {key: i for i, key in enumerate(dict.fromkeys(stem(word) for word, _ in named))}
    tried = Combinations(
        scores,
        evidence.gold,
        session.loss,
        [np.array([number[word] for word in shortlist]) for shortlist in lists],
        np.array([stems[stem(word)] for word, _ in named]),
    )
    found = _varied(tried.best(), n)
    if not found:
        raise UsageError(
            f"--vocab {vocabulary.kind} has too few words for {len(lists)} labels, each its own"
        )
    return [
        Words(
            tuple(named[i][0] for i in row),
            tuple(labels[i] for i in row),
            loss,
            tuple(tuple(lists[c][named[i]]) for c, i in enumerate(row)),
        )
        for row, loss in found
    ]


def own_words(session: Session, prompts: Sequence[str]) -> Words:
    """The task's own words, measured alike."""
    loss, gold = session.loss, session.gold("search")
    scores = session.scorers["search"].by_text(prompts)
    value = float(loss.total(scores[None], gold, len(gold))[0])
    labels = session.scorers["search"].labels
    return Words(session.task.words, labels, value, ((),) * len(labels))


def class_log_probs(
    session: Session, prompts: Sequence[str], split: str, sets: Sequence[Labels]
) -> list[FloatArray]:
    """`(N, classes)` of each set of label words on a split, all from one reading of the rows."""
    words = list(dict.fromkeys(word for labels in sets for word in labels))
    scores = session.scorers[split].by_text(prompts, tuple(words))
    return [normalise(scores[:, [words.index(word) for word in labels]]) for labels in sets]


def _shortlists(
    session: Session, evidence: Evidence, vocabulary: Vocabulary, ways: Sequence[str]
) -> list[dict[tuple[str, int], list[str]]]:
    """For each class (word, token) -> the ways that named it, the ways taking turns."""
    common = evidence.common()
    scores = {way: np.where(common, WAYS[way](evidence), -np.inf) for way in ways}
    reach = SPARE * SHORTLIST
    orders = {way: [_finite_order(row)[:reach] for row in found] for way, found in scores.items()}
    wanted = np.unique(np.concatenate([row for rows in orders.values() for row in rows]))
    written = _fitting(session, vocabulary, wanted)
    lists = []
    for c in range(len(session.task.labels)):
        turns = []
        for way, rows in orders.items():
            unique: dict[str, tuple[str, int]] = {}
            for word, token in (written[i] for i in rows[c].tolist() if i in written):
                unique.setdefault(word.lower(), (word, token))
            turns.append([(way, found) for found in list(unique.values())[:SHORTLIST]])
        named: dict[tuple[str, int], list[str]] = {}
        for turn in itertools.zip_longest(*turns):
            for way, found in filter(None, turn):
                named.setdefault(found, []).append(way)
        lists.append(named)
    return lists


def _finite_order(scores: FloatArray) -> IntArray:
    """Numbers of the words that have a score, best first."""
    order = np.argsort(-scores, kind="stable")
    return order[np.isfinite(scores[order])]


def _fitting(
    session: Session, vocabulary: Vocabulary, wanted: IntArray
) -> dict[int, tuple[str, int]]:
    """Those of the wanted words that are read as their one token in the label's place."""
    renderer, codec = session.scorers["search"].renderer, session.model.codec
    tokens = vocabulary.tokens[wanted].tolist()
    words = [codec.piece([token]).strip() for token in tokens]
    sample = session.task.shortest
    slots = session.space.slots
    read = steady_tokens(renderer, words, sample, slots, session.vocabulary.tokens)
    fit = {
        int(i): (word, token)
        for i, word, token, got in zip(wanted, words, tokens, read, strict=True)
        if got == token
    }
    if not fit:
        raise UsageError(
            f"no word of --vocab {vocabulary.kind} is read as one token where the template "
            f"{session.template.source!r} has {{label}}; put a space before it"
        )
    return fit


@dataclass(frozen=True)
class Combinations:
    """Sets of numbered words, one of each class' list, and what each set is worth."""

    scores: FloatArray  # (N, words) log p(word | row), up to a constant of each row
    gold: IntArray  # (N,)
    loss: Loss
    lists: Sequence[IntArray]  # of each class: its words, best first
    stems: IntArray  # (words,) equal where two words are too much alike for one set

    def best(self) -> list[tuple[tuple[int, ...], float]]:
        """Sets and their losses, best first.

        All combinations of the first words of each list, as many as can all be tried (LM-BFF);
        from the best of them on, one class' word at a time is exchanged for any of its list, as
        long as that helps.
        """
        known = self._weigh(itertools.product(*(row.tolist() for row in self._firsts())))
        if not known:
            known = self._weigh([self._first_apart()])
        while known:
            best = min(known, key=lambda row: (known[row], row))
            found = self._weigh(self._exchanges(best))
            known |= found
            if not found or min(found.values()) >= known[best]:
                break
        return sorted(known.items(), key=lambda item: (item[1], item[0]))

    def _firsts(self) -> list[IntArray]:
        most = max(1, int(MOST ** (1 / len(self.lists)) + 1e-9))
        return [row[:most] for row in self.lists]

    def _first_apart(self) -> tuple[int, ...]:
        """The first word of each class that no class before it has."""
        row: list[int] = []
        for words in self.lists:
            taken = {int(self.stems[i]) for i in row}
            row.append(next((i for i in words.tolist() if int(self.stems[i]) not in taken), -1))
        return tuple(row)

    def _exchanges(self, row: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [
            (*row[:c], i, *row[c + 1 :])
            for c, words in enumerate(self.lists)
            for i in words.tolist()
            if i != row[c]
        ]

    def _weigh(self, rows: Iterable[Sequence[int]]) -> dict[tuple[int, ...], float]:
        """The loss of each set whose words are far enough apart."""
        sets = np.array(list(rows), dtype=np.int64).reshape(-1, len(self.lists))
        sets = sets[self._apart(sets)]
        known: dict[tuple[int, ...], float] = {}
        for start in range(0, len(sets), CHUNK):
            some = sets[start : start + CHUNK]
            log_probs = normalise(self.scores[:, some].transpose(1, 0, 2))
            losses = self.loss.total(log_probs, self.gold, len(self.gold))
            known |= zip(map(tuple, some.tolist()), losses.tolist(), strict=True)
        return known

    def _apart(self, sets: IntArray) -> BoolArray:
        stems = np.sort(self.stems[sets], axis=1)
        apart = np.logical_and((np.diff(stems, axis=1) > 0).all(axis=1), (sets >= 0).all(axis=1))
        return np.asarray(apart, dtype=bool)


def _varied(
    ranked: Iterable[tuple[tuple[int, ...], float]], n: int
) -> list[tuple[tuple[int, ...], float]]:
    """The first n sets, none with a word that stands in `ALIKE` sets before it."""
    chosen: list[tuple[tuple[int, ...], float]] = []
    uses: Counter[Any] = Counter()
    for row, loss in ranked:
        if len(chosen) < n and all(uses[place] < ALIKE for place in enumerate(row)):
            chosen.append((row, loss))
            uses.update(enumerate(row))
    return chosen
