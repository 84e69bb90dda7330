"""Sets of label words found for a task and judged on dev: `hardprompt labels`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hardprompt.errors import HardpromptError
from hardprompt.judge import rounded
from hardprompt.metrics import interval, paired_gain
from hardprompt.results import about_model, about_task
from hardprompt.session import Session, versions
from hardprompt.tasks import Task
from hardprompt.tasks.schema import Label
from hardprompt.types import IntArray
from hardprompt.verbalizers.find import Words, class_log_probs, find_words, own_words
from hardprompt.verbalizers.rank import WAYS
from hardprompt.vocabulary import Vocabulary

SCHEMA = "hardprompt.labels/1"
LISTED = 10  # sets that dev judges

Prompts = tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A set of words with a prompt in place, and what it says of dev."""

    words: Words
    prompts: Prompts
    dev: float
    predicted: IntArray  # (N,) on dev
    rival: IntArray | None = None  # what the task's own words say; None: it is theirs


def assess_words(
    session: Session,
    in_place: Sequence[Prompts],
    vocabulary: Vocabulary,
    *,
    ways: Sequence[str] = tuple(WAYS),
    n: int = LISTED,
) -> dict[str, Any]:
    """Figures of the n best sets of label words, best on dev first, beside the task's own, as JSON.

    Each prompt in place gives its share of them; raises where there are none but the task's own.
    Test is opened for the first found and for the task's own words with the same prompt, and orders
    nothing.
    """
    share = -(-n // len(in_place))
    found: list[Judged] = []
    own: list[Judged] = []
    for prompts in in_place:
        sets = find_words(session, prompts, vocabulary, ways=ways, n=share + 1)
        sets = [words for words in sets if words.words != session.task.words][:share]
        *judged, mine = _judged(session, prompts, [*sets, own_words(session, prompts)])
        found += [replace(words, rival=mine.predicted) for words in judged]
        own.append(mine)
    if not found:
        raise HardpromptError(
            f"no label words were found but the task's own, {', '.join(session.task.words)}; allow "
            "more words with --vocab, or try another --prompt"
        )
    n_judged, found = len(found), sorted(found, key=_order)[:n]
    own.sort(key=_order)
    tested = _tested(session, found[0], own)
    return {
        "schema": SCHEMA,
        "task": about_task(session),
        "model": about_model(session),
        "versions": versions(),
        "template": session.template.source,
        "metric": session.metric.name,
        "objective": session.loss.name,
        "ways": list(ways),
        "candidates": len(vocabulary.tokens),
        "judged": n_judged,
        "seed": session.config.seed,
        "found": [_entry(session, words, tested) for words in found],
        "own": [_entry(session, words, tested) for words in own],
        "notes": [*session.task.notes, *vocabulary.notes],
    }


def with_words(task: Task, session: Session, entry: dict[str, Any]) -> Task:
    """A task with the words of an entry, and with the template that they were found in as its
    default."""
    labels = tuple(Label(label.name, entry["words"][label.name]) for label in task.labels)
    templates = {**task.templates, session.template_name: session.template.source}
    return replace(task, labels=labels, templates=templates, default_template=session.template_name)


def _order(judged: Judged) -> tuple[float, float]:
    return -judged.dev, judged.words.loss


def _judged(session: Session, prompts: Prompts, sets: Sequence[Words]) -> list[Judged]:
    gold, n_classes = session.gold("dev"), len(session.task.labels)
    found = class_log_probs(session, prompts, "dev", [words.labels for words in sets])
    judged = []
    for words, log_probs in zip(sets, found, strict=True):
        predicted = log_probs.argmax(axis=1)
        dev = float(session.class_metric.score(gold, predicted, n_classes))
        judged.append(Judged(words, prompts, dev, predicted))
    return judged


Key = tuple[tuple[str, ...], Prompts]


def _tested(session: Session, best: Judged, own: Sequence[Judged]) -> dict[Key, IntArray]:
    """Test predictions of the best found words and of the task's own, with the same prompt."""
    mine = next(judged for judged in own if judged.prompts == best.prompts)
    opened = [best, mine]
    scores = class_log_probs(
        session, best.prompts, "test", [judged.words.labels for judged in opened]
    )
    return {
        _key(judged): log_probs.argmax(axis=1)
        for judged, log_probs in zip(opened, scores, strict=True)
    }


def _key(judged: Judged) -> Key:
    return judged.words.words, judged.prompts


def _entry(session: Session, judged: Judged, tested: dict[Key, IntArray]) -> dict[str, Any]:
    metric, n_classes = session.class_metric, len(session.task.labels)
    names = [label.name for label in session.task.labels]
    entry: dict[str, Any] = {
        "words": dict(zip(names, judged.words.words, strict=True)),
        "tokens": dict(zip(names, map(list, judged.words.labels), strict=True)),
        "ways": dict(zip(names, map(list, judged.words.ways), strict=True)),
        "prompt": session.template.show(judged.prompts) if any(judged.prompts) else "",
        "search": rounded(judged.words.loss),
        "dev": rounded(judged.dev),
        "dev_interval": _interval(session, "dev", judged.predicted),
        **_gain(session, "dev", judged.predicted, judged.rival),
    }
    predicted = tested.get(_key(judged))
    if predicted is None:
        empty = ("test", "test_interval", "test_gain", "test_gain_interval")
        return entry | dict.fromkeys(empty)
    rival = None if judged.rival is None else tested[session.task.words, judged.prompts]
    test = float(metric.score(session.gold("test"), predicted, n_classes))
    return entry | {
        "test": rounded(test),
        "test_interval": _interval(session, "test", predicted),
        **_gain(session, "test", predicted, rival),
    }


def _gain(
    session: Session, split: str, predicted: IntArray, rival: IntArray | None
) -> dict[str, Any]:
    """The paired difference to the task's own words with the same prompt."""
    if rival is None:
        return {f"{split}_gain": None, f"{split}_gain_interval": None}
    gold, n_classes = session.gold(split), len(session.task.labels)
    gain, low, high = paired_gain(session.class_metric, gold, predicted, rival, n_classes)
    return {
        f"{split}_gain": rounded(gain),
        f"{split}_gain_interval": [rounded(low), rounded(high)],
    }


def _interval(session: Session, split: str, predicted: IntArray) -> list[float | None]:
    gold, n_classes = session.gold(split), len(session.task.labels)
    return [rounded(end) for end in interval(session.class_metric, gold, predicted, n_classes)]
