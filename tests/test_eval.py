"""`hardprompt eval`: prompts that a user brings, measured like found ones."""

import json

import numpy as np
import pytest

from hardprompt import runs
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.evaluation import shift_to_prior
from hardprompt.report.search import prior_warning
from tests.conftest import call


@pytest.fixture(scope="module")
def base(found_run, tiny_folder):
    return ["eval", "--task", found_run.parents[1] / "moods", "--model", tiny_folder]


def test_a_found_prompt_is_worth_what_the_search_said(found_run, base):
    results = runs.read_results(found_run)
    first, second = results["best"][:2]
    args = ["--prompt", second["text"], "--prompt", first["text"], "--json"]
    found = json.loads(call(*base, *args).stdout)
    assert found["schema"] == "hardprompt.eval/1"
    for was, now in zip((first, second), found["prompts"], strict=True):
        assert now.pop("per_class")
        assert now == was | {"source": "given"}
    assert found["baselines"] == results["baselines"]
    assert found["prior"] == results["prior"]


def test_a_prompt_file_brings_its_model_and_template(found_run, base):
    file = found_run / "prompt.json"
    found = json.loads(call(*base[:3], "--prompts-file", file, "--json").stdout)
    results = runs.read_results(found_run)
    assert found["model"] == results["model"]
    assert found["prompts"][0]["search"] == results["best"][0]["search"]


def test_the_table_has_classes_and_the_warning_of_few_rows(base, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("good day\n\nbad night\r\ngood day\n", encoding="utf8")
    result = call(*base, "--prompts-file", file, "--prompt", "mood")
    for part in ("(no prompt)", "(manual)", "precision", "too few rows for a test figure"):
        assert part in result.stdout
    lines = result.stdout.split("\n")
    shown = [line for line in lines if line.startswith(("good day", "bad night", "mood"))]
    assert len(shown) == 3
    assert "example" in result.stderr


def test_dev_leaves_test_closed(base):
    found = json.loads(call(*base, "--prompt", "good day", "--split", "dev", "--json").stdout)
    entries = [*found["prompts"], found["baselines"]["empty"], *found["baselines"]["manual"]]
    assert all(entry["test"] is None and entry["test_interval"] is None for entry in entries)
    assert found["prompts"][0]["gain_empty_interval"] is not None
    low, high = found["prompts"][0]["dev_interval"]
    assert low <= found["prompts"][0]["dev"] <= high


BAD = [
    ([], UsageError, "no prompt to measure"),
    (["--prompts-file", "none.txt"], UsageError, "no file 'none.txt'"),
    (["--prompts-file", "none.json"], HardpromptError, "cannot read 'none.json'"),
    (["--prompt", "x", "--metric", "acuracy"], UsageError, "Did you mean 'accuracy'"),
    (["--prompt", "x", "--template", "{text}"], UsageError, "needs {prompt} at least once"),
    (["--prompt", "x", "--template", "{prompt:1} {text} {prompt:1}"], UsageError, "prompt.json"),
    (["--prompt", "x", "--model", "mimi"], UsageError, "Did you mean 'mini'"),
]


@pytest.mark.parametrize(("args", "kind", "message"), BAD, ids=[b[2] for b in BAD])
def test_misuse_is_one_line(base, args, kind, message):
    with pytest.raises(kind) as caught:
        call(*base, *args)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(20))
def test_a_shift_of_the_classes_reaches_the_label_prior(seed):
    rng = np.random.default_rng(seed)
    n, classes = int(rng.choice([16, 128])), int(rng.choice([2, 3, 10]))
    scale = rng.choice([0.01, 1, 20])  # of the scores: a little and a lot to shift
    gold = rng.choice(classes, n, p=rng.dirichlet(np.ones(classes)))
    log_probs = scale * (rng.normal(size=(n, classes)) + rng.normal(size=classes))
    called = shift_to_prior(log_probs, log_probs, gold)
    assert (
        np.bincount(called, minlength=classes).tolist()
        == np.bincount(gold, minlength=classes).tolist()
    )
    other = rng.normal(size=(3, classes))  # each row is shifted alike, whatever stands beside it
    alone = [shift_to_prior(row[None], log_probs, gold)[0] for row in other]
    assert shift_to_prior(other, log_probs, gold).tolist() == alone


@pytest.mark.parametrize(
    ("gained", "only_prior", "said"),
    [(0.03, True, True), (0.03, False, False), (-0.03, True, False), (None, True, False)],
)
def test_a_shifted_prior_is_said_to_explain_a_gain_only_where_there_is_one(
    gained, only_prior, said
):
    prior = {
        "shifted_empty_test": 0.7,
        "gain_beyond": 0.01,
        "gain_beyond_interval": [-0.02, 0.04],
        "only_prior": only_prior,
    }
    assert bool(prior_warning(prior, {"gain_empty": gained})) == said
