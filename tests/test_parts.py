"""Templates, vocabulary, space and selection."""

from dataclasses import replace

import numpy as np
import pytest

from hardprompt.config import RunConfig
from hardprompt.errors import UsageError
from hardprompt.models.codec import Codec
from hardprompt.selection import diverse, readable_pick, shortlist
from hardprompt.session import Session
from hardprompt.study import Found
from hardprompt.template import Template
from hardprompt.testing import planted_space
from hardprompt.types import EMPTY, Batch
from hardprompt.vocabulary import Vocabulary, is_word, stem


@pytest.mark.parametrize(
    ("source", "prompts", "rendered"),
    [
        ("{prompt} {text} {label}", ["so"], "so T"),
        ("{prompt} {text} {label}", [""], "T"),
        ("{text} {prompt} {label}", ["it was"], "T it was"),
        ("{text} {prompt} {label}", [""], "T"),
        ("{text} {prompt}", ["it was"], "T it was"),
        ("A {prompt} {text}: {label}", [""], "A T:"),
        ("{prompt:2} mid {text} {prompt:1} {label}", ["a b", ""], "a b mid T"),
        ("{text}\nAnswer: {prompt}{label}", ["x"], "T\nAnswer: x"),
    ],
)
def test_rendering_leaves_no_gaps(source, prompts, rendered):
    assert Template.parse(source).render(prompts, "T") == rendered


@pytest.mark.parametrize(
    ("source", "prompts", "rendered"),
    [
        ("{prompt} {text} {label}", ["so"], "so T L"),
        ("{prompt} {text} It was {label} .", [""], "T It was L ."),
        ("{text} {prompt} {label} .", [""], "T L ."),
        ("{label} {prompt} {text}", ["so"], "L so T"),
        ("{label} {prompt} {text}", [""], "L T"),
        ("{prompt} {label} {text}", [""], "L T"),
        ("{prompt:1} {label} {text} {prompt:1}", ["", ""], "L T"),
    ],
)
def test_the_label_stands_anywhere_in_the_whole_row(source, prompts, rendered):
    template = Template.parse(source)
    assert template.render(prompts, "T", template.before_label + "L") == rendered


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{prompt} {label}", "needs {text} exactly once"),
        ("{text} {label}", "needs {prompt} at least once"),
        ("{text} {text} {prompt}", "exactly once"),
        ("{prompt} {txt}", "no placeholder {txt}"),
        ("{prompt} {text} {Label}", "no placeholder {Label}"),
        ("{prompt} {text} {prompt}", "several slots need their widths"),
        ("{prompt:0} {text}", "1 token or more"),
        ("{prompt} {text} {label} {label}", "takes {label} once"),
        ("{prompt} {text} {label} {text}", "exactly once"),
    ],
)
def test_bad_templates_say_why(source, why):
    with pytest.raises(UsageError, match=why.replace("{", r"\{")):
        Template.parse(source)


def test_slots_follow_the_template_or_the_length():
    assert Template.parse("{prompt} {text}").slots(5) == (5,)
    assert Template.parse("{prompt:2} x {prompt:3} {text}").slots(None) == (2, 3)
    with pytest.raises(UsageError, match="hold 5 tokens"):
        Template.parse("{prompt:2} x {prompt:3} {text}").slots(4)
    with pytest.raises(UsageError, match="needs --len"):
        Template.parse("{prompt} {text}").slots(None)


@pytest.fixture(scope="module")
def codec(tokenizer):
    return Codec(tokenizer)


def test_words_are_whole_words_that_survive(codec, tokenizer):
    vocabulary = Vocabulary.build(codec, len(tokenizer), label_words=("terrible", "great"))
    pieces = [codec.piece([int(token)]) for token in vocabulary.tokens]
    assert len(pieces) > 1000
    assert all(is_word(piece) for piece in pieces)
    assert not {" great", " terrible", " greatest", " Great"} & set(pieces)
    rng = np.random.default_rng(0)
    for _ in range(200):
        ids = rng.choice(vocabulary.tokens, size=5).tolist()
        assert codec.encode(codec.piece(ids))[len(codec.prefix) :] == ids


def test_beginnings_of_words_are_no_words():
    assert is_word(" movie")
    for piece in (" medioc", " unbelie", " oper", "movie", " x1", " "):
        assert not is_word(piece)


def test_kinds_nest_and_files_are_read(codec, tokenizer, tmp_path):
    words, ascii_, all_ = (
        set(Vocabulary.build(codec, len(tokenizer), kind).tokens.tolist())
        for kind in ("words", "ascii", "all")
    )
    assert words < ascii_ < all_
    assert not all_ & codec.special_ids
    file = tmp_path / "words.txt"
    file.write_text("movie\nfilm\nextraterrestrially\n", encoding="utf8")
    own = Vocabulary.build(codec, len(tokenizer), str(file))
    assert len(own.tokens) == 2
    assert "1 words" in own.notes[0]
    ban = tmp_path / "ban.txt"
    ban.write_text("film\n", encoding="utf8")
    assert len(Vocabulary.build(codec, len(tokenizer), str(file), ban=ban).tokens) == 1
    top = Vocabulary.build(codec, len(tokenizer), top=3)
    assert {codec.piece([int(t)]).strip().lower() for t in top.tokens} <= {"the", "of", "and"}


def test_a_mark_at_the_beginning_of_a_word_file_is_no_part_of_its_first_word(
    codec, tokenizer, tmp_path
):
    file, ban = tmp_path / "words.txt", tmp_path / "ban.txt"
    file.write_text("movie\nfilm\n", encoding="utf-8-sig")
    ban.write_text("film\n", encoding="utf-8-sig")
    found = Vocabulary.build(codec, len(tokenizer), str(file), ban=ban)
    assert [codec.piece([int(token)]) for token in found.tokens] == [" movie"]
    assert not found.notes


@pytest.mark.parametrize("option", ["vocabulary", "ban"])
def test_as_many_other_words_in_a_file_are_another_search(
    tiny_folder, task_folder, tmp_path, option
):
    file = tmp_path / "words.txt"
    given = {"task": str(task_folder), "model": str(tiny_folder), "length": 2, option: str(file)}
    config, headers = RunConfig(**given), []
    for words in ("movie film", "movie day", "day movie"):
        file.write_text("\n".join(words.split()), encoding="utf8")
        headers.append(Session.prepare(config).header())
    assert headers[0]["vocabulary"][:2] == headers[1]["vocabulary"][:2]
    assert headers[0] != headers[1] == headers[2]


def test_an_empty_vocabulary_is_refused(codec, tokenizer, tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("great\n", encoding="utf8")
    with pytest.raises(UsageError, match="leaves no token"):
        Vocabulary.build(codec, len(tokenizer), str(file), label_words=("great",))
    with pytest.raises(UsageError, match="no word file"):
        Vocabulary.build(codec, len(tokenizer), str(tmp_path / "none.txt"))


def test_stems_join_inflections():
    assert stem("greatest") == stem("great") == stem("greatly")
    assert stem("terribly") == stem("terrible")
    assert stem("movie") != stem("move")


def test_canonical_rows_push_empty_to_the_right_of_each_slot():
    space = planted_space(slots=(3, 2), length=5, min_length=1)
    row = np.array([[EMPTY, 4, 6, EMPTY, 8]])
    assert space.canonical(row).tolist() == [[4, 6, EMPTY, 8, EMPTY]]
    assert space.canonical(np.array([[4, 6]])).tolist() == [[4, 6, EMPTY, EMPTY, EMPTY]]


def test_random_rows_have_every_allowed_length():
    space = planted_space(length=4, min_length=2)
    lengths = (space.random(np.random.default_rng(0), 200) != EMPTY).sum(axis=1)
    assert set(lengths.tolist()) == {2, 3, 4}


def test_nearest_and_slope_agree_with_the_definition():
    space = planted_space()
    points = space.embeddings[space.tokens[[3, 5]]]
    assert space.nearest(points)[:, 0].tolist() == space.tokens[[3, 5]].tolist()
    gradient = np.ones((2, 8), dtype=np.float32)
    expected = gradient @ space.embeddings[space.tokens].T
    np.testing.assert_allclose(space.slope(gradient), expected, rtol=1e-6)


def test_a_batch_holds_ids_or_points():
    with pytest.raises(ValueError, match="not both"):
        Batch(ids=np.zeros((1, 1), np.int64), embeds=np.zeros((1, 1, 2)))


def test_seeds_come_first_and_are_completed_from_the_left():
    space = replace(planted_space(), seeds=np.array([[2, 4, EMPTY, EMPTY]]))
    first = space.starts(np.random.default_rng(0), 3)
    assert first.shape == (3, 4)
    assert first[0, 2:].tolist() == [2, 4]
    assert (first != EMPTY).all()


def test_lists_hold_three_of_a_family():
    rows = [[1, 1, i] for i in range(6)] + [[7, 8, 9]]
    ranking = [Found(np.array(row), float(i), i) for i, row in enumerate(rows)]
    assert [f.ids.tolist() for f in diverse(ranking, 10)] == [*rows[:3], rows[-1]]


def test_prompts_of_one_token_are_no_family():
    rows = [[i, EMPTY] for i in range(6)] + [[i, 1] for i in range(6)]
    ranking = [Found(np.array(row), float(i), i) for i, row in enumerate(rows)]
    assert [f.ids.tolist() for f in diverse(ranking, 10)][:6] == rows[:6]


def test_the_shortlist_ends_with_fluent_prompts_that_keep_the_bar():
    def loss_of(found):
        return found.loss

    rows = [Found(np.array([i, i, i]), loss=i / 10, number=i) for i in range(8)]
    chosen = shortlist(rows, loss_of, lambda found: float(found.number), bar=0.5, n=5, n_fluent=2)
    assert [found.number for found in chosen] == [0, 1, 2, 5, 4]  # 6 and 7 are above the bar
    none_near = shortlist(rows, loss_of, lambda found: 0.0, bar=-1.0, n=5, n_fluent=2)
    assert [found.number for found in none_near] == [0, 1, 2, 3, 4]


def test_the_pick_is_fluent_and_near_the_best():
    assert readable_pick([0.9, 0.89, 0.7], 0.02, [-9.0, -4.0, -1.0]) == 1
    assert readable_pick([0.9, 0.89], 0.0, [None, -4.0]) == 0


def test_the_size_of_a_space_of_long_prompts_is_still_a_number():
    space = planted_space(vocabulary=40, length=300)
    assert space.size == 40**300
    assert space.size_text == "4.1e+480"
