"""`hardprompt sweep` as a user meets it: parts, tables, plots, resuming."""

import csv
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hardprompt import session
from hardprompt.baselines.base import Unfit
from hardprompt.baselines.linear import TfIdf
from hardprompt.baselines.table import ALL, expand, make_method
from hardprompt.compare import Comparison
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.report.sweep import sweep_report
from hardprompt.report.sweep_plots import length_plot
from tests.conftest import call
from tests.families import save_causal

QUICK = "none,tf-idf,search"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    """A second, smaller model with another tokenizer."""
    return save_causal("metaspace", tmp_path_factory.mktemp("models") / "other")


@pytest.fixture
def options(tiny_folder, task_folder, tmp_path):
    """A sweep of seconds: a tiny random model, 20 prompts of budget."""
    return [
        "--task", task_folder, "--model", tiny_folder, "--len", "2,1", "--budget", "20",
        "--vocab-top", "200", "--methods", QUICK, "--output-dir", tmp_path / "runs",
    ]  # fmt: skip


def swept(*options):
    return json.loads(call("sweep", *options, "--json").stdout)


def only_run(options):
    (folder,) = Path(options[-1]).glob("sweep__*")
    return folder


def refuse(method, bench):
    raise Unfit("its package is not installed")


def rows_of(part):
    return {row["method"]: row for row in part["methods"]}


def test_every_length_and_model_is_one_comparison(options, tiny_folder, other_folder):
    results = swept(*options, "--model", f"{tiny_folder},{other_folder}")
    assert results["schema"] == "hardprompt.sweep/1"
    assert results["lengths"] == [1, 2]
    assert results["levels"] == ["none", "tf-idf"]
    assert results["left"] == []
    names = [str(tiny_folder), str(other_folder)]
    places = [(part["model"], part["length"]) for part in results["parts"]]
    assert places == [(name, length) for name in names for length in (1, 2)]
    folder = only_run(options)
    for part in results["parts"]:
        table = json.loads((folder / part["folder"] / "table.json").read_text(encoding="utf8"))
        assert table["slots"] == [part["length"]]
        assert part["best_discrete"] == table["best_discrete"]
        for row, known in zip(part["methods"], table["methods"], strict=True):
            assert row == {key: value for key, value in known.items() if key != "runs"}
    assert json.loads((folder / "sweep.json").read_text(encoding="utf8")) == results
    with (folder / "sweep.csv").open(encoding="utf8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 2 * 3
    last = rows_of(results["parts"][-1])["search"]
    assert float(lines[-2]["test"]) == last["test"]  # tf-idf is the last of the table
    assert lines[-2]["length"] == "2"


def test_a_part_is_what_compare_gives(options):
    results = swept(*options)
    args = [value for value in options if value not in ("--len", "2,1")]
    compared = json.loads(call("compare", *args, "--len", "2", "--json").stdout)
    found, wanted = rows_of(results["parts"][1]), rows_of(compared)
    for name in QUICK.split(","):
        for key in ("dev", "test", "test_interval", "gain", "rows", "text"):
            assert found[name][key] == wanted[name][key], (name, key)


def test_texts_are_written_as_asked_in_every_part(tiny_folder, tmp_path):
    results = swept(
        "--task", "headline", "--model", tiny_folder, "--len", "1,2", "--methods", "none",
        "--search-rows", "8", "--budget", "20", "--beams", "2", "--max-new-tokens", "3",
        "--output-dir", tmp_path / "runs",
    )  # fmt: skip
    (folder,) = (tmp_path / "runs").glob("sweep__*")
    for part in results["parts"]:
        config = json.loads((folder / part["folder"] / "compare.json").read_text("utf8"))
        assert (config["config"]["beams"], config["config"]["max_new_tokens"]) == (2, 3)
        table = json.loads((folder / part["folder"] / "table.json").read_text(encoding="utf8"))
        assert (table["beams"], table["limit"]) == (2, 3)


def test_methods_without_a_length_are_fitted_once_for_a_model(options):
    swept(*options, "--seeds", "0,3")
    folder = only_run(options)
    for name in ("none", "tf-idf"):
        for seed in (0, 3):
            paths = [next(folder.glob(f"*__len{n}/{name}__seed{seed}.json")) for n in (1, 2)]
            first, second = (json.loads(path.read_text(encoding="utf8")) for path in paths)
            assert second.pop("fitted_at_length") == 1
            assert first == second


def test_adapters_have_the_sizes_that_were_asked_for(options):
    args = [value if value != QUICK else "none,adapter" for value in options]
    results = swept(*args, "--share", "2%,1%", "--len", "1")
    assert results["methods"] == ["none", "adapter-2", "adapter-1"]
    (part,) = results["parts"]
    assert rows_of(part)["adapter-2"]["trained"] > rows_of(part)["adapter-1"]["trained"] > 0


def test_which_methods_use_the_length():
    without = {name for name in expand([ALL]) if not make_method(name).uses_length}
    assert {"none", "manual", "shots", "tf-idf", "probe", "fine-tune", "adapter-3"} <= without
    assert (
        not {"search", "relax", "prompt-tuning", "p-tuning-mlp", "p-tuning-lstm", "prefix", "bbt"}
        & without
    )


def test_every_length_of_a_model_costs_the_same(options, monkeypatch):
    monkeypatch.setattr(session, "default_budget", lambda model, scorer, *_: 10 / sum(scorer.slots))
    args = [value for value in options if value not in ("--budget", "20")]
    results = swept(*args)
    folder = only_run(options)
    assert results["models"][0]["budget"] == {"prompts": 10.0, "rows": 240.0}
    for part in results["parts"]:
        table = json.loads((folder / part["folder"] / "table.json").read_text(encoding="utf8"))
        assert table["budget"] == {"prompts": 10.0, "rows": 240.0}


def test_lengths_may_be_searched_in_other_ways(options, monkeypatch):
    """The short space is searched whole and in full precision, the long one is not."""
    monkeypatch.setattr(session, "screens", lambda model, dtype: True)
    results = swept(*options, "--budget", "250")
    assert [part["skipped"] for part in results["parts"]] == [None, None]
    records = [next(only_run(options).glob(f"*__len{n}/search__seed0.json")) for n in (1, 2)]
    headers = [json.loads(path.read_text(encoding="utf8"))["header"] for path in records]
    assert headers[0]["dtype"] == "float32"
    assert headers[1]["dtype"] == "float32, searched in bfloat16"


def test_plots_show_every_method_once(options, tiny_folder, other_folder):
    swept(*options, "--model", f"{tiny_folder},{other_folder}")
    for name, curves in (("length.svg", 2 * 1), ("size.svg", 2 * 3)):
        root = ElementTree.parse(only_run(options) / name).getroot()
        assert len(list(root.iter(f"{SVG}polyline"))) == curves
        texts = [text.text for text in root.iter(f"{SVG}text")]
        assert all(texts.count(method) == 1 for method in QUICK.split(","))


def test_one_model_has_no_plot_of_sizes(options):
    swept(*options)
    names = {path.name for path in only_run(options).iterdir()}
    assert "length.svg" in names
    assert "size.svg" not in names


def test_what_cannot_be_done_is_named_and_the_rest_goes_on(options, tiny_folder):
    args = [*options, "--model", f"./nowhere,{tiny_folder}", "--len", "1,300"]
    text = call("sweep", *args).stdout
    assert "./nowhere, every length: no model folder './nowhere'" in text
    assert f"{tiny_folder}, length 300: prompt and template take" in text
    results = json.loads((only_run(options) / "sweep.json").read_text(encoding="utf8"))
    assert [part["skipped"] is None for part in results["parts"]] == [False, False, True, False]
    assert results["models"][0]["budget"] is None


def test_the_table_has_a_row_for_each_length_and_one_for_none(options):
    text = call("sweep", *options).stdout
    lines = text.split("\n")
    assert lines[0].endswith(" parameters")
    assert lines[1].split() == ["length", "none", "search", "tf-idf"]
    assert [line.split()[0] for line in lines[3:6]] == ["any", "1", "2"]
    assert sum("*" in line for line in lines[3:6]) == 1
    for part in ("too few rows for a test figure", "Rows that each method may spend",
                 "480", "length.svg"):  # fmt: skip
        assert part in text


def test_methods_whose_rate_was_not_tuned_are_named_for_each_model(options, tiny_folder):
    args = [*options, "--budget", "40", "--methods", "none,prompt-tuning,top-2"]
    line = f"{tiny_folder}, every length: prompt-tuning, top-2: the budget pays for one trial"
    assert line in call("sweep", *args).stdout
    results = json.loads((only_run(options) / "sweep.json").read_text(encoding="utf8"))
    tuned = [rows_of(part) for part in results["parts"]]
    assert [row["prompt-tuning"]["tuned"] for row in tuned] == [False, False]
    assert [row["none"]["tuned"] for row in tuned] == [None, None]


def test_a_level_that_failed_at_the_first_length_is_that_of_the_next_in_table_and_plot(options):
    results = swept(*options)
    first, second = (rows_of(part)["tf-idf"] for part in results["parts"])
    first["skipped"], first["test"] = "out of memory", None
    second |= {"test": 0.123, "test_interval": [0.1, 0.2]}
    shown = next(line for line in sweep_report(results).split("\n") if line.startswith("any"))
    assert "0.123 [0.100, 0.200]" in shown
    assert "0.123" in length_plot(results)


def test_finished_parts_are_not_repeated(options):
    whole = swept(*options)
    folder = only_run(options)
    first, second = (next(folder.glob(f"*__len{n}")) for n in (1, 2))
    shutil.rmtree(second)
    (folder / "sweep.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    again = json.loads(call("sweep", "--resume", "--output-dir", options[-1], "--json").stdout)
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    for part in (*whole["parts"], *again["parts"]):
        for row in part["methods"]:
            del row["seconds"], row["cpu_seconds"]
    assert again == whole
    shutil.rmtree(second / "search__seed0")  # nothing is left to do, so no model is loaded
    assert call("sweep", "--resume", folder).exit_code == 0


def test_what_was_skipped_is_tried_again_once_for_a_model(options, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(TfIdf, "fit", refuse)
        first = swept(*options)
    rows = [rows_of(part)["tf-idf"] for part in first["parts"]]
    assert [row["skipped"] for row in rows] == ["its package is not installed"] * 2
    fitted = []
    fit = TfIdf.fit
    monkeypatch.setattr(TfIdf, "fit", lambda method, bench: fitted.append(1) or fit(method, bench))
    again = json.loads(call("sweep", "--resume", only_run(options), "--json").stdout)
    assert len(fitted) == 1
    a, b = (rows_of(part)["tf-idf"] for part in again["parts"])
    assert a["skipped"] is None
    assert a["test"] == b["test"]
    for part, old in zip(again["parts"], first["parts"], strict=True):
        assert rows_of(part)["search"] == rows_of(old)["search"]


def test_a_model_that_is_gone_leaves_what_was_finished(options, tmp_path, tiny_folder, monkeypatch):
    model = shutil.copytree(tiny_folder, tmp_path / "lent")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(TfIdf, "fit", refuse)
        first = swept(*options, "--model", "lent")
    assert {part["model"] for part in first["parts"]} == {str(model)}  # found from any folder
    shutil.rmtree(model)
    again = json.loads(call("sweep", "--resume", only_run(options), "--json").stdout)
    assert again == first


def test_ctrl_c_says_how_to_go_on(options, monkeypatch):
    run = Comparison.run

    def interrupted(work):
        if work.first.config.length == 2:
            raise KeyboardInterrupt
        return run(work)

    monkeypatch.setattr(Comparison, "run", interrupted)
    result = call("sweep", *options)
    folder = only_run(options)
    assert result.exit_code == 130
    assert "Stopped with 1 of 2 parts left." in result.stdout
    assert f"Go on with: hardprompt sweep --resume {folder}" in result.stdout
    left = json.loads((folder / "sweep.json").read_text(encoding="utf8"))["left"]
    assert [place["length"] for place in left] == [2]
    monkeypatch.undo()
    results = json.loads(call("sweep", "--resume", folder, "--json").stdout)
    assert results["left"] == []


def test_another_task_is_not_mixed_with_what_is_recorded(options, task_folder):
    swept(*options)
    rows = (task_folder / "test.jsonl").read_text(encoding="utf8").replace("lovely", "horrid")
    (task_folder / "test.jsonl").write_text(rows, encoding="utf8")
    with pytest.raises(HardpromptError, match=r"cannot be resumed, .* of its task have changed"):
        call("sweep", "--resume", only_run(options))


def test_another_version_is_not_mixed_with_what_is_recorded(options, monkeypatch):
    swept(*options)
    folder = only_run(options)
    shutil.rmtree(next(folder.glob("*__len2")))
    monkeypatch.setattr("hardprompt.__version__", "9.9")
    with pytest.raises(HardpromptError, match="because these differ: hardprompt"):
        call("sweep", "--resume", folder)


MISUSE = [
    (["--task", "sentimnt"], UsageError, "Did you mean 'sentiment'"),
    (["--metric", "acuracy"], UsageError, "Did you mean 'accuracy'"),
    (["--methods", "serch"], UsageError, "Did you mean 'search'"),
    (["--model", "mimi"], UsageError, "Did you mean 'mini'"),
    (["--model", ""], UsageError, "--model takes different models"),
    (["--model", "mini,mini"], UsageError, "--model takes different models"),
    (["--model", "a,b", "--revision", "main"], UsageError, "--revision is of one model"),
    (["--len", "0,1"], UsageError, "--len takes different numbers from 1"),
    (["--len", "2,2"], UsageError, "--len takes different numbers from 1"),
    (["--len", ""], UsageError, "--len takes different numbers from 1"),
    (["--seeds", "1,1"], UsageError, "--seeds are different numbers"),
    (["--share", "3%"], UsageError, "--share sets sizes of 'adapter', but --methods has none"),
    (["--budget", "0"], UsageError, "--budget must be above 0"),
    (["--budget", "nan"], UsageError, "--budget must be above 0 and finite, got nan"),
    (["--budget", "inf"], UsageError, "--budget must be above 0 and finite, got inf"),
    (["--template", "{prompt:2} {text} {label}"], UsageError, "fixes the length"),
    (["--template", "pre"], UsageError, "no template named 'pre'"),
    (["--vocab", "none.txt"], UsageError, "no word file"),
    (["--labels", "auto"], UsageError, "--labels auto belongs to hardprompt search"),
    (["--resume", "nothing"], UsageError, "no run 'nothing' of hardprompt sweep"),
    (["--resume"], UsageError, "start one with: hardprompt sweep"),
]


@pytest.mark.parametrize(("args", "kind", "message"), MISUSE, ids=lambda value: str(value))
def test_misuse_is_one_line_and_leaves_nothing(tmp_path, args, kind, message):
    with pytest.raises(kind) as caught:
        call("sweep", *args, "--output-dir", tmp_path / "runs")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_lengths_must_be_numbers(tmp_path):
    result = call("sweep", "--len", "2,x", "--output-dir", tmp_path)
    assert result.exit_code == 2
    assert "numbers with commas between them" in result.stderr
