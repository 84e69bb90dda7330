"""Run folders that are damaged, of another edition, or called what no file can be."""

import json

import pytest

from hardprompt import runs
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from tests.conftest import call

CONFIG = {"schema": runs.RUN_SCHEMA, "config": {"task": "sentiment"}}


def folder_of(root, run=None, results=None, name="a-run", file=runs.RUN):
    """A run's folder with these files, each as text or as JSON."""
    folder = root / name
    folder.mkdir()
    for place, content in ((file, run or CONFIG), (runs.RESULTS, results)):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / place).write_text(text, encoding="utf8")
    return folder


DAMAGED = ["[]", "{}", "null", "[" * 200_000, {"schema": "hardprompt.run/9", "config": {}},
           {"schema": runs.RUN_SCHEMA, "config": {"length": "x"}}]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("mark", runs.COMMANDS)
def test_what_a_run_goes_on_by_may_be_damaged(tmp_path, content, mark):
    folder = folder_of(tmp_path, content, file=mark)
    with pytest.raises(HardpromptError) as error:
        call(runs.COMMANDS[mark], "--resume", folder)
    assert mark in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "null", "[" * 200_000, '{"best": []}', {"schema": "hardprompt.results/9"}],
    ids=range(6),
)
def test_results_may_be_damaged_or_of_another_edition(tmp_path, found_run, content):
    good = runs.read_json(found_run / runs.RESULTS)
    folder = folder_of(tmp_path, results=content)
    whole = folder_of(tmp_path, results=good, name="b-run")
    for command in (["inspect"], ["export"], ["try"]):
        with pytest.raises(HardpromptError, match="results") as error:
            call(*command, folder, *(["a text"] if command == ["try"] else []))
        assert "\n" not in str(error.value)
    listed = call("ls", "runs", "--output-dir", tmp_path).stdout.splitlines()
    assert listed[2].split() == [str(folder), "-", "(cannot", "be", "read)"]
    assert good["best"][0]["text"] in listed[3]
    assert str(whole) in listed[3]


def test_comparisons_and_sweeps_are_listed_behind_the_searches(tmp_path, found_run):
    for name, mark in (("s", runs.SWEEP), ("c", runs.COMPARE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / mark).write_text("{}")
    listed = call("ls", "runs", "--output-dir", tmp_path).stdout.splitlines()
    assert [line.split() for line in listed[2:]] == [
        [str(tmp_path / "c"), "compare"], [str(tmp_path / "s"), "sweep"],
    ]  # fmt: skip
    folder_of(tmp_path, results=runs.read_json(found_run / runs.RESULTS))
    both = call("ls", "runs", "--output-dir", tmp_path).stdout
    assert both.split("\n\n")[1].splitlines() == listed


def test_results_without_prompts_or_with_less_than_reports_need_are_damaged(tmp_path, found_run):
    good = runs.read_json(found_run / runs.RESULTS)
    for number, change in enumerate(({"best": []}, {"run": None}, {"timing": 3})):
        folder = folder_of(tmp_path, results={**good, **change}, name=f"run-{number}")
        with pytest.raises(HardpromptError, match=r"is damaged: .*search --resume"):
            runs.read_results(folder)


def test_names_that_are_no_utf8_are_refused_before_the_search(tmp_path):
    """Results name their folder and their data, and no file holds such a name."""
    with pytest.raises(UsageError, match="--output-dir holds half a character"):
        runs.create(tmp_path / "r\udcff", RunConfig())
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="a path holds half a character"):
        RunConfig(data="x\udcff.csv")
    for name, field in (("--model", "model"), ("--vocab", "vocabulary"), ("--ban", "ban"),
                        ("--optuna-storage", "optuna_storage")):  # fmt: skip
        with pytest.raises(UsageError, match=f"{name} holds half a character"):
            RunConfig(**{field: "x\udcff"})
