"""A search made ready that finds label words and prompt together: `--labels auto`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hardprompt.config import AUTO, RunConfig
from hardprompt.errors import UsageError
from hardprompt.session import Session
from hardprompt.verbalizers.find import find_words, own_words
from hardprompt.verbalizers.joint import after_words, words_price
from hardprompt.vocabulary import Vocabulary

SETS = 16  # of label words that every prompt is measured with, the task's own among them


def prepared(config: RunConfig) -> Session:
    """`Session.prepare`; with `--labels auto` the sets of label words are found first.

    They are part of the config from then on, so that a run that goes on has the same.
    """
    if config.labels != AUTO or config.label_sets:
        return Session.prepare(config)
    plain = Session.prepare(replace(config, labels=None))
    if plain.task.writes:
        raise UsageError(
            f"--labels auto finds words for labels; task '{plain.task.name}' wants texts"
        )
    after_words(plain.space, words_price(len(plain.manual)))  # raises where nothing would be left
    ban = None if config.ban is None else Path(config.ban)
    vocabulary = Vocabulary.build(plain.model.codec, len(plain.model.embeddings), ban=ban)
    in_place = places(plain)
    share = -(-(SETS - 1) // len(in_place))
    sets = [plain.task.words]
    for prompts in in_place:
        sets += [found.words for found in find_words(plain, prompts, vocabulary, n=share)]
    kept = tuple(dict.fromkeys(sets))[:SETS]
    return Session.prepare(replace(config, label_sets=kept), model=plain.model)


def places(session: Session) -> list[tuple[str, ...]]:
    """What stands in the prompt's place while words are searched: nothing, and the manual prompt
    with the lowest loss with the task's own words."""
    manual = [(prompt,) for prompt in session.manual]
    best = sorted(manual, key=lambda prompts: own_words(session, prompts).loss)[:1]
    return [session.no_prompt, *best]
