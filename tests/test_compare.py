"""`hardprompt compare` as a user meets it: the table, its files, resuming."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from hardprompt.baselines.base import Unfit, _writes_nothing
from hardprompt.baselines.none import NoPrompt
from hardprompt.baselines.table import expand
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.metrics import interval, metric_named, paired_gain
from hardprompt.metrics.seeds import runs_interval
from hardprompt.report.compare import compare_report
from hardprompt.standings import INTERVALS, as_csv
from tests.conftest import HAS_PEFT, NEEDS_PEFT
from tests.test_cli import BAD, ROOT, call

QUICK = ("none", "manual", "search", "tf-idf")


@pytest.fixture
def options(tiny_folder, task_folder, tmp_path):
    """A comparison of seconds: a tiny random model, 20 prompts of budget."""
    return [
        "--task", task_folder, "--model", tiny_folder, "--len", "2", "--budget", "20",
        "--vocab-top", "200", "--output-dir", tmp_path / "runs",
    ]  # fmt: skip


def only_run(options):
    (folder,) = Path(options[-1]).glob("compare__*")
    return folder


def test_all_methods_make_one_table(options, tiny_folder):
    result = call("compare", *options, "--methods", "all", "--json", "-v")
    results = json.loads(result.stdout)
    rows = {row["method"]: row for row in results["methods"]}
    assert tuple(rows) == expand(["all"])
    assert results["schema"] == "hardprompt.compare/2"
    assert results["budget"] == {"prompts": 20, "rows": 20 * 24}
    assert "20 prompts x 24 rows = 480 rows a method" in result.stderr
    best, parameters = results["best_discrete"], results["model"]["parameters"]
    discrete = ["none", "manual", "search", "relax"]
    assert rows[best]["dev"] == max(rows[name]["dev"] for name in discrete)
    for name, row in rows.items():
        if name in NEEDS_PEFT and not HAS_PEFT:
            assert row["skipped"].startswith(f"{name} needs peft")
            continue
        assert row["skipped"] is None
        assert 0 <= row["rows"] <= 480
        low, high = row["test_interval"]
        assert low <= row["test"] <= high
        assert (row["gain"] is None) == (name == best)
        assert row["readable"] == (name in (*discrete, "shots"))
        assert row["portable"] == (name in (*discrete, "shots", "tf-idf"))
        assert row["rows"] == row["forward"] + 2 * row["backward"]
        assert row["stored_share"] == pytest.approx(row["stored"] / parameters, abs=1e-9)
        assert row["test_runs_interval"] is None  # one seed
    assert rows["prompt-tuning"]["trained"] == rows["prompt-tuning"]["stored"] == 2 * 64
    assert rows["fine-tune"]["trained_share"] == 1
    assert rows["adapter-3"]["trained_share"] == pytest.approx(0.03, abs=0.003)  # half a unit
    assert rows["fine-tune"]["backward"] > 0 == rows["bbt"]["backward"]
    assert rows["none"]["bytes"] == 0
    assert rows["search"]["bytes"] == len(rows["search"]["text"].encode())
    folder = only_run(options)
    assert json.loads((folder / "table.json").read_text(encoding="utf8")) == results
    with (folder / "table.csv").open(encoding="utf8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["method"] for line in lines] == list(rows)
    assert float(lines[3]["test"]) == rows["search"]["test"]
    assert float(lines[-3]["backward"]) == rows["fine-tune"]["backward"]


def test_the_report_shows_every_method_and_what_the_columns_mean(options):
    text = call("compare", *options, "--methods", ",".join([*QUICK, "relax"])).stdout
    for table in text.split("\n\n")[:2]:
        assert len(table.split("\n")) == 2 + len(QUICK) + 1
    for part in ("over best discrete", "portable", "backward", "20 prompts x 24 rows",
                 "* the best discrete prompt on dev",
                 "too few rows for a test figure", "what it reads"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(("budget", "tuned"), [(40, False), (400, True)])
def test_methods_of_a_single_trial_are_named(options, budget, tuned):
    args = [*options, "--budget", budget, "--methods", "none,prompt-tuning,top-2,bbt"]
    line = "prompt-tuning, top-2: the budget pays for one trial, so no rate was tuned."
    assert (line in call("compare", *args).stdout) == (not tuned)


def test_a_finished_method_is_not_fitted_again(options):
    args = ["compare", *options, "--methods", "none,manual,tf-idf", "--json"]
    whole = json.loads(call(*args).stdout)
    folder = only_run(options)
    kept, lost = folder / "none__seed0.json", folder / "manual__seed0.json"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    (folder / "table.json").unlink()
    again = json.loads(call("compare", "--resume", "--output-dir", options[-1], "--json").stdout)
    assert kept.stat().st_mtime_ns == before
    assert lost.exists()
    for first, second in zip(whole["methods"], again["methods"], strict=True):
        for key in ("seconds", "cpu_seconds"):
            assert first.pop(key) == second.pop(key) or first["method"] == "manual"
    assert whole == again


def test_a_search_that_was_killed_goes_on_where_it_stopped(options):
    args = ["compare", *options, "--methods", "search", "--json"]
    whole = json.loads(call(*args).stdout)
    folder = only_run(options)
    ledger = folder / "search__seed0" / "search.db"
    before = ledger.read_bytes()
    (folder / "search__seed0.json").unlink()
    again = json.loads(call("compare", "--resume", folder, "--json").stdout)
    assert again["methods"][0]["text"] == whole["methods"][0]["text"]
    assert ledger.read_bytes() == before  # every piece was told from the ledger


def test_a_skipped_method_is_tried_again(options, monkeypatch):
    def unfit(method, bench):
        raise Unfit("something is not installed")

    with monkeypatch.context() as patch:
        patch.setattr(NoPrompt, "fit", unfit)
        text = call("compare", *options, "--methods", "none,manual").stdout
    assert "none: not used, something is not installed" in text
    results = json.loads(call("compare", "--resume", only_run(options), "--json").stdout)
    rows = {row["method"]: row for row in results["methods"]}
    assert rows["none"]["skipped"] is None
    assert 0 <= rows["none"]["test"] <= 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "take a smaller"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "take a small"),
        (MemoryError("Unable to allocate 3 GiB for an array"), "take a smaller"),
        (HardpromptError("out of memory with a single row of 9 tokens"), "a single row of 9"),
    ],
    ids=["cuda", "cpu", "numpy", "batch"],
)
def test_a_method_that_runs_out_of_memory_leaves_the_others_alone(
    options, monkeypatch, error, reason
):
    def exhausted(method, bench):
        raise error

    monkeypatch.setattr(NoPrompt, "fit", exhausted)
    results = json.loads(call("compare", *options, "--methods", "none,manual", "--json").stdout)
    rows = {row["method"]: row for row in results["methods"]}
    assert rows["none"]["skipped"].startswith("out of memory")
    assert reason in rows["none"]["skipped"]
    assert rows["manual"]["skipped"] is None


def test_other_errors_of_a_method_stop_the_comparison(options, monkeypatch):
    def broken(method, bench):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(NoPrompt, "fit", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        call("compare", *options, "--methods", "none,manual")


def test_a_method_that_writes_nothing_is_left_out_where_texts_are_wanted(
    monkeypatch, tiny_folder, tmp_path
):
    """Whether its author thought of saying so or not."""
    fit = NoPrompt.fit
    monkeypatch.setattr(NoPrompt, "fit", lambda *given: replace(fit(*given), write=_writes_nothing))
    args = ["--model", tiny_folder, "--len", 2, "--budget", 4, "--search-rows", 4]
    args += ["--max-new-tokens", 2, "--methods", "none", "--output-dir", tmp_path, "--json"]
    results = json.loads(call("compare", "--task", "headline", *args).stdout)
    (row,) = results["methods"]
    assert "it has no texts to write" in row["skipped"]


def test_a_record_of_an_older_comparison_is_not_taken_for_a_new_one(options):
    call("compare", *options, "--methods", "none")
    path = only_run(options) / "none__seed0.json"
    path.write_text(path.read_text(encoding="utf8").replace("record/2", "record/1"), "utf8")
    with pytest.raises(HardpromptError, match=r"record/1, not a .*; start a new comparison"):
        call("compare", "--resume", only_run(options))


def test_another_task_is_not_mixed_with_what_is_recorded(options, task_folder):
    call("compare", *options, "--methods", "none,manual")
    folder = only_run(options)
    rows = (task_folder / "test.jsonl").read_text(encoding="utf8").replace("lovely", "horrid")
    (task_folder / "test.jsonl").write_text(rows, encoding="utf8")
    with pytest.raises(HardpromptError, match=r"cannot be resumed, because these differ: task"):
        call("compare", "--resume", folder)


def test_seeds_are_averaged_on_the_same_test_rows(options):
    args = ["compare", *options, "--methods", "none,shots,search", "--seeds", "0,3", "--json"]
    results = json.loads(call(*args).stdout)
    for row in results["methods"]:
        assert [run["seed"] for run in row["runs"]] == [0, 3]
        mean = np.mean([run["test"] for run in row["runs"]])
        assert row["test"] == pytest.approx(mean, abs=1e-6)  # rounded to six digits
        low, high = row["test_runs_interval"]
        assert (low + high) / 2 == pytest.approx(mean, abs=1e-6)
    text = call("compare", "--resume", only_run(options)).stdout
    assert "Means over seeds 0, 3" in text
    assert "over seeds [95%]" in text


def test_of_several_seeds_the_text_and_the_gap_that_are_shown_are_of_one(options):
    args = ["--methods", "relax", "--seeds", "0,3", "--json"]
    results = json.loads(call("compare", *options, *args).stdout)
    runs = results["methods"][0]["runs"]
    assert all("gap" in run["details"] for run in runs)
    for run, token in zip(runs, ("oak", "elm"), strict=True):
        place = {"token": token, "cosine": 0.5, "alone": 0.6, "so_far": 0.7}
        run["details"]["gap"] = {"soft": 0.5, "hard": 0.7, "places": [place]}
    for (runs[0]["dev"], runs[1]["dev"]), shown in (((1, 0), "oak"), ((0, 1), "elm")):
        gap = compare_report(results).split("relax, from soft to hard")[1]
        assert gap.split("\n")[3].split()[0].strip("'") == shown
    runs[1]["details"]["gap"] = None
    assert "from soft to hard" not in compare_report(results)


@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_seeds_that_split_the_data_anew_are_refused_before_anything_is_fitted(
    tiny_folder, tmp_path, command
):
    data = tmp_path / "moods.csv"
    moods = ("lovely warm day", "good"), ("cold wet night", "bad")
    lines = [f"{text} {i},{label}" for i in range(20) for text, label in moods]
    data.write_text("\n".join(["text,label", *lines]), encoding="utf8")
    args = [command, "--data", data, "--model", tiny_folder, "--len", 2, "--methods", "none",
            "--budget", 20, "--vocab-top", 200, "--output-dir", tmp_path / "runs"]  # fmt: skip
    with pytest.raises(UsageError, match="the test rows of this task change with the seed") as hit:
        call(*args, "--seeds", "0,1")
    assert "\n" not in str(hit.value)
    assert not (tmp_path / "runs").exists()
    assert call(*args, "--seeds", "1").exit_code == 0
    assert call(*args, "--dev", data, "--test", data, "--seeds", "0,1").exit_code == 0


def test_methods_that_do_not_fit_are_named_and_the_others_shown(options):
    args = [value for value in options if value not in ("--len", "2")]
    template = "{prompt:1} so {text} {prompt:1} {label}"
    text = call("compare", *args, "--template", template, "--methods", "none,manual").stdout
    assert "manual: not used, the task has no manual prompts for this template" in text


def test_ctrl_c_says_how_to_go_on(options):
    args = [*options, "--budget", "100000", "--methods", "none,search"]
    child = subprocess.Popen(
        [sys.executable, "-m", "hardprompt", "compare", *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    root = Path(options[-1])
    while not list(root.glob("*/search__seed0/search.db")):
        assert child.poll() is None
        time.sleep(0.1)
    os.kill(child.pid, signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"Go on with: hardprompt compare --resume {only_run(options)}" in stdout
    assert stdout.startswith("method")
    assert "Traceback" not in stderr


SHARED = ("--task", "--model", "--metric", "--len", "--budget", "--dtype", "--template", "--vocab")
MISUSE = [
    *((args, kind, message) for args, kind, message in BAD
      if args[0] in SHARED and "--min-len" not in args),
    (["--methods", "serch"], UsageError, "Did you mean 'search'"),
    (["--methods", ""], UsageError, "--methods is empty"),
    (["--share", "3%"], UsageError, "--share sets sizes of 'adapter', but --methods has none"),
    (["--methods", "adapter", "--share", "x"], UsageError, "'x' is no share of the weights"),
    (["--seeds", "1,1"], UsageError, "--seeds are different numbers"),
    (["--seeds", ""], UsageError, "--seeds are different numbers"),
    (["--resume", "nothing"], UsageError, "no run 'nothing' of hardprompt compare"),
    (["--resume"], UsageError, "start one with: hardprompt compare"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "kind", "message"), MISUSE, ids=lambda value: str(value))
def test_misuse_is_one_line_and_leaves_nothing(tmp_path, args, kind, message):
    base = [] if "--len" in args else ["--len", "2"]
    with pytest.raises(kind) as caught:
        call("compare", *base, *args, "--output-dir", tmp_path / "runs")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_seeds_must_be_numbers(tmp_path):
    result = call("compare", "--seeds", "0,x", "--output-dir", tmp_path)
    assert result.exit_code == 2
    assert "numbers with commas between them" in result.stderr


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_scikit_learn_whatever_classes_are_missing(seed):
    rng = np.random.default_rng(seed)
    gold, called = rng.choice([0, 2, 3], 8), rng.choice([0, 2, 4], 8)  # of six classes
    score = metric_named("macro-f1").score(gold, called, 6)
    assert score == pytest.approx(f1_score(gold, called, average="macro"))


def test_samples_without_a_rare_class_do_not_widen_the_interval_of_macro_f1():
    gold = np.array([0] * 49 + [1])
    assert interval(metric_named("macro-f1"), gold, gold, 2) == (1.0, 1.0)


def test_csv_fields_are_no_formulas():
    row = dict.fromkeys(("skipped", *INTERVALS.values()))
    text = as_csv({"methods": [row | {"method": "search", "text": "=1+1 so"}]})
    assert text.split("\r\n")[1].endswith("'=1+1 so")


def test_intervals_of_means_over_runs():
    rng = np.random.default_rng(0)
    gold = rng.integers(2, size=200)
    runs = np.where(rng.random((3, 200)) < 0.8, gold, 1 - gold)
    for name in ("accuracy", "macro-f1", "mcc"):
        metric = metric_named(name)
        mean = np.mean([metric.score(gold, run, 2) for run in runs])
        low, high = interval(metric, gold, runs, 2)
        assert low < mean < high
        # Three equal runs are one run.
        same = np.stack([runs[0]] * 3)
        one = paired_gain(metric, gold, runs[0], runs[1], 2)
        # The mean of three equal numbers may differ from them in the last bit.
        assert paired_gain(metric, gold, same, runs[1], 2) == pytest.approx(one, abs=1e-12)
        assert paired_gain(metric, gold, runs, runs[0], 2)[0] == pytest.approx(
            mean - metric.score(gold, runs[0], 2)
        )


def test_intervals_over_seeds_are_students():
    # Student (1908), section 9: the hours of sleep that ten people gained by one drug over another.
    gains = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    low, high = runs_interval(gains)
    # Mean 1.58, standard error 0.389, and 2.262 is the 97.5% point of t with nine degrees.
    assert (low, high) == pytest.approx((1.58 - 2.262 * 0.389, 1.58 + 2.262 * 0.389), abs=1e-3)
    assert runs_interval([0.8]) is None
    assert runs_interval([0.8, 0.8, 0.8]) == pytest.approx((0.8, 0.8))
