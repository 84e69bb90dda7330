"""Where a prompt's length comes from when `--len` is left out."""

import json

import pytest

from hardprompt import presets, runs
from hardprompt.config import RunConfig
from hardprompt.errors import UsageError
from hardprompt.lengths import USUAL, with_length
from hardprompt.presets import Preset
from hardprompt.template import Template
from tests.conftest import call

FIXED = "{prompt:1} so {text} {prompt:2} {label}"
TASK = f"""
[task]
name = "moods"
labels = ["bad", "good"]
default_template = "around"
[label_words]
bad = "bad"
good = "good"
[templates]
around = "{FIXED}"
suffix = "{{text}} {{prompt}} {{label}}"
[data]
train = "train.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"
"""


@pytest.fixture
def fixing(task_folder):
    """A task whose default template fixes the widths of its two slots."""
    (task_folder / "task.toml").write_text(TASK, encoding="utf8")
    return task_folder


def test_a_length_is_given_fixed_published_or_usual():
    fixed, suffix = Template.parse(FIXED), Template.parse("{text} {prompt} {label}")
    assert with_length(RunConfig(length=2), suffix).length == 2
    assert with_length(RunConfig(), fixed).length is None
    assert with_length(RunConfig(preset="pez"), fixed).length is None
    assert with_length(RunConfig(preset="pez"), suffix).length == 10
    assert with_length(RunConfig(), suffix).length == USUAL
    assert with_length(RunConfig(), suffix, usual=1).length == 1


def test_a_shortest_length_beyond_the_slots_is_refused():
    fixed = Template.parse(FIXED)
    assert with_length(RunConfig(min_length=3), fixed).min_length == 3
    with pytest.raises(UsageError, match=r"--min-len is 4, but the slots of .* hold 3 tokens"):
        with_length(RunConfig(min_length=4), fixed)
    with pytest.raises(UsageError, match="between 1 and --len, got 0"):
        RunConfig(min_length=0)


@pytest.mark.parametrize("preset", [[], ["--preset", "genetic"]], ids=["plain", "preset"])
def test_a_task_whose_template_fixes_its_widths_is_searched(
    fixing, tiny_folder, tmp_path, monkeypatch, preset
):
    published = Preset("evolution", {"population": 4, "children": 2}, "", {"length": 3})
    monkeypatch.setattr(presets, "PRESETS", {"genetic": published})
    args = ["--task", fixing, "--model", tiny_folder, "--budget", 9, "--vocab-top", 100]
    call("search", *args, *preset, "-q", "--output-dir", tmp_path)
    folder = runs.find(None, tmp_path)
    assert [len(slot["ids"]) for slot in runs.read_results(folder)["best"][0]["slots"]] == [1, 2]
    assert runs.read_config(folder).length is None


def test_it_is_compared_and_its_label_words_are_found(fixing, tiny_folder, tmp_path):
    args = ["--task", fixing, "--model", tiny_folder, "--json"]
    table = call("compare", *args, "--budget", 9, "--methods", "none", "--output-dir", tmp_path)
    assert json.loads(table.stdout)["slots"] == [1, 2]
    found = json.loads(call("labels", *args, "--top", 1).stdout)
    assert found["template"] == FIXED
