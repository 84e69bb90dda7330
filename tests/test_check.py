"""`hardprompt check` and `hardprompt new-task`: what they find, write and refuse."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from hardprompt.cli import main
from hardprompt.config import TaskChoice
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.tasks import draft_of, load_choice, load_task
from hardprompt.tasks.findings import data_findings
from tests.test_cli import call

HALF = "half \ud83d"


def rows(n, label, start="film"):
    return [(f"{start} number {i}", label) for i in range(n)]


def csv_of(path, table):
    lines = "".join(f'"{text}",{label}\n' for text, label in table)
    path.write_text("text,label\n" + lines, encoding="utf8")
    return path


@pytest.fixture
def balanced():
    return rows(100, "neg") + rows(100, "pos", "food")


def found(*args, code):
    result = CliRunner().invoke(main, ["check", *map(str, args), "--json"])
    assert result.exit_code == code, result.output
    content = json.loads(result.stdout)
    assert content["ok"] == (code == 0)
    return {finding["kind"]: finding for finding in content["findings"]}


def lines(finding):
    return [[place["line"] for place in group] for group in finding["rows"]]


def test_a_good_task_has_no_findings(tmp_path, balanced):
    assert found("sentiment", code=0) == {}
    path = csv_of(tmp_path / "r.csv", balanced)
    text = call("check", "--data", path, "--labels", "neg=terrible,pos=great").stdout
    assert "Nothing found: a search would run." in text
    assert "neg = terrible (terrible), pos = great (great)" in text
    assert "200 rows split with seed 0: train 100, dev 50, test 50" in text


def test_warnings_leave_with_0_and_name_their_lines(tmp_path, balanced):
    long = " ".join(["word"] * 1100)
    table = [
        *balanced, ("film number 0", "neg"), ("Film  number 1", "neg"), ("food number 3", "neg"),
        (long, "pos"), *rows(220, "pos", "day"),
    ]  # fmt: skip
    kinds = found("--data", csv_of(tmp_path / "r.csv", table), code=0)
    assert set(kinds) == {"imbalance", "duplicates", "conflict", "long"}
    assert lines(kinds["duplicates"]) == [[2, 202], [3, 203]]
    assert lines(kinds["conflict"]) == [[105, 204]]
    assert lines(kinds["long"]) == [[205]]
    assert "1024 tokens" in kinds["long"]["message"]


def test_leaks_between_splits_name_both_files(task_folder):
    first = (task_folder / "train.jsonl").read_text(encoding="utf8").split("\n")[2]
    with (task_folder / "test.jsonl").open("a", encoding="utf8") as file:
        file.write("\n" + first + "\n")
    kinds = found(task_folder, code=0)
    assert set(kinds) == {"leak", "few"}
    assert kinds["leak"]["rows"] == [[{"file": "test", "line": 14}, {"file": "train", "line": 3}]]
    text = call("check", task_folder).stdout
    assert "texts of test that are also in train: 1 (test line 14 = train line 3)" in text
    assert "too few rows for a test figure" in text


def test_what_breaks_a_search_leaves_with_1(tmp_path, balanced):
    table = [*balanced, ("", "neg"), (" ", "pos"), ("odd", "meh"), ("odder", "meh")]
    path = csv_of(tmp_path / "r.csv", table)
    kinds = found("--data", path, code=1)
    assert lines(kinds["empty"]) == [[202], [203]]
    assert lines(kinds["rare"]) == [[204, 205]]
    kinds = found("--data", path, "--labels", "neg,pos", code=1)
    assert lines(kinds["label"]) == [[204], [205]]
    assert "'meh'" in kinds["label"]["message"]
    with pytest.raises(HardpromptError):
        load_choice(TaskChoice(data=str(path)))


def test_half_a_character_is_listed(tmp_path, balanced):
    path = tmp_path / "r.jsonl"
    table = [{"text": text, "label": label} for text, label in balanced]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*table, table[0] | {"text": HALF}]))
    kinds = found("--data", path, code=1)
    assert lines(kinds["text"]) == [[201]]


def test_a_label_that_the_split_leaves_out_is_missing(tmp_path):
    """A text with two labels goes where its first one goes: a search stops where that leaves a
    label without a row to search on, whatever its rows are."""
    table = [*rows(40, "a", "a"), *rows(40, "c", "c"), *rows(3, "b", "a")]
    path, stopped = csv_of(tmp_path / "r.csv", table), set()
    for seed in range(12):
        choice = TaskChoice(data=str(path), labels="a=good,b=bad,c=fine", seed=seed)
        findings = data_findings(draft_of(choice))
        missing = [found.message for found in findings if found.kind == "missing"]
        breaks = any(found.breaks for found in findings)
        stopped.add(breaks)
        if breaks:
            assert "no row of train is labelled b" in missing
            with pytest.raises(HardpromptError, match="no row of train is labelled b"):
                load_choice(choice)
        else:
            task = load_choice(choice)
            empty = [not task.counts(part)[1] for part in (task.dev, task.test)]
            assert len(missing) == sum(empty)
    assert stopped == {True, False}


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        ("sentiment", "foo", "named 'foo'"),
        ("sentiment", "rouge-l", "named 'rouge-l'"),
        ("headline", "ter", "--metric ter is better the lower"),
        ("headline", "accuracy", "named 'accuracy'"),
    ],
)
def test_a_metric_that_a_search_would_refuse_is_refused(task, metric, message):
    with pytest.raises(UsageError, match=message):
        call("check", task, "--metric", metric)


def test_long_lists_are_cut_at_ten_and_counted(tmp_path, balanced):
    path = csv_of(tmp_path / "r.csv", [*balanced, *[("", "neg")] * 25])
    result = CliRunner().invoke(main, ["check", "--data", str(path)])
    assert result.exit_code == 1
    line = next(line for line in result.stdout.split("\n") if "without a text" in line)
    assert line.endswith(
        "25 (r.csv line 202, 203, 204, 205, 206, 207, 208, 209, 210, 211 and 15 more)"
    )


@pytest.mark.parametrize(
    ("labels", "code", "kind", "shown"),
    [
        ("neg=meh,pos=great", 0, "tokens", "me|h"),
        ("neg=great,pos=great deal", 0, "start", "great and great| deal"),
        ("neg=great,pos=great", 1, "collision", "'great'"),
        ("neg=great,pos= great", 1, "collision", "'great'"),
    ],
)
def test_label_words_are_shown_as_the_model_reads_them(
    tmp_path, balanced, labels, code, kind, shown
):
    path = csv_of(tmp_path / "r.csv", balanced)
    assert shown in found("--data", path, "--labels", labels, code=code)[kind]["message"]


def test_two_spellings_of_a_label_are_said(tmp_path, balanced):
    path = csv_of(tmp_path / "r.csv", [*balanced, *rows(50, "NEG", "day")])
    kinds = found("--data", path, "--labels", "neg=terrible,pos=great,NEG=awful", code=0)
    assert kinds["alike"]["message"].endswith(": 'neg', 'NEG'")


@pytest.mark.parametrize(
    ("name", "header", "said"),
    [
        ("r.csv", "text;label", "separated by commas, not semicolons"),
        ("r.csv", "text\tlabel", "separated by commas, not tabs"),
        ("r.tsv", "text,label", "separated by tabs, not commas"),
    ],
)
def test_columns_that_are_separated_otherwise_are_named(tmp_path, name, header, said):
    mark = header[4]
    (tmp_path / name).write_text(f"{header}\ngood{mark}pos\n")
    with pytest.raises(HardpromptError, match=said):
        draft_of(TaskChoice(data=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{text} {prompt}{label}", "melts into the text"),
        ("{prompt}{text} {label}", "leaves no clean place"),
    ],
)
def test_an_unfit_template_breaks_a_search_only_if_it_is_the_one(
    tmp_path, balanced, template, said
):
    path = csv_of(tmp_path / "r.csv", balanced)
    assert said in found("--data", path, "--template", template, code=1)["template"]["message"]
    call("new-task", path, "--output", tmp_path / "task")
    file = tmp_path / "task" / "task.toml"
    text = file.read_text(encoding="utf8").replace(
        "{text} {prompt} {label}", "{prompt}{text} {label}"
    )
    file.write_text(text, encoding="utf8")
    assert found(file, code=0)["template"]["level"] == "warning"
    assert found(file, "--template", "suffix", code=1)["template"]["count"] > 0


def test_a_template_with_words_behind_the_label_is_only_for_masked_models(
    tmp_path, balanced, tiny_folder
):
    path = csv_of(tmp_path / "r.csv", balanced)
    call("new-task", path, "--output", tmp_path / "task")
    file = tmp_path / "task" / "task.toml"
    text = file.read_text(encoding="utf8")
    other = text.replace("{text} {prompt} {label}", "{text} {prompt} {label} .")
    assert other != text
    file.write_text(other, encoding="utf8")
    finding = found(file, "--model", tiny_folder, code=0)["template"]
    assert finding["level"] == "warning"
    assert "a causal model reads from left to right" in finding["message"]
    with pytest.raises(UsageError, match="a causal model reads from left to right"):
        call("check", file, "--model", tiny_folder, "--template", "suffix")


def test_check_needs_a_task_that_can_be_read(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'sentiment'"):
        call("check", "sentimnt")
    with pytest.raises(UsageError, match="exclude each other"):
        call("check", "sentiment", "--data", tmp_path / "x.csv")


HOSTILE = ['a "quote" and \\ slash', "two\nlines", "U+2028 \u2028 here", "del \x7f", "{braces}"]


def test_a_new_task_is_the_same_task_and_runs(tmp_path, tiny_folder, monkeypatch):
    table = [
        {"body": f"{text} {i}", "kind": label}
        for i in range(8) for text in HOSTILE for label in ("Sci/Tech", 'he said "x"')
    ]  # fmt: skip
    for number, row in enumerate(table):
        row["body"] += f" {number}"
    path = tmp_path / "my rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf8")
    monkeypatch.chdir(tmp_path)
    options = ["--text-field", "body", "--label-field", "kind", "--seed", "7"]
    text = call("new-task", path, *options).stdout
    assert "'my rows/task.toml': train" in text or "my rows/task.toml: train" in text
    folder = tmp_path / "my rows"
    assert {file.name for file in folder.iterdir()} == {
        "task.toml", "train.jsonl", "dev.jsonl", "test.jsonl",
    }  # fmt: skip
    whole = {"search_rows": None, "dev_rows": None}
    own = load_choice(
        TaskChoice(data=str(path), text_field="body", label_field="kind", seed=7, search_rows=None),
        dev_rows=None,
    )
    for name in ("my rows/task.toml", "./my rows"):
        task = load_task(name, **whole)
        for part in ("name", "labels", "templates", "manual", "search", "dev", "test"):
            assert getattr(task, part) == getattr(own, part), part
    results = call("search", "--task", folder, "--model", tiny_folder, "--len", 2, "--budget", 4,
                   "--vocab-top", 50, "--output-dir", tmp_path / "runs", "--json")  # fmt: skip
    assert json.loads(results.stdout)["task"]["rows"]["test"] == len(own.test)
    assert next((tmp_path / "runs").iterdir()).name.startswith("my_rows__")


def test_the_task_file_says_what_may_be_changed(tmp_path, balanced):
    path = csv_of(tmp_path / "r.csv", balanced)
    call("new-task", path, "--output", tmp_path / "new", "--labels", "pos=great,neg=terrible")
    text = (tmp_path / "new" / "task.toml").read_text(encoding="utf8")
    tables = tomllib.loads(text)
    assert set(tables) == {"task", "label_words", "templates", "manual", "data"}
    assert tables["label_words"] == {"pos": "great", "neg": "terrible"}
    for table in tables:
        before, _, body = text.partition(f"\n[{table}]\n")
        assert before.split("\n")[-1].startswith("#") or "  # " in body.split("\n[")[0], table
    assert "may be edited" in text


def test_new_task_overwrites_nothing_and_leaves_nothing_half_written(
    tmp_path, balanced, monkeypatch
):
    path = csv_of(tmp_path / "r.csv", balanced)
    target = tmp_path / "new"
    call("new-task", path, "--output", target)
    before = {file: file.read_bytes() for file in target.iterdir()}
    with pytest.raises(UsageError, match="is there already"):
        call("new-task", path, "--output", target)
    assert before == {file: file.read_bytes() for file in target.iterdir()}
    bad = csv_of(tmp_path / "bad.csv", [*balanced, ("", "neg")])
    with pytest.raises(HardpromptError, match="line 202"):
        call("new-task", bad, "--output", tmp_path / "bad")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(HardpromptError, match="No space left"):
        call("new-task", path, "--output", tmp_path / "full")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.csv", "new", "r.csv"]


def test_a_search_on_own_data_resumes_from_anywhere_but_not_on_changed_data(
    tmp_path, balanced, tiny_folder, monkeypatch
):
    path = csv_of(tmp_path / "r.csv", balanced[:20] + balanced[-20:])
    monkeypatch.chdir(tmp_path)
    results = json.loads(
        call("search", "--data", "r.csv", "--labels", "neg=terrible,pos=great", "--len", 2,
             "--model", tiny_folder, "--budget", 8, "--vocab-top", 50, "--output-dir", "runs",
             "--json").stdout
    )  # fmt: skip
    run = tmp_path / results["run"]
    assert run.name.startswith("r__")
    assert json.loads((run / "run.json").read_text())["config"]["data"] == str(path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = json.loads(call("search", "--resume", run, "--json").stdout)
    assert again["best"] == results["best"]
    table = call("search", "--resume", run).stdout
    tested = [line for line in table.split("\n") if "too few rows for a test figure" in line]
    assert len(tested) >= 4  # three of the best and the empty prompt
    assert all("] (too few rows for a test figure)" in line for line in tested)
    with path.open("a", encoding="utf8") as file:
        file.write("one more,neg\n")
    with pytest.raises(HardpromptError, match=r"cannot be resumed.*task"):
        call("search", "--resume", run)
