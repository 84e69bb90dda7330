"""What a search begins with: manual prompts as ever, a user's own words as far as they may be."""

import numpy as np
import pytest

from hardprompt.config import RunConfig
from hardprompt.report.header import header
from hardprompt.session import Session
from hardprompt.types import EMPTY
from tests.conftest import call


@pytest.fixture
def begun(tiny_folder, task_folder):
    """`begun(*starts, **options)` -> the texts of the seeds, and the session."""

    def prepare(*starts, **options):
        options = {"length": 6, **options}
        session = Session.prepare(
            RunConfig(task=str(task_folder), model=str(tiny_folder), start=starts, **options)
        )
        seeds = [] if session.space.seeds is None else session.space.seeds
        codec = session.model.codec
        return [codec.piece([i for i in row if i != EMPTY]) for row in seeds], session

    return prepare


def test_a_users_words_stay_whole_and_what_is_changed_is_said(begun):
    text = "classify THIS: is it fun?"  # its first word has two tokens, one of them a word
    seeds, session = begun(text)
    assert seeds == [" this is it fun"]
    assert session.space.own_seeds == 1
    (note,) = session.start_notes
    assert f"'{text}'" in note
    assert "'this is it fun'" in note
    assert note in header(session, "", None)


def test_a_text_that_may_be_searched_is_kept_as_it_is_written(begun):
    seeds, session = begun("Classify THIS: is it fun?", vocabulary="all", length=12)
    assert seeds == [" Classify THIS: is it fun?"]
    assert session.start_notes == ()


def test_too_long_a_text_keeps_its_last_words(begun):
    seeds, session = begun("it was warm and it was not so warm", length=4)
    assert seeds == [" was not so warm"]
    assert len(session.start_notes) == 1


def test_a_text_of_which_nothing_is_left_is_said(begun):
    seeds, session = begun("1234 5678")
    assert seeds == []
    assert "'1234 5678' is left out" in session.start_notes[0]
    template = "{prompt:1} {text} {prompt:1} {label}"
    seeds, session = begun("it was warm", template=template, length=None)
    assert seeds == []
    assert "the template has 2" in session.start_notes[0]


def test_manual_prompts_come_behind_a_users_own_and_are_read_as_ever(begun):
    _, session = begun("manual")
    assert (session.space.own_seeds, session.start_notes) == (0, ())
    before = session.space.seeds
    _, session = begun("manual", "it was warm", "random")
    assert session.space.own_seeds == 1
    np.testing.assert_array_equal(session.space.seeds[1:], before)


def test_manual_prompts_begin_a_search_in_a_template_of_ones_own_too(begun):
    of_the_task, session = begun("manual", template="prefix", vocabulary="all", length=8)
    own, _ = begun("manual", template="{prompt} {text} So: {label}", vocabulary="all", length=8)
    assert len(session.manual) > 1
    assert own == of_the_task


def test_the_notes_are_in_the_results(tiny_folder, task_folder, tmp_path):
    import json

    args = ["--task", task_folder, "--model", tiny_folder, "--vocab-top", 200, "--len", 2]
    args += ["--start", "12 34", "--budget", 4, "--output-dir", tmp_path, "--json"]
    results = json.loads(call("search", *args).stdout)
    assert any("'12 34' is left out" in note for note in results["notes"])
