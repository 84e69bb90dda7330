"""`try`, `predict` and `export`: a found prompt at work."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hardprompt import HardPrompt, runs
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.load import load_model
from hardprompt.predict import CHUNK, predict_rows
from hardprompt.prompt import find_prompt
from hardprompt.scoring.losses import normalise
from hardprompt.session import Session
from hardprompt.streams import TextRow, read_texts
from hardprompt.tasks import load_choice
from tests.conftest import call

TEXTS = ["lovely warm day", "cold wet night", 'all "we" had,\u2028lost', "many words " * 150]
# Scripts print six digits, and batches add in another order.
CLOSE = 1e-5


@pytest.fixture(scope="module")
def expected(found_run):
    """Label and probabilities of TEXTS."""
    prompt = HardPrompt.from_run(found_run)
    names = [label.name for label in prompt.labels]
    shares = np.exp(prompt.log_probs(TEXTS))
    return [(names[int(row.argmax())], dict(zip(names, row, strict=True))) for row in shares]


def agree(found, expected):
    for row, (label, shares) in zip(found, expected, strict=True):
        assert row["label"] == label
        assert row["probabilities"] == pytest.approx(shares, abs=CLOSE)


def test_try_shows_both_sides_and_what_is_read(found_run, expected):
    prompt = HardPrompt.from_run(found_run)
    result = call("try", found_run, *TEXTS[:2], "--json")
    found = json.loads(result.stdout)
    agree([text["with"] for text in found["texts"]], expected[:2])
    for text, source in zip(found["texts"], TEXTS, strict=False):
        assert prompt.filled(source) in text["with"]["reads"]
        assert prompt.text not in text["without"]["reads"]
        assert text["with"]["probabilities"] != text["without"]["probabilities"]
    shown = call("try", "latest", TEXTS[0], TEXTS[3], "--output-dir", found_run.parent).stdout
    assert "with prompt" in shown
    assert shown.count("(cut: too long for the model)") == 1


@pytest.mark.parametrize("ending", ["txt", "csv", "tsv", "jsonl"])
def test_predict_keeps_rows_and_fields(found_run, expected, tmp_path, ending):
    source, target = tmp_path / f"in.{ending}", tmp_path / "out.jsonl"
    rows = [{"id": f"{i}", "review": text, "label": "mine"} for i, text in enumerate(TEXTS)]
    rows.insert(1, {"id": "empty", "review": " ", "label": ""})
    with source.open("w", encoding="utf8", newline="") as file:
        if ending == "txt":
            file.write("".join(f"{row['review']}\n" for row in rows))
        elif ending == "jsonl":
            file.write("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
        else:
            table = csv.DictWriter(file, rows[0], delimiter="\t" if ending == "tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    field = [] if ending == "txt" else ["--text-field", "review"]
    result = call("predict", found_run, "--input", source, "--output", target, *field)
    found = [json.loads(line) for line in target.read_text(encoding="utf8").split("\n") if line]
    empty = found.pop(1)
    assert empty["label"] is None
    assert empty["probabilities"] is None
    agree(found, expected)
    if ending == "txt":
        assert [row["text"] for row in found] == TEXTS
    else:
        kept = [(row["id"], row["review"], row["input_label"]) for row in found]
        assert kept == [(f"{i}", text, "mine") for i, text in enumerate(TEXTS)]
    assert "without a label: 1" in result.stderr
    assert "cut at their end: 1" in result.stderr


def test_tables_hold_no_formulas(found_run, expected, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    dangers = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "\0x"]
    rows = [{"text": TEXTS[0], "note": note, "n": -3, "none": None} for note in dangers]
    source.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    call("predict", found_run, "--input", source, "--output", target)
    with target.open(encoding="utf8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["note"] for row in found] == [f"'{note}" for note in dangers]
    assert {row["n"] for row in found} == {"'-3"}
    label, shares = expected[0]
    for row in found:
        assert row["label"] == label
        assert {name: float(row[f"p_{name}"]) for name in shares} == pytest.approx(
            shares, abs=CLOSE
        )


def rows_of(path):
    if path.suffix == ".csv":
        with path.open(encoding="utf8", newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text(encoding="utf8").split("\n") if line]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_fields_that_have_names_of_ours_are_all_kept(found_run, tmp_path, ending):
    source, target = tmp_path / "in.jsonl", tmp_path / f"out.{ending}"
    given = {"text": TEXTS[0], "label": "a", "input_label": "b", "input_input_label": "c"}
    source.write_text(json.dumps(given), encoding="utf8")
    call("predict", found_run, "--input", source, "--output", target)
    (row,) = rows_of(target)
    assert row["label"] in ("bad", "good")
    assert {name: row[name] for name in given if name != "label"} == {
        name: given[name] for name in given if name != "label"
    }
    assert row["input_input_input_label"] == "a"


def test_rows_of_a_table_may_name_their_fields_in_any_order(found_run, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"text": "fine", "n": 1}\n{"n": 2, "text": "dull"}\n')
    call("predict", found_run, "--input", source, "--output", target)
    assert [(row["text"], row["n"]) for row in rows_of(target)] == [("fine", "1"), ("dull", "2")]
    source.write_text('{"text": "fine", "n": 1}\n{"text": "dull"}\n')
    with pytest.raises(HardpromptError, match=r"the fields text, the first one text, n; a table"):
        call("predict", found_run, "--input", source, "--output", target)


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_table_without_rows_keeps_its_first_line(found_run, tmp_path, ending):
    source, target = tmp_path / f"in.{ending}", tmp_path / "out.csv"
    source.write_text("=id,text,label\n".replace(",", "," if ending == "csv" else "\t"))
    call("predict", found_run, "--input", source, "--output", target)
    assert target.read_bytes() == b"'=id,text,input_label,label,p_bad,p_good\r\n"
    call("predict", found_run, "--input", source, "--output", tmp_path / "out.jsonl")
    assert rows_of(tmp_path / "out.jsonl") == []


def test_rows_without_the_field_have_no_text_and_numbers_that_are_none_become_null(
    found_run, expected, tmp_path
):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given = '{"n": NaN}\n{"text": "%s", "n": [-Infinity, 1e999, 1.5]}\n{"n": 3}\n{"text": NaN}\n'
    source.write_text(given % TEXTS[0])
    call("predict", found_run, "--input", source, "--output", target)
    text = target.read_text()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in text.split("\n") if line]
    assert [row.get("n") for row in rows] == [None, [None, None, 1.5], 3, None]
    assert [row["label"] is None for row in rows] == [True, False, True, True]
    agree(rows[1:2], expected[:1])


def test_a_prompt_file_may_begin_with_a_byte_order_mark(found_run, tmp_path):
    content = (found_run / "prompt.json").read_text(encoding="utf8")
    path = tmp_path / "prompt.json"
    path.write_text(content, encoding="utf-8-sig")
    assert HardPrompt.load(path) == HardPrompt.load(found_run / "prompt.json")
    path.write_text(content.replace('"text": "', '"text": "\\ud83d', 1), encoding="utf8")
    with pytest.raises(HardpromptError, match="is no prompt: it holds half a character"):
        HardPrompt.load(path)


def test_standard_input_and_output(found_run, expected):
    text = "".join(f"{text}\n" for text in TEXTS)
    result = call("predict", found_run, "--input", "-", input=text.encode())
    agree([json.loads(line) for line in result.stdout.split("\n") if line], expected)


def test_rows_are_written_before_the_next_ones_are_read(found_run, tiny_folder):
    """A file of any length fits in memory: never more than one chunk is held."""
    classifier = HardPrompt.from_run(found_run).on()
    read, written = [], []

    def rows():
        for number in range(2 * CHUNK + 3):
            read.append(number)
            yield TextRow("", {"n": number})

    def write(found):
        assert len(read) - len(written) <= CHUNK
        written.append(found.fields["n"])

    done = []
    tally = predict_rows(classifier, rows(), write, done.append)
    assert written == list(range(2 * CHUNK + 3))
    assert done == [CHUNK, CHUNK, 3]
    assert tally.rows == tally.empty == 2 * CHUNK + 3


BAD = [
    ("a.csv", "text,x\none\n", HardpromptError, "line 2 has 1 fields, but the first line names 2"),
    ("a.csv", "txt\none\n", UsageError, "Did you mean 'txt'? Choose one with --text-field"),
    ("a.csv", "", HardpromptError, "is empty"),
    ("a.csv", "text,text\na,b\n", HardpromptError, "names a field twice"),
    ("a.csv", 'text\n"op\nen\n', HardpromptError, "line 2 is broken (unexpected end of data)"),
    ("a.jsonl", '{"text": "a"}\n{"text"\n', HardpromptError, "line 2 is no JSON"),
    ("a.jsonl", '{"text": "a"}\n{"text": "\\ud83d"}\n', HardpromptError, "line 2 holds half a"),
    ("a.jsonl", '{"text": "a"}\n{"x": "\\ud83d"}\n', HardpromptError, "line 2 holds half a char"),
    ("a.jsonl", '{"txt": "a"}\n{"x": 1}\n', UsageError, "Did you mean 'txt'? Choose one with"),
    ("a.jsonl", '{"txt": "a"}\n' * 600 + '{"text": "a"}\n', UsageError, "no field named 'text'"),
    ("a.csv", f'text\none\n"{"x" * 1024**2}x"\n', HardpromptError, "line 3 holds a text of more"),
    ("a.jsonl", "[1]\n", HardpromptError, "line 1 is no JSON object"),
    ("a.jsonl", '{"text": 7}\n', HardpromptError, "line 1: 'text' must be a text, got 7"),
    ("a.txt", b"fine\n\xff\n", HardpromptError, "is not UTF-8 text"),
    ("a.xlsx", "x", UsageError, "must end in one of .txt, .csv, .tsv, .jsonl"),
]


@pytest.mark.parametrize(("name", "content", "kind", "message"), BAD, ids=[b[3] for b in BAD])
def test_bad_input_is_one_line_and_writes_nothing(
    found_run, tmp_path, name, content, kind, message
):
    source = tmp_path / name
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(kind) as caught:
        call("predict", found_run, "--input", source, "--output", tmp_path / "out.jsonl")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def test_misuse_of_files_and_runs_is_said(found_run, tmp_path):
    source = tmp_path / "a.txt"
    source.write_text("one\n")
    rows = tmp_path / "a.jsonl"
    rows.write_text('{"text": "one"}\n')
    for args, message in (
        (["predict", found_run, "--input", tmp_path / "none.txt"], "no input file"),
        (
            ["predict", found_run, "--input", tmp_path / "none.csv", "--output", rows],
            "no input file",
        ),
        (
            ["predict", found_run, "--input", source, "--text-field", "x"],
            "--text-field is for files with fields",
        ),
        (["inspect", found_run, "--probe", "--json"], "--probe is no part of --json"),
        (["bench", "--seconds", "nan"], "--seconds must be above 0 and finite, got nan"),
        (["predict", found_run, "--input", rows, "--output", rows], "is the file of --input"),
        (["predict", found_run, "--input", source, "--output", "a.xls"], "must end in one of"),
        (["predict", "none", "--input", source], "no run 'none'"),
        (["try", "none", "text"], "and 'latest' is the latest"),
        (["try", found_run, " "], "text 1 is empty"),
        (["try", found_run, "x", "half \ud83d"], "text 2 holds half a character"),
        (
            ["eval", "--task", "sentiment", "--prompt", "\udc80"],
            "the prompt holds half a character",
        ),
        (["search", "--start", "\udc80"], "--start holds half a character"),
        (["check", "sentiment", "--template", "\udc80{label}"], "--template holds half a"),
        (["export", found_run, "--number", 99], "the one asked for is not among them"),
        (["export", found_run / "prompt.json", "--number", 2], "holds one prompt"),
        (["try", found_run, "x", "--model", "mimi"], "Did you mean 'mini'"),
    ):
        with pytest.raises(UsageError) as caught:
            call(*args)
        assert message in str(caught.value)
    assert source.read_text() == "one\n"
    with pytest.raises(HardpromptError, match="cannot write"):
        call("export", found_run, "--output", tmp_path / "no" / "folder.txt")


def test_another_model_is_noted(found_run, tiny_folder, tmp_path):
    content = json.loads((found_run / "prompt.json").read_text())
    content["model"]["weights"] = "0" * 64
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content))
    result = call("try", path, "what fun", "--model", tiny_folder)
    assert "its scores do not hold here" in result.stderr


def test_exported_text_and_json_hold_the_prompt(found_run, tmp_path):
    prompt = HardPrompt.from_run(found_run)
    assert call("export", found_run).stdout == f"{prompt.text} {{text}}\n"
    path = tmp_path / "p.json"
    call("export", found_run, "--to", "json", "--output", path)
    assert HardPrompt.load(path) == prompt


@pytest.mark.parametrize("to", ["python", "transformers"])
def test_exported_scripts_run_as_they_are_and_say_the_same(found_run, expected, tmp_path, to):
    script = tmp_path / "classify.py"
    call("export", found_run, "--to", to, "--output", script)
    root = str(Path(__file__).parents[1])
    code = script.read_text(encoding="utf8")
    if to == "transformers":
        assert "import hardprompt" not in code
        assert "from hardprompt" not in code
    result = subprocess.run(
        [sys.executable, script], input="\n\n".join(TEXTS), capture_output=True, encoding="utf8",
        timeout=240, cwd=tmp_path, env={"PYTHONPATH": root, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    agree([json.loads(line) for line in result.stdout.splitlines()], expected)


@pytest.mark.parametrize("to", ["python", "transformers"])
def test_exported_scripts_read_utf8_whatever_the_locale_and_without_its_mark(
    found_run, tmp_path, to
):
    script = tmp_path / "classify.py"
    call("export", found_run, "--to", to, "--output", script)
    env = {"PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1",
           "PYTHONIOENCODING": "latin-1"}  # fmt: skip
    texts = ["ein schöner Tag", "今日は\r晴れ"]

    def run(given):
        return subprocess.run(
            [sys.executable, script], input=given, capture_output=True, timeout=240, env=env
        )

    done = run("\n".join(texts).encode("utf-8-sig"))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == texts
    (tmp_path / "in.txt").write_bytes("\n".join(texts).encode("utf-8-sig"))
    target = tmp_path / "out.jsonl"
    call("predict", found_run, "--input", tmp_path / "in.txt", "--output", target)
    rows = list(map(json.loads, target.read_text(encoding="utf8").split("\n")[:-1]))
    assert [row["label"] for row in rows] == [answer["label"] for answer in answers]
    broken = run(b"a day\n\xff\xfe")
    assert broken.returncode == 1
    last = broken.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("error: standard input is not UTF-8 text (")
    assert b"Traceback" not in broken.stderr


def test_the_script_without_hardprompt_knows_suffixes_and_words_of_several_tokens(
    found_run, tiny_folder, tmp_path, monkeypatch, capsys
):
    import io
    import runpy

    content = json.loads((found_run / "prompt.json").read_text())
    words = [{"name": "a", "word": "quite wonderful"}, {"name": "b", "word": "quite bad"}]
    content |= {"template": "{text} - {prompt} {label}", "labels": words}
    path, script = tmp_path / "p.json", tmp_path / "classify.py"
    path.write_text(json.dumps(content))
    call("export", path, "--to", "transformers", "--output", script)
    monkeypatch.setattr(sys, "argv", [str(script), "--model", str(tiny_folder)])
    given = io.TextIOWrapper(io.BytesIO("\n".join(TEXTS).encode()))
    monkeypatch.setattr(sys, "stdin", given)
    runpy.run_path(str(script), run_name="__main__")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shares = np.exp(find_prompt(str(path), tmp_path).log_probs(TEXTS))
    agree(found, [("ab"[int(row.argmax())], dict(zip("ab", row, strict=True))) for row in shares])


def test_long_texts_are_cut_as_in_the_search_whatever_the_length_of_the_prompt(
    tiny_folder, task_folder, tmp_path, monkeypatch, capsys
):
    import io
    import runpy

    row = {"text": "a lovely day of no weight " * 60, "label": "good"}
    with (task_folder / "test.jsonl").open("a", encoding="utf8") as file:
        file.write(json.dumps(row) + "\n")
    root = tmp_path / "runs"
    args = ["--task", task_folder, "--model", tiny_folder, "--len", 20, "--min-len", 1]
    args += ["--strategy", "random", "--budget", 6, "--dtype", "float32", "--output-dir", root]
    results = json.loads(call("search", *args, "--json").stdout)
    assert results["task"]["cut"]["test"] == 1
    folder = root / Path(results["run"]).name
    lengths = [len(entry["ids"]) for entry in results["best"]]
    assert min(lengths) < 10
    prompt = HardPrompt.from_run(folder, int(np.argmin(lengths)))
    scorer = Session.prepare(runs.read_config(folder)).scorers["test"]
    expected = normalise(scorer.by_text(prompt.texts))
    texts = [example.text for example in load_choice(runs.read_config(folder)).test]
    classifier = prompt.on(load_model(str(tiny_folder)))
    np.testing.assert_allclose(classifier.log_probs(texts), expected, atol=CLOSE)
    assert classifier.shortened(texts) == scorer.texts
    script = tmp_path / "classify.py"
    prompt.save(tmp_path / "p.json")
    call("export", tmp_path / "p.json", "--to", "transformers", "--output", script)
    monkeypatch.setattr(sys, "argv", [str(script), "--model", str(tiny_folder)])
    given = io.TextIOWrapper(io.BytesIO("\n".join(texts).encode()))
    monkeypatch.setattr(sys, "stdin", given)
    runpy.run_path(str(script), run_name="__main__")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [label.name for label in prompt.labels]
    shares = [dict(zip(names, line, strict=True)) for line in np.exp(expected)]
    agree(found, [(max(line, key=line.get), line) for line in shares])


def test_a_row_of_empty_cells_is_a_row(found_run, tmp_path):
    for ending, mark in (("csv", ","), ("tsv", "\t")):
        source = tmp_path / f"in.{ending}"
        source.write_text("id,text\n,\n1,a day\n\n".replace(",", mark), encoding="utf8")
        call("predict", found_run, "--input", source, "--output", tmp_path / "out.jsonl")
        lines = (tmp_path / "out.jsonl").read_text(encoding="utf8").splitlines()
        assert [json.loads(line)["text"] for line in lines] == ["", "a day"]


def test_a_file_called_as_standard_input_is_not_looked_at(found_run, tmp_path):
    (tmp_path / "-").write_text("other\n")
    done = subprocess.run(
        [sys.executable, "-m", "hardprompt", "predict", found_run, "--input", "-"], input="a day\n",
        capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "a day"


def test_mini_is_found_inside_the_installed_package(tmp_path, monkeypatch):
    import runpy

    from hardprompt.models import mini

    script = Path(__file__).parents[1] / "hardprompt" / "exports" / "with_transformers.py"
    assert runpy.run_path(str(script))["embedded_folder"]() == str(mini.FOLDER)


def test_lines_end_with_line_feeds_only(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\u2028two\r\n\nthree".encode())
    with path.open(encoding="utf8", newline="\n") as file:
        assert [row.text for row in read_texts(file, "txt", "text", "a")] == [
            "one\u2028two", "", "three",
        ]  # fmt: skip
