"""Sweeps and transfers of tasks whose answer is a text."""

import json

import pytest

from tests.conftest import call
from tests.families import save_causal
from tests.test_writing import PLACES, SPLITS, row


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    made = tmp_path_factory.mktemp("heads") / "heads"
    made.mkdir()
    for split, numbers in SPLITS.items():
        lines = (json.dumps(row(PLACES[i])) for i in numbers)
        (made / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf8")
    return made


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    return save_causal("byte-level", tmp_path_factory.mktemp("models") / "other")


def test_a_sweep_is_judged_by_what_is_written(heads, tmp_path):
    args = ["--task", heads, "--len", "1,2", "--budget", 12, "--methods", "search,none,tf-idf",
            "--output-dir", tmp_path]  # fmt: skip
    results = json.loads(call("sweep", *args, "--json").stdout)
    assert results["metric"] == "rouge-l"
    rows = {row["method"]: row for row in results["parts"][1]["methods"]}
    assert rows["tf-idf"]["skipped"] is not None
    low, high = rows["search"]["test_interval"]
    assert low <= rows["search"]["test"] <= high
    text = call("sweep", "--resume", "--output-dir", tmp_path).stdout
    assert "tf-idf not used, it chooses among labels" in text


def test_prompts_that_write_are_measured_on_other_models(heads, tmp_path, other_folder):
    args = ["--task", heads, "--len", 2, "--budget", 12, "--output-dir", tmp_path, "--json"]
    results = json.loads(call("search", *args).stdout)
    found = json.loads(
        call("transfer", results["run"], "--model", other_folder, "--top", 2, "--json").stdout
    )
    for prompt, entry in zip(found["prompts"], results["best"], strict=False):
        assert prompt["cells"][0]["dev"] == entry["dev"]
        assert prompt["cells"][1]["test"] is not None
    text = call("transfer", results["run"], "--model", other_folder, "--top", 1).stdout
    assert "rouge-l on 3 dev and 4 test rows" in text


def test_prompts_of_ones_own_are_judged_by_what_they_write(heads):
    text = call("eval", "--task", heads, "--prompt", "In a few words", "--model", "mini").stdout
    assert "In a few words" in text
    assert "(no prompt)" in text
