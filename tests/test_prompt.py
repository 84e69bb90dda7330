"""A found prompt as a file: whole, checked, and worth what the search said."""

import copy
import json
import math

import numpy as np
import pytest

from hardprompt import HardPrompt, runs
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.codec import Codec
from hardprompt.prompt import find_prompt
from hardprompt.scoring.compile import Renderer
from hardprompt.session import Session
from hardprompt.tasks import load_task
from hardprompt.template import Template
from tests.conftest import call


@pytest.fixture(scope="module")
def prompt(found_run):
    return HardPrompt.from_run(found_run)


@pytest.fixture(scope="module")
def model(prompt):
    return prompt.load_model()


def test_a_finished_search_writes_its_best_prompt(found_run, prompt, tmp_path):
    assert HardPrompt.load(found_run / "prompt.json") == prompt
    prompt.save(tmp_path / "copy.json")
    assert HardPrompt.load(tmp_path / "copy.json") == prompt
    best = runs.read_results(found_run)["best"][0]
    assert prompt.text == best["text"]
    assert list(prompt.slots[0].ids) == best["ids"]
    assert prompt.scores["test_interval"] == best["test_interval"]


def test_every_reported_prompt_is_certified(found_run, model):
    results = runs.read_results(found_run)
    entries = [*results["best"], results["baselines"]["empty"], *results["baselines"]["manual"]]
    assert all(entry["certified"] for entry in entries)
    renderer = Renderer(model.codec, Template.parse(results["template"]))
    for entry in entries:
        (slot,) = entry["slots"]
        assert renderer.slot_ids((slot["text"],), ["any text"]) == [(tuple(slot["ids"]),)]


def test_on_its_own_model_nothing_differs_and_the_figures_return(found_run, prompt, model):
    assert prompt.check(model) == []
    task = load_task(str(found_run.parents[1] / "moods"))
    names = [label.name for label in task.labels]
    predicted = prompt.predict([row.text for row in task.test], model)
    share = np.mean([p == names[row.label] for p, row in zip(predicted, task.test, strict=True)])
    # results.json holds six digits.
    assert share == pytest.approx(prompt.scores["test"], abs=1e-6)
    scores = prompt.log_probs([row.text for row in task.search], model)
    loss = -np.mean([row[example.label] for row, example in zip(scores, task.search, strict=True)])
    assert loss == pytest.approx(prompt.scores["search"], abs=2e-6)


def test_without_a_model_its_own_is_loaded(prompt, model):
    texts = ["cold wet night"]
    np.testing.assert_array_equal(prompt.log_probs(texts), prompt.log_probs(texts, model))


def test_another_line_of_the_table(found_run, prompt):
    second = HardPrompt.from_run(found_run, 1)
    assert second.text == runs.read_results(found_run)["best"][1]["text"] != prompt.text
    with pytest.raises(UsageError, match="the one asked for is not among them"):
        HardPrompt.from_run(found_run, 99)


@pytest.mark.parametrize("template", ["suffix", "{prompt:1} so {text} and {prompt:2} {label}"])
def test_prompts_between_and_after_texts(found_run, tiny_folder, tmp_path, model, template):
    moods = found_run.parents[1] / "moods"
    args = ["--model", tiny_folder, "--vocab-top", 200, "--budget", 8, "--strategy", "random"]
    length = [] if "{" in template else ["--len", 2]
    call("search", "--task", moods, *args, *length, "--template", template,
         "--output-dir", tmp_path, "-q")  # fmt: skip
    found = find_prompt("latest", tmp_path)
    assert len(found.slots) == Template.parse(found.template).n_slots
    assert found.check(model) == []
    config = RunConfig(task=str(moods), model=str(tiny_folder), template=found.template, length=None
                       if "{prompt:" in found.template else 2)  # fmt: skip
    scorer = Session.prepare(config).scorers["test"]
    # One text in two batches: sums in another order.
    np.testing.assert_allclose(
        found.log_probs(scorer.texts, model), scorer.by_text(found.texts), atol=1e-5
    )


def changed(prompt, **parts):
    content = copy.deepcopy(prompt.to_json())
    for path, value in parts.items():
        *places, last = path.split("__")
        inner = content
        for place in places:
            inner = inner[int(place) if place.isdigit() else place]
        inner[last] = value
    return content


def test_what_differs_is_said_in_sentences(prompt, model):
    content = changed(
        prompt, model__weights="0" * 64, model__tokenizer="0" * 64, versions__torch="1.0"
    )
    found = HardPrompt.from_json(content).check(model)
    for part in ("the tokenizer is not the one", "its scores do not hold here", "torch 1.0"):
        assert sum(part in sentence for sentence in found) == 1
    (sentence,) = HardPrompt.from_json(changed(prompt, model__dtype="bfloat16")).check(model)
    assert "in bfloat16, the model is now in float32" in sentence


def test_a_text_that_is_read_as_other_tokens_is_an_error(prompt, model):
    ids = [token + 1 for token in prompt.slots[0].ids]
    other = HardPrompt.from_json(changed(prompt, slots__0__ids=ids))
    with pytest.raises(HardpromptError, match="reads the prompt") as caught:
        other.check(model)
    assert str(ids) in str(caught.value)
    assert "\n" not in str(caught.value)


BAD = [
    ({"schema": "hardprompt.prompt/9"}, "schema 'hardprompt.prompt/9'"),
    ({"template": 3}, "'template' must be a text, got a whole number"),
    ({"template": "{text}"}, "needs {prompt} at least once"),
    ({"template": "{prompt:1} {text} {prompt:1}"}, "has 2 slots, but it has 1"),
    ({"text": "other words"}, "contradicts itself"),
    ({"slots": {}}, "'slots' must be a list, got an object"),
    ({"slots__0__ids": ["7"]}, "'slots[0].ids[0]' must be a whole number, got a text"),
    ({"slots__0__ids": [True]}, "must be a whole number, got true or false"),
    ({"labels": [{"name": "one"}]}, "'labels[0].word' is missing"),
    ({"labels": [{"name": "one", "word": "one"}]}, "two or more different labels"),
    ({"model__weights": None}, "'model.weights' must be a text, got null"),
    ({"scores": None}, "'scores' must be an object, got null"),
]


@pytest.mark.parametrize(("parts", "message"), BAD, ids=[message for _, message in BAD])
def test_files_that_are_no_prompt_are_refused_in_one_line(prompt, tmp_path, parts, message):
    path = tmp_path / "prompt.json"
    path.write_text(json.dumps(changed(prompt, **parts)), encoding="utf8")
    with pytest.raises(HardpromptError) as caught:
        HardPrompt.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"a": NaN}', '{"a": 1e999}',
                                     "[" * 100_000])  # fmt: skip
def test_files_that_are_no_json_object_are_refused(tmp_path, content):
    path = tmp_path / "prompt.json"
    path.write_text(content, encoding="utf8")
    with pytest.raises(HardpromptError, match=r"is no (JSON|prompt)"):
        HardPrompt.load(path)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match="no prompt file"):
        find_prompt(str(tmp_path / "none.json"), tmp_path)
    with pytest.raises(UsageError, match="no run 'none'"):
        find_prompt("none", tmp_path)
    with pytest.raises(HardpromptError, match="cannot read"):
        HardPrompt.load(tmp_path / "none.json")


def test_further_keys_are_left_alone(prompt):
    assert HardPrompt.from_json(changed(prompt, later="more")) == prompt


def test_an_empty_text_is_no_guess(prompt, model):
    with pytest.raises(UsageError, match="text 2 is empty"):
        prompt.predict(["warm", " "], model)
    for texts, message in (
        ("a text", "texts must be a list, got a single one: ['a text'] is one"),
        (["a", None], "text 2 must be a str, got NoneType"),
    ):
        with pytest.raises(UsageError) as caught:
            prompt.predict(texts, model)
        assert message in str(caught.value)
    assert prompt.predict([], model) == []


def test_probabilities_sum_to_one_whatever_surrounds_the_text(prompt, model):
    plain, spaced = prompt.log_probs(["what fun", " what fun\n"], model)
    assert math.isclose(np.exp(plain).sum(), 1, abs_tol=1e-9)
    # One row at two places of a batch: kernels may sum it in another order.
    np.testing.assert_allclose(plain, spaced, atol=1e-6)


@pytest.mark.parametrize(
    ("template", "prompts", "pieces"),
    [
        ("{prompt} {text} {label}", ("movie night",), [" movie night"]),
        ("{prompt} {text} {label}", ("",), [""]),
        ("{text} {prompt} {label}", ("It is",), [" It is"]),
        ("{prompt:1} so {text} and {prompt:1} {label}", ("good", "bad"), [" good", " bad"]),
        ("{prompt:1} so {text} and {prompt:1} {label}", ("", "bad"), ["", " bad"]),
    ],
)
def test_the_tokens_of_each_slot_are_found_in_the_row(tokenizer, template, prompts, pieces):
    codec = Codec(tokenizer)
    (found,) = Renderer(codec, Template.parse(template)).slot_ids(prompts, ["a warm day"])
    assert found is not None
    assert [codec.piece(ids) if ids else "" for ids in found] == pieces


def test_a_prompt_that_melts_into_the_text_has_no_tokens_of_its_own(tokenizer):
    renderer = Renderer(Codec(tokenizer), Template.parse("{prompt}{text} {label}"))
    assert renderer.slot_ids(("wonder",), ["ful day"]) == [None]
