"""Every command beside `search` on tasks whose answer is a text, and a found prompt that writes."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from hardprompt import HardPrompt, PromptBank, runs
from hardprompt.check import check_task
from hardprompt.config import RunConfig, TaskChoice
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.evaluation import Evaluator, Memory
from hardprompt.predict import CHUNK, predict_rows
from hardprompt.session import Session
from hardprompt.streams import TextRow
from hardprompt.tasks import draft_of, load_choice, load_task
from hardprompt.tasks.rows import sampled
from tests.conftest import call

PLACES = ["harbour", "market", "library", "station", "bridge", "garden", "museum", "river", "mill"]
ROOT = str(Path(__file__).parents[1])
SPLITS = {"train": PLACES[:4], "dev": PLACES[4:6], "test": PLACES[6:]}
TEXTS = ["The old forge opens again.", 'They said "no",\u2028twice.', "many words " * 200]


def row(place):
    return {"source": f"The old {place} opens again on Monday after a long winter of repairs.",
            "references": [f"{place} opens again", f"old {place} is back"]}  # fmt: skip


def saved(folder, **splits):
    folder.mkdir()
    for split, rows in splits.items():
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = {split: [row(place) for place in places] for split, places in SPLITS.items()}
    return saved(tmp_path_factory.mktemp("use") / "heads", **rows)


@pytest.fixture(scope="module")
def found(folder, tiny_folder):
    """The folder of a finished search, with two beams."""
    args = ["--model", tiny_folder, "--len", 2, "--budget", 12, "--vocab-top", 200, "--strategy",
            "random", "--beams", 2, "--max-new-tokens", 5]  # fmt: skip
    result = call("search", "--task", folder, *args, "--json", "--output-dir", folder.parent / "r")
    return Path(json.loads(result.stdout)["run"])


@pytest.fixture(scope="module")
def expected(found):
    """What the found prompt writes for TEXTS."""
    return HardPrompt.from_run(found).write(TEXTS)


def findings(*args, code):
    result = call("check", *args, "--json")
    assert result.exit_code == code, result.output
    content = json.loads(result.stdout)
    return content, {finding["kind"]: finding for finding in content["findings"]}


def lines(finding):
    return [[place["line"] for place in group] for group in finding["rows"]]


def test_check_says_how_much_is_written_and_nothing_of_labels(folder):
    content, kinds = findings(folder, code=0)
    assert set(kinds) == {"few"}
    assert content["kind"] == "generation"
    assert content["labels"] == []
    assert content["written"]["references"] == {"train": 8, "dev": 4, "test": 6}
    shown = call("check", folder).stdout
    assert f"writes    up to {content['written']['limit']} tokens; references: train 8" in shown


def test_check_finds_what_breaks_a_search_and_where(tmp_path):
    good = [row(place) for place in PLACES]
    bad = [{"source": " ", "references": ["x"]}, {"source": 7, "references": ["x"]},
           {"source": "a", "references": []}, {"source": "b", "references": ["x", " "]},
           {"source": "c", "references": None}]  # fmt: skip
    task = saved(tmp_path / "bad", train=[*good, *bad], dev=good[:2], test=good[2:4])
    _, kinds = findings(task, code=1)
    assert lines(kinds["empty"]) == [[10]]
    assert lines(kinds["text"]) == [[11]]
    assert lines(kinds["reference"]) == [[12], [13], [14]]
    assert lines(kinds["leak"]) == [[1, 3], [2, 4]]
    with pytest.raises(HardpromptError, match="line 10: 'source' must be a non-empty text"):
        load_task(str(task))


def test_check_warns_of_repeated_long_and_unreachable_rows(tmp_path):
    good = [row(place) for place in PLACES]
    other = {"source": "THE OLD  market opens again on Monday after a long winter of repairs.",
             "references": ["market"]}  # fmt: skip
    long = {"source": "word " * 1100, "references": ["long"]}
    wordy = {"source": "brief", "references": ["many words " * 20, "more words " * 20]}
    task = saved(tmp_path / "odd", train=[*good[:3], good[0], other, long], dev=[good[4], wordy],
                 test=good[5:])  # fmt: skip
    content, kinds = findings(task, code=0)
    assert set(kinds) == {"few", "duplicates", "apart", "long", "cut"}
    assert lines(kinds["duplicates"]) == [[1, 4]]
    assert lines(kinds["apart"]) == [[2, 5]]
    assert kinds["long"]["rows"] == [[{"file": "train", "line": 6}]]
    assert kinds["cut"]["rows"] == [[{"file": "dev", "line": 2}]]
    assert content["written"]["limit"] < 20


def test_what_may_be_written_is_as_long_as_in_a_search_with_the_same_rows(tmp_path, tiny_folder):
    train = [row(place) for place in PLACES for _ in range(4)]
    for number, given in enumerate(train):
        given["source"] += f" {number}"
        given["references"] = ["opens " * (number + 1), "again"]
    long = {"source": "last", "references": ["opens " * 60]}
    task = saved(tmp_path / "some", train=train, dev=[row("mill")], test=[row("river"), long])
    for more in (["--search-rows", 6], ["--search-rows", 6, "--seed", 3], []):
        written = findings(task, "--model", tiny_folder, *more, code=0)[0]["written"]
        options = dict(zip(("search_rows", "seed"), more[1::2], strict=False))
        config = RunConfig(task=str(task), model=str(tiny_folder), length=2, **options)
        session = Session.prepare(config)
        assert written["limit"] == session.decoding.limit
        draft, model = draft_of(config), session.model
        reach = check_task(draft, model, None, 2, None, config.search_rows, config.seed).reach
        assert reach.reserved == session.splits.reserved >= 60
    kinds = findings(task, "--model", tiny_folder, "--search-rows", 6, code=0)[1]
    assert "the longest of the search rows" in kinds["cut"]["message"]


def test_references_are_read_of_the_rows_that_a_search_would_draw(tmp_path, tiny_folder):
    """Of dev 256 at most: one row that ROUGE can read helps only where it is among them."""
    dev = [{"source": f"text {number}", "references": ["кошка"]} for number in range(300)]
    for seed, code in ((0, 1), (1, 0)):
        drawn = sampled(tuple(range(300)), 256, seed)
        number = next(n for n in range(300) if (n in drawn) == (code == 0))
        rows = [*dev[:number], dev[number] | {"references": ["cat"]}, *dev[number + 1 :]]
        train = [row(place) for place in PLACES]
        task = saved(tmp_path / str(seed), train=train, dev=rows, test=[row("mill")])
        kinds = findings(task, "--model", tiny_folder, "--seed", seed, code=code)[1]
        assert ("metric" in kinds) == bool(code)


def test_check_refuses_a_model_that_cannot_write(folder, tmp_path):
    from tests.families import save_masked

    with pytest.raises(HardpromptError, match="is a masked model, which fills gaps"):
        call("check", folder, "--model", save_masked("bert", tmp_path))


def test_a_file_of_ones_own_is_checked_and_made_a_task(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["article,summary", *(f"text {i},summary {i}" for i in range(24))]))
    options = ["--text-field", "article", "--target-field", "summary"]
    content, kinds = findings("--data", path, *options, code=0)
    assert set(kinds) == {"few"}
    assert content["splits"] == {"train": 12, "dev": 6, "test": 6}
    call("new-task", path, *options, "--output", tmp_path / "new")
    choice = TaskChoice(data=str(path), text_field="article", target_field="summary")
    own, made = load_choice(choice), load_task(str(tmp_path / "new"))
    for part in ("kind", "templates", "manual", "search", "dev", "test"):
        assert getattr(made, part) == getattr(own, part), part
    path.write_text("article,summary\na,b\nA,c\n")
    assert findings("--data", path, *options, code=1)[1]["rare"]["level"] == "error"
    with pytest.raises(HardpromptError, match="3 or more different texts in 'article'"):
        call("new-task", path, *options, "--output", tmp_path / "few")


def test_a_new_task_keeps_all_references_of_a_row(folder, tmp_path):
    lines = (folder / "train.jsonl").read_text().split("\n")
    path = tmp_path / "all.jsonl"
    path.write_text("\n".join(lines))
    call("new-task", path, "--output", tmp_path / "new")
    kept = (tmp_path / "new" / "train.jsonl").read_text().strip().split("\n")
    assert all(line in map(json.dumps, map(row, PLACES)) for line in kept)
    assert findings(tmp_path / "new", code=0)[0]["kind"] == "generation"


def test_eval_says_of_a_found_prompt_what_the_search_said(found, folder):
    results = runs.read_results(found)
    file = found / runs.PROMPT
    args = ["eval", "--task", folder, "--prompts-file", file, "--prompt", "Say it"]
    content = json.loads(call(*args, "--json").stdout)
    best = results["best"][0]
    (mine,) = [entry for entry in content["prompts"] if entry["text"] == best["text"]]
    assert mine == best | {"source": "given"}
    assert (content["limit"], content["beams"]) == (5, 2)
    name = str(content["prompts"].index(mine) + 1)
    for now, was in zip(content["written"]["metrics"], results["written"]["metrics"], strict=True):
        assert now[name] == was["best"]
        assert now["empty"] == was["empty"]
    shown = call(*args).stdout
    assert "Written on test" in shown
    assert "prompt 2" in shown
    assert "precision" not in shown


def test_eval_on_dev_leaves_test_closed(found, folder):
    args = ["--task", folder, "--prompts-file", found / runs.PROMPT, "--split", "dev"]
    content = json.loads(call("eval", *args, "--json").stdout)
    assert all(entry["test"] is None for entry in content["prompts"])
    assert len(content["written"]["samples"]) == len(SPLITS["dev"])
    assert "Written on dev" in call("eval", *args).stdout


def test_figures_of_texts_have_two_decimals_and_one_warning(found):
    shown = call("search", "--resume", found).stdout
    assert shown.count("too few rows for a test figure") == 1
    empty = next(line for line in shown.split("\n") if line.startswith("(no prompt)"))
    value = runs.read_results(found)["baselines"]["empty"]["test"]
    assert f" {value:.2f} [" in empty
    assert "hardprompt try" in shown


def test_try_shows_what_is_written_with_the_prompt_and_without(found, expected):
    content = json.loads(call("try", found, *TEXTS[:2], "--json").stdout)
    prompt = HardPrompt.from_run(found)
    bare = prompt.on().write(TEXTS[:2], with_prompt=False)
    assert [text["with"]["written"] for text in content["texts"]] == expected[:2]
    assert [text["without"]["written"] for text in content["texts"]] == bare
    shown = call("try", found, TEXTS[0], TEXTS[2]).stdout
    assert "with prompt" in shown
    assert shown.count("(cut: too long for the model)") == 1


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_predict_writes_a_text_for_every_row(found, expected, tmp_path, ending):
    source, target = tmp_path / "in.jsonl", tmp_path / f"out.{ending}"
    rows = [{"source": text, "written": "mine"} for text in [TEXTS[0], " ", *TEXTS[1:]]]
    source.write_text("\n".join(map(json.dumps, rows)))
    result = call("predict", found, "--input", source, "--output", target)
    with target.open(encoding="utf8", newline="") as file:
        back = list(csv.DictReader(file)) if ending == "csv" else list(map(json.loads, file))
    assert back.pop(1)["written"] == ("" if ending == "csv" else None)
    assert [line["input_written"] for line in back] == ["mine"] * 3
    given = [line["written"] for line in back]
    formula = ("=", "+", "-", "@")  # which no cell of a table is
    safe = [f"'{text}" if text.startswith(formula) else text for text in expected]
    assert given == (safe if ending == "csv" else expected)
    assert "written   3; of 4 rows" in result.stderr
    assert "left without an answer: 1" in result.stderr
    assert "cut at their end: 1" in result.stderr


def test_rows_are_written_before_the_next_ones_are_read(found):
    read, done = [], []

    def rows():
        for number in range(CHUNK + 3):
            read.append(number)
            yield TextRow("", {"n": number})

    def write(answer):
        assert len(read) - len(done) <= CHUNK
        done.append(answer.fields["n"])

    tally = predict_rows(HardPrompt.from_run(found).on(), rows(), write)
    assert done == list(range(CHUNK + 3))
    assert (tally.empty, tally.written) == (CHUNK + 3, 0)


@pytest.mark.parametrize("to", ["python", "transformers"])
def test_exported_scripts_write_the_same(found, expected, tmp_path, to):
    script = tmp_path / "answer.py"
    call("export", found, "--to", to, "--output", script)
    result = subprocess.run(
        [sys.executable, script], input="\n\n".join(TEXTS), capture_output=True, encoding="utf8",
        timeout=240, cwd=tmp_path,
        env={"PYTHONPATH": ROOT, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["written"] for answer in answers] == expected
    assert not any("label" in answer for answer in answers)


def test_a_run_that_writes_can_be_read_closely(found, folder, tiny_folder):
    readable = json.loads(call("readable", found, "--keep", 0.1, "--json").stdout)
    assert readable["test_opened"] >= 4
    assert HardPrompt.load(found / runs.READABLE).writes
    call("inspect", found, "--probe", "--top", 1)
    space = ["--len", 1, "--vocab-top", 6, "--budget", 4, "--model", tiny_folder]
    args = ["--task", folder, *space, "--output-dir", found.parent / "small", "--json"]
    run = json.loads(call("search", *args).stdout)["run"]
    assert json.loads(call("gap", run, "--json").stdout)["prompts"] <= 6
    bench = ["--task", folder, "--model", tiny_folder, "--len", 2, "--seconds", 0.05]
    assert json.loads(call("bench", *bench, "--json").stdout)["rates"]


def test_what_needs_labels_is_one_line(folder, found, found_run):
    for args, message in (
        (["labels", "--task", folder], "has no labels to find words for"),
        (["search", "--task", folder, "--len", 2, "--labels", "auto"], "finds words for labels"),
        (["search", "--task", "sentiment", "--beams", 2], "takes no --beams"),
        (["eval", "--task", "sentiment", "--prompts-file", found / runs.PROMPT], "no prompt file"),
        (["try", found_run, "text", "--beams", 2], "found for labels"),
        (["try", found, " "], "text 1 is empty"),
        (["search", "--task", folder, "--max-new-tokens", 5000], "leave no room for a text"),
    ):
        with pytest.raises(UsageError) as caught:
            call(*args)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_prompt_file_says_how_its_texts_were_written(found, tmp_path):
    prompt = HardPrompt.from_run(found)
    assert (prompt.writing.limit, prompt.writing.beams) == (5, 2)
    assert HardPrompt.load(found / runs.PROMPT) == prompt
    longer = prompt.on(limit=9, beams=1).write(TEXTS[:2])
    call("predict", found, "--input", _file(tmp_path), "--output", tmp_path / "out.jsonl",
         "--beams", 1, "--max-new-tokens", 9)  # fmt: skip
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf8").split("\n")
    assert [json.loads(line)["written"] for line in lines if line] == longer
    content = prompt.to_json()
    content["scores"] = {**content["scores"], "limit": "many"}
    with pytest.raises(HardpromptError, match="'limit' of its scores must be 1 or more"):
        HardPrompt.from_json(content)


def _file(folder):
    path = folder / "in.jsonl"
    path.write_text("\n".join(json.dumps({"source": text}) for text in TEXTS[:2]))
    return path


def test_a_long_text_is_cut_as_in_the_search(tmp_path, tiny_folder):
    """Also where a reference of test, longer than what is written, takes room from the texts."""
    rows = [row(place) for place in PLACES[:3]]
    long = {"source": "many words " * 300, "references": ["far more words " * 12]}
    task = saved(tmp_path / "long", train=rows, dev=rows, test=[long])
    config = RunConfig(task=str(task), model=str(tiny_folder), length=2, budget=4)
    session = Session.prepare(config)
    prompts = ("good day",)
    written = Evaluator(session, Memory()).written(prompts, "test")
    assert session.splits.cut["test"] == 1
    entry = json.loads(
        call("eval", "--task", task, "--model", tiny_folder, "--prompt", prompts[0],
             "--json").stdout
    )  # fmt: skip
    results = entry | {"task": entry["task"]}
    prompt = HardPrompt.from_entry(results, entry["prompts"][0])
    assert prompt.writing.reserved > prompt.writing.limit
    assert prompt.on(session.model).shortened([long["source"]]) == session.scorers["test"].texts
    assert prompt.on(session.model).write([long["source"]]) == written


def test_a_run_goes_on_only_as_its_texts_were_written(found):
    config = runs.read_config(found)
    header = Session.prepare(config).header()
    assert (header["beams"], header["max_new_tokens"]) == (2, 5)
    plain = Session.prepare(RunConfig(task=config.task, model=config.model, length=2)).header()
    assert "beams" not in plain  # as in the runs of before there were any
    assert "max_new_tokens" not in plain


def test_a_bank_refuses_a_prompt_that_writes(found):
    prompt = HardPrompt.from_run(found)
    with pytest.raises(UsageError, match="a bank answers with labels"):
        PromptBank(prompt.load_model()).add("heads", prompt)
