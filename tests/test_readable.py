"""`--fluency` and `hardprompt readable` on whole runs."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hardprompt import HardPrompt, runs
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.ledger import Ledger
from hardprompt.session import Session
from tests.conftest import call, write_moods

WEIGHT = 0.3


@pytest.fixture(scope="module")
def found(tiny_folder, tmp_path_factory):
    """`found(weight)` -> results of a search of 60 random prompts with that weight."""
    root = tmp_path_factory.mktemp("weighed")
    task, known = write_moods(root / "moods"), {}

    def run(weight):
        if weight not in known:
            args = ["--task", task, "--model", tiny_folder, "--len", 2, "--min-len", 1]
            args += ["--budget", 60, "--vocab-top", 200, "--strategy", "random", "--dtype"]
            args += ["float32", "--fluency", weight, "--output-dir", root / f"runs{weight}"]
            known[weight] = json.loads(call("search", *args, "--json").stdout)
        return known[weight]

    return run


@pytest.fixture
def copied(found, tmp_path):
    """`copied(weight)` -> the folder of a run of one's own."""

    def copy(weight):
        folder = Path(found(weight)["run"])
        return shutil.copytree(folder, tmp_path / folder.name)

    return copy


def bar_of(results, keep):
    """The highest search loss that keeps such a share of the gain."""
    empty = results["baselines"]["empty"]["search"]
    gain = empty - min(entry["search"] for entry in results["best"])
    return empty - keep * gain + 2e-6  # results.json holds six digits


def by_hand(folder):
    """Every prompt of a run that was measured: its text, search loss and fluency."""
    session = Session.prepare(runs.read_config(folder))
    scorer, gold = session.scorers["search"], session.gold("search")
    with Ledger.read(folder / runs.LEDGER) as ledger:
        pieces = [p for p in ledger.pieces() if p.ids is not None and p.examples is None]
    ids = np.concatenate([session.space.canonical(piece.ids) for piece in pieces])
    told = np.concatenate([piece.feedback.trusted() for piece in pieces])
    rows = []
    for row, loss in zip(ids, told, strict=True):
        if np.isfinite(loss):
            (text,) = scorer.renderer.prompt_texts(row, session.space.slots)
            scores = scorer.by_text((text,))[np.arange(len(gold)), gold]
            log_prob = float(session.model.prompt_log_probs(row[None])[0])
            rows.append((text, -float(scores.mean()), log_prob, float(loss)))
    return rows


def test_results_show_the_tasks_loss_and_what_was_minimised(found):
    results = found(WEIGHT)
    measured = {text: rest for text, *rest in by_hand(Path(results["run"]))}
    assert results["fluency_weight"] == WEIGHT
    for entry in results["best"]:
        if entry["source"] == "search":
            loss, log_prob, told = measured[entry["text"]]
            assert entry["search"] == pytest.approx(loss, abs=1e-5)
            assert entry["fluency"] == pytest.approx(log_prob, abs=1e-5)
            assert told == pytest.approx(loss - WEIGHT * log_prob, abs=1e-5)
    assert results["curve"][-1][1] == pytest.approx(min(t for *_, t in measured.values()), abs=1e-5)
    best = min(measured, key=lambda text: measured[text][2])
    assert best in {entry["text"] for entry in results["best"]}
    assert best != min(measured, key=lambda text: measured[text][0])
    shown = call("inspect", results["run"]).stdout
    assert shown.count("search - 0.3 x fluency") == 2


def test_without_a_weight_nothing_is_said_of_it(found):
    results = found(0)
    assert results["fluency_weight"] == 0
    assert "x fluency" not in call("inspect", results["run"]).stdout
    with Ledger.read(Path(results["run"]) / runs.LEDGER) as ledger:
        assert not {"fluency", "preset"} & ledger.header.keys()
        assert all(piece.feedback.fluency is None for piece in ledger.pieces())
    with Ledger.read(Path(found(WEIGHT)["run"]) / runs.LEDGER) as ledger:
        assert ledger.header["fluency"] == WEIGHT


def test_a_run_with_a_weight_resumes_as_itself_only(copied):
    folder = copied(WEIGHT)
    before = runs.read_results(folder)
    call("search", "--resume", folder, "-q")
    after = runs.read_results(folder)
    changing = {"timing", "run"}
    assert {key: after[key] for key in after.keys() - changing} == {
        key: before[key] for key in before.keys() - changing
    }
    stored = runs.read_json(folder / runs.RUN)
    stored["config"]["fluency"] = 0.5
    runs.write_json(folder / runs.RUN, stored)
    with pytest.raises(HardpromptError, match=r"fluency \(was 0.3, is 0.5\)"):
        call("search", "--resume", folder)


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_weight_below_zero_is_refused(value, tmp_path):
    with pytest.raises(UsageError, match="--fluency must be 0 or more"):
        call("search", "--fluency", value, "--output-dir", tmp_path)


@pytest.mark.parametrize(
    "settings", [["swap"], ["relax"], ["relax", "--set", "projection=end", "--set", "steps=3"]]
)
def test_strategies_that_go_by_gradients_weigh_it_too(tiny_folder, task_folder, tmp_path, settings):
    args = ["--model", tiny_folder, "--len", 2, "--vocab-top", 100, "--budget", 25]
    results = json.loads(
        call(
            "search", "--task", task_folder, *args, "--fluency", 0.1, "--strategy", *settings,
            "--dtype", "float32", "--output-dir", tmp_path / "runs", "--json",
        ).stdout
    )  # fmt: skip
    measured = by_hand(Path(results["run"]))
    assert len(measured) > 1
    for _, loss, log_prob, told in measured:
        assert told == pytest.approx(loss - 0.1 * log_prob, abs=1e-5)


@pytest.mark.parametrize("weight", [0, WEIGHT])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.9, 1.0])
def test_the_readable_prompt_is_what_brute_force_picks(copied, weight, keep):
    folder = copied(weight)
    results = runs.read_results(folder)
    before = {line["text"] for line in results["best"] if line["test"] is not None}
    found = json.loads(call("readable", folder, "--keep", keep, "--json").stdout)
    best, empty = results["best"][0], results["baselines"]["empty"]
    gain = empty["search"] - min(entry["search"] for entry in results["best"])
    assert gain > 0
    bar = bar_of(results, keep)
    listed = {e["text"]: e["fluency"] for e in results["best"] if e["search"] <= bar}
    near = listed | {text: log_prob for text, loss, log_prob, _ in by_hand(folder) if loss <= bar}
    pick = found["readable"]
    assert pick["text"] == max(near, key=near.__getitem__)
    assert found["qualified"] == len(near)
    assert found["kept"] >= keep - 1e-5
    assert found["kept"] == pytest.approx((empty["search"] - pick["search"]) / gain, abs=1e-3)
    assert found["price"]["search"] == pytest.approx(pick["search"] - best["search"], abs=2e-6)
    for split in ("dev", "test"):
        low, high = found["price"][f"{split}_interval"]
        difference = pick[split] - found["best"][split]
        assert found["price"][split] == pytest.approx(difference, abs=2e-6)
        assert low <= difference + 1e-6
        assert high >= difference - 1e-6
    with Ledger.read(folder / runs.LEDGER) as ledger:  # test was opened for one prompt more
        opened = len(ledger.items("scores-test"))
    assert found["test_opened"] == opened
    assert opened <= len(before | {pick["text"]}) + 2  # and for no prompt, and a manual one


def test_a_manual_prompt_of_the_table_competes(copied, tmp_path):
    folder = copied(0)
    results, config = runs.read_results(folder), runs.read_config(folder)
    found = json.loads(call("readable", folder, "--keep", 0, "--json").stdout)
    good = [entry["text"] for entry in results["best"]]
    texts = [" ".join(pair) for pair in itertools.product(good, repeat=2)]  # longer than any found
    (tmp_path / "given.txt").write_text("\n".join(texts), encoding="utf8")
    options = ["--task", config.task, "--model", config.model, "--dtype", "float32"]
    given = call("eval", *options, "--prompts-file", tmp_path / "given.txt", "--json").stdout
    near = [e for e in json.loads(given)["prompts"] if e["search"] <= bar_of(results, 0)]
    best = max(near, key=lambda entry: entry["fluency"])
    assert best["fluency"] > found["readable"]["fluency"]
    results["best"].append(results["best"][0] | best | {"source": "manual"})
    runs.write_results(folder, results)
    again = json.loads(call("readable", folder, "--keep", 0, "--json").stdout)
    assert again["readable"]["text"] == best["text"]
    for count in ("measured", "qualified"):
        assert again[count] == found[count] + 1


def test_the_readable_prompt_is_a_prompt_file(copied):
    folder = copied(0)
    shown = call("readable", folder, "--keep", 0).stdout
    saved = HardPrompt.load(folder / "readable.json")
    assert f"gain in search loss: {saved.text}\n" in shown
    assert "Price, paired with the best: dev" in shown
    assert saved.scores["search"] <= runs.read_results(folder)["baselines"]["empty"]["search"]
    assert saved.text in call("try", folder / "readable.json", "lovely warm day").stdout
    assert call("export", folder / "readable.json").stdout == f"{saved.text} {{text}}\n"
    assert HardPrompt.load(folder / "prompt.json").text != saved.text


def test_readable_says_what_it_cannot_do(copied, tmp_path):
    folder = copied(0)
    results = runs.read_results(folder)
    worst = max(by_hand(folder), key=lambda row: row[1])[0]
    usual = json.loads(call("readable", folder, "--json").stdout)
    with pytest.raises(UsageError, match="no run 'nothing'"):
        call("readable", "nothing", "--output-dir", tmp_path)
    assert call("readable", folder, "--keep", 2).exit_code == 2
    bad = results["best"][0] | {"slots": [{"text": worst, "ids": []}]}
    results["best"].insert(0, bad)  # dev may choose one without a gain
    runs.write_results(folder, results)
    found = json.loads(call("readable", folder, "--json").stdout)
    assert found["best"]["text"] == worst
    assert (found["readable"], found["kept"]) == (usual["readable"], usual["kept"])
    runs.write_results(folder, results | {"best": [bad]})
    with pytest.raises(HardpromptError, match="there is no gain to keep"):
        call("readable", folder)
    (folder / runs.RESULTS).unlink()
    with pytest.raises(UsageError, match="has no results yet"):
        call("readable", folder)
