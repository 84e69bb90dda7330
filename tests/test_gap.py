"""`hardprompt gap`: every prompt of a small space, against a loop that scores texts one by one."""

import json
from itertools import product

import numpy as np
import pytest

from hardprompt import runs
from hardprompt.errors import UsageError
from hardprompt.gap import Range, _check_size
from hardprompt.objective import Objective
from hardprompt.session import Session
from hardprompt.testing import planted_space
from tests.conftest import call


@pytest.fixture
def found(tiny_folder, task_folder, tmp_path):
    """A finished search of one or two of twelve words, and where its runs are."""
    root = tmp_path / "runs"
    result = call(
        "search", "--task", task_folder, "--model", tiny_folder, "--len", 2, "--min-len", 1,
        "--vocab-top", 12, "--strategy", "random", "--budget", 20, "--fluency", 0,
        "--output-dir", root, "--json",
    )  # fmt: skip
    return json.loads(result.stdout), root


def brute_force(run):
    """`{prompt text: loss}` of the whole space."""
    session = Session.prepare(runs.read_config(run))
    scorer, gold = session.scorers["search"], session.gold("search")
    words = [session.model.codec.piece([int(token)]).strip() for token in session.space.tokens]
    texts = [*words, *map(" ".join, product(words, words))]
    losses = {}
    for text in texts:
        log_probs = scorer.by_text((text,))
        losses[text] = -log_probs[np.arange(len(gold)), gold].mean()
    return losses


def test_gap_equals_a_brute_force_loop(found):
    results, root = found
    gap = json.loads(call("gap", "--output-dir", root, "--json").stdout)
    losses = brute_force(root / results["run"].split("/")[-1])
    values = np.array(list(losses.values()))
    assert gap["prompts"] == len(losses) == 12 + 144
    assert gap["unwritable"] == 0
    assert gap["optimum"]["text"] == min(losses, key=losses.get)
    assert gap["optimum"]["loss"] == pytest.approx(values.min(), abs=1e-5)
    assert gap["random"] == pytest.approx(np.median(values), abs=1e-5)
    best = min(results["best"], key=lambda entry: entry["search"])
    assert gap["found"]["text"] == best["text"]
    assert gap["found"]["rank"] == (values < losses[best["text"]] - 1e-9).sum() + 1
    share = (losses[best["text"]] - values.min()) / (np.median(values) - values.min())
    assert gap["found"]["regret"] == pytest.approx(share, abs=1e-4)
    # The median of the best of n: half of all draws of n prompts have none below it.
    below = (values < gap["by_luck"]["loss"] - 1e-6).mean()
    assert (1 - below) ** results["measured"] >= 0.5 > (1 - below - 1 / 156) ** results["measured"]


def test_fluency_with_a_weight_is_in_every_loss(tiny_folder, task_folder, tmp_path):
    args = ["--task", task_folder, "--model", tiny_folder, "--len", 2, "--vocab-top", 12,
            "--strategy", "random", "--budget", 60, "--fluency", 0.3, "--dtype", "float32",
            "--output-dir", tmp_path / "runs"]  # fmt: skip
    results = json.loads(call("search", *args, "--json").stdout)
    gap = json.loads(call("gap", "--output-dir", tmp_path / "runs", "--json").stdout)
    best = min(e["search"] - 0.3 * e["fluency"] for e in results["best"] if e["source"] == "search")
    assert gap["found"]["loss"] == pytest.approx(best, abs=1e-4)
    shown = call("gap", "--output-dir", tmp_path / "runs").stdout
    assert "plus 0.3 x a prompt's mean negative log-likelihood" in shown


def test_gap_is_printed_and_not_measured_again(found, monkeypatch):
    results, root = found
    first = call("gap", "--output-dir", root).stdout
    lines = {line.split()[0]: line for line in first.splitlines() if line}
    assert "156 prompts" in lines["space"]
    assert "100.0%" in lines["random"]
    assert results["run"] in lines["run"]

    def measure(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(Objective, "measure", measure)
    assert call("gap", "--output-dir", root).stdout == first


def test_a_space_that_is_too_large_is_one_line_that_says_what_would_fit(found, found_run):
    _, root = found
    with pytest.raises(UsageError, match=r"156 prompts; .* --vocab-top 9 or --len 1 fits"):
        call("gap", "--output-dir", root, "--most", 100)
    with pytest.raises(UsageError, match=r"40,000 prompts; .* --vocab-top 31 or --len 1 fits"):
        call("gap", found_run, "--most", 31 * 31)


def test_regret_is_a_share_of_the_way_to_a_random_prompt():
    scale = Range.of(np.array([0.2, np.nan, 0.6, 1.0, 0.4]))
    assert (scale.optimum, scale.random) == (0.2, 0.5)
    assert scale.regret(0.2) == 0
    assert scale.regret(0.5) == 1
    assert scale.regret(0.8) == pytest.approx(2)
    assert Range(0.3, 0.3).regret(0.3) == 0  # all prompts alike: nothing to win
    assert Range.of(np.array([1.0, 1.0, 1.0, 2.0])).regret(2.0) == np.inf


@pytest.mark.parametrize(("most", "fits"), [(999, "--len 2 fits"), (1000, "--len 3 fits")])
def test_the_longest_length_that_fits_is_named(most, fits):
    with pytest.raises(UsageError, match=fits):
        _check_size(planted_space(10, 4), most)
    single = planted_space(1, 4, min_length=1)
    with pytest.raises(UsageError, match=r"\(--most\)\. A search with --len 1 fits"):
        _check_size(single, 1)
