"""The rows that were written for text generation keep what their cards promise."""

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations

import pytest

DATA = files("hardprompt.tasks").joinpath("data")
KINDS = 20
SIZES = {"search": 8, "dev": 3, "test": 4}  # rows of a kind
FACT = re.compile(r"([a-z][a-z ]*)\[([^][]+)\]")
ANSWERS = {"yes", "no", "none"}  # said by the fact's name: `sauna[yes]`, `singer[none]`
SMALL = {"a", "an", "the", "of", "from", "in", "on", "at"}  # may be missing or others
NGRAM = 8


def rows(name, split):
    lines = DATA.joinpath(f"{name}-{split}.jsonl").read_text("utf8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module", params=["headline", "facts-to-sentence"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def splits(name):
    return {split: rows(name, split) for split in SIZES}


def everything(name):
    return [row for split in SIZES for row in rows(name, split)]


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def known(source):
    return {word.removesuffix("'s") for word in words(source)}


def named(text):
    """Words with a capital, but the first, which has one in any case."""
    found = [word for word in re.findall(r"[\w']+", text)[1:] if word[0].isupper()]
    return {word.lower().removesuffix("'s") for word in found}


def sequences(text):
    found = words(text)
    return {tuple(found[i : i + NGRAM]) for i in range(len(found) - NGRAM + 1)}


def test_every_split_holds_every_kind_equally_often(splits):
    for split, each in SIZES.items():
        counts = Counter(row["kind"] for row in splits[split])
        assert len(counts) == KINDS
        assert set(counts.values()) == {each}


def test_the_first_rows_of_a_split_hold_every_kind_once(splits):
    for part in splits.values():
        assert len({row["kind"] for row in part[:KINDS]}) == KINDS


def test_rows_have_a_source_references_and_a_kind_and_nothing_else(splits):
    for row in (row for part in splits.values() for row in part):
        assert set(row) == {"source", "references", "kind"}
        assert all(text == " ".join(text.split()) for text in [row["source"], *row["references"]])


def test_dev_and_test_rows_have_two_different_references(splits):
    for row in splits["dev"] + splits["test"]:
        assert len(set(row["references"])) == 2
    assert all(1 <= len(set(row["references"])) <= 2 for row in splits["search"])


def test_no_source_and_no_reference_comes_twice(name):
    sources = Counter(row["source"] for row in everything(name))
    references = Counter(text for row in everything(name) for text in row["references"])
    assert max(sources.values()) == max(references.values()) == 1


def test_splits_share_no_sequence_of_eight_words(splits):
    found = {
        split: set().union(
            *(sequences(text) for row in part for text in [row["source"], *row["references"]])
        )
        for split, part in splits.items()
    }
    for one, other in combinations(found, 2):
        assert not found[one] & found[other]


def test_texts_are_plain_ascii(name):
    for row in everything(name):
        assert all(text.isascii() and text.isprintable() for text in row["references"])
        assert row["source"].isascii()
        assert row["source"].isprintable()


def test_references_bring_no_number_that_the_source_lacks(name):
    for row in everything(name):
        given = set(re.findall(r"\d+", row["source"]))
        for text in row["references"]:
            assert set(re.findall(r"\d+", text)) <= given, text


def test_articles_have_two_or_three_sentences_of_25_to_60_words_in_all():
    for row in everything("headline"):
        assert 25 <= len(row["source"].split()) <= 60
        assert row["source"].endswith(".")
        assert len(re.findall(r"[.?!](?= [A-Z]|$)", row["source"])) in {2, 3}


def test_headlines_have_5_to_10_words_in_sentence_case_without_a_full_stop():
    for row in everything("headline"):
        for text in row["references"]:
            assert 5 <= len(text.split()) <= 10, text
            assert text[0].isupper() or text[0].isdigit()
            assert text[-1].isalnum(), text
            assert not text.istitle(), text


def test_names_in_a_headline_stand_in_its_article():
    for row in everything("headline"):
        for text in row["references"]:
            assert named(text) <= known(row["source"]), text


def test_every_source_of_facts_is_a_line_of_3_to_6_named_values():
    for row in everything("facts-to-sentence"):
        facts = FACT.findall(row["source"])
        assert ", ".join(f"{key}[{value}]" for key, value in facts) == row["source"]
        assert 3 <= len(facts) <= 6
        assert len(dict(facts)) == len(facts)


def test_sentences_begin_with_a_capital_and_end_with_a_full_stop():
    for row in everything("facts-to-sentence"):
        for text in row["references"]:
            assert text[0].isupper()
            assert text.endswith("."), text
            assert 6 <= len(text.split()) <= 40, text


def said(name, value, reference):
    """Whether a sentence says a fact: each word of its value, be it singular or plural."""
    spoken = words(reference)
    wanted = words(name) if value in ANSWERS else [w for w in words(value) if w not in SMALL]
    return all(any(same(word, other) for other in spoken) for word in wanted)


def same(word, other):
    """`carpets` and `carpet`, `Bohemia` and `Bohemian`, `delivers` and `deliver`."""
    short, long = sorted((word, other), key=len)
    return short == long or (len(short) >= 3 and long.startswith(short))


def test_every_fact_is_said_by_a_reference_and_nearly_always_by_both():
    heard = []
    for row in everything("facts-to-sentence"):
        for fact in FACT.findall(row["source"]):
            told = [said(*fact, text) for text in row["references"]]
            assert any(told), (fact, row["references"])
            heard += told
    assert sum(heard) / len(heard) > 0.99


def test_names_in_a_sentence_stand_in_its_facts():
    for row in everything("facts-to-sentence"):
        for text in row["references"]:
            assert named(text) <= known(row["source"]), text


def test_the_cards_give_version_sizes_and_licence(name, splits):
    card = DATA.joinpath(f"{name}.md").read_text("utf8")
    assert card.startswith(f"# {name} 1.0\n")
    assert "Licence: MIT" in card
    for split, part in splits.items():
        references = sum(len(row["references"]) for row in part)
        assert f"| {split} | {len(part)} | {references} |" in card
