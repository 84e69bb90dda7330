"""`hardprompt transfer`: the prompts of a run on other models."""

import csv
import json
import shutil

import pytest
from click.testing import CliRunner

from hardprompt import runs
from hardprompt.cli import main
from hardprompt.errors import HardpromptError, UsageError
from tests.conftest import call, write_moods
from tests.families import save_causal, save_masked


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    """A model with another tokenizer."""
    return save_causal("byte-level", tmp_path_factory.mktemp("models") / "other")


@pytest.fixture
def run(found_run, tmp_path):
    """A copy of the finished run, so that each test finds it as it was."""
    return shutil.copytree(found_run, tmp_path / "run")


def transferred(*args):
    return json.loads(call("transfer", *args, "--json").stdout)


def test_every_cell_is_what_eval_says_on_that_model(run, other_folder):
    task = runs.read_config(run).task
    found = transferred(run, "--model", other_folder, "--top", 3)
    texts = [prompt["text"] for prompt in found["prompts"]]
    assert texts == [entry["text"] for entry in runs.read_results(run)["best"][:3]]
    args = [part for text in texts for part in ("--prompt", text)]
    wanted = json.loads(
        call("eval", "--task", task, "--model", other_folder, *args, "--json").stdout
    )
    known = {entry["text"]: entry for entry in wanted["prompts"]}
    for prompt in found["prompts"]:
        cell = prompt["cells"][1]
        assert cell == {key: known[prompt["text"]][key] for key in cell}
        assert cell["test"] is not None
        assert cell["gain_empty_interval"] is not None
    assert found["models"][1]["baselines"] == wanted["baselines"]


def test_the_own_model_keeps_its_figures(run, other_folder):
    results = runs.read_results(run)
    found = transferred(run, "--model", other_folder, "--top", 2)
    own = found["models"][0]
    assert own["own"]
    assert own["name"] == results["model"]["name"]
    assert own["best"] == 0  # the run is in the order of its dev
    assert own["notes"] == []
    for prompt, entry in zip(found["prompts"], results["best"], strict=False):
        for key in ("ids", "search", "dev", "test", "gain_empty", "gain_empty_interval"):
            assert prompt["cells"][0][key] == entry[key]
    assert own["baselines"] == results["baselines"]


def test_a_small_vocabulary_of_the_run_does_not_bind_other_models(
    task_folder, tiny_folder, other_folder, tmp_path
):
    ban = tmp_path / "ban.txt"
    ban.write_text("movie\n", encoding="utf8")
    options = ["--task", task_folder, "--model", tiny_folder, "--output-dir", tmp_path / "runs"]
    call("search", *options, "--len", "2", "--budget", "10", "--vocab-top", "12", "--ban", ban)
    ban.unlink()
    (folder,) = (tmp_path / "runs").iterdir()
    for prompt in transferred(folder, "--model", other_folder)["prompts"]:
        assert all(cell["dev"] is not None for cell in prompt["cells"])


def test_texts_are_read_by_each_tokenizer(run, other_folder, tmp_path):
    masked = save_masked("bert", tmp_path / "bert")
    found = transferred(run, "--model", f"{other_folder},{masked}")
    kinds = [model["model"]["kind"] for model in found["models"]]
    assert kinds == ["causal", "causal", "masked"]
    first = [cell["ids"] for cell in found["prompts"][0]["cells"]]
    assert first[0] != first[1] != first[2]
    for number, model in enumerate(found["models"]):
        dev = [prompt["cells"][number]["dev"] for prompt in found["prompts"]]
        assert dev[model["best"]] == max(dev)


def test_files_lie_beside_results_that_stay_as_they_are(run, other_folder):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    found = transferred(run, "--model", other_folder, "--top", 2)
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert set(after) - set(before) == {"transfer.json", "transfer.csv"}
    assert {name: after[name] for name in before} == before
    assert json.loads(after["transfer.json"]) == found
    with (run / "transfer.csv").open(encoding="utf8", newline="") as file:
        lines = list(csv.DictReader(file))
    n_manual = len(found["models"][0]["baselines"]["manual"])
    assert len(lines) == 2 * (2 + 1 + n_manual)
    assert [line["kind"] for line in lines[:3]] == ["found", "found", "empty"]
    cell = found["prompts"][0]["cells"][1]
    line = lines[len(lines) // 2]
    assert (line["model"], line["own"]) == (str(other_folder), "False")
    assert float(line["test"]) == cell["test"]
    assert float(line["gain_low"]) == cell["gain_empty_interval"][0]


def test_figures_are_told_even_where_they_cannot_be_written(run, other_folder):
    (run / "transfer.json").mkdir()  # no file can take its place
    args = ["transfer", run, "--model", other_folder, "--top", 1]
    result = CliRunner().invoke(main, list(map(str, args)))
    assert isinstance(result.exception, HardpromptError)
    assert runs.read_results(run)["best"][0]["text"] in result.stdout


def test_the_matrix_has_a_column_for_each_model(run, other_folder):
    text = call("transfer", run, "--model", other_folder, "--top", 2).stdout
    dev, test, rest = text.split("\n\n", 2)
    assert dev.startswith("dev")
    assert test.startswith("test, over no prompt")
    first = runs.read_results(run)["best"][0]["text"]
    for matrix in (dev, test):
        assert first in matrix
        assert "(no prompt)" in matrix
        assert "(manual)" in matrix
        assert sum(line.count("*") for line in matrix.split("\n")) == 2  # one a model
    for part in ("95% intervals", "test only reports", "too few rows for a test figure",
                 "transfer.json and transfer.csv"):  # fmt: skip
        assert part in rest


def test_a_model_that_does_not_load_is_a_column_with_the_reason(run, other_folder):
    found = transferred(run, "--model", f"no/such/model,{other_folder}", "--top", 1)
    missing = found["models"][1]
    assert "no model folder 'no/such/model'" in missing["skipped"]
    assert missing["model"] is missing["baselines"] is None
    cells = found["prompts"][0]["cells"]
    assert cells[1] is None
    assert cells[2]["dev"] is not None
    text = call("transfer", run, "--model", f"no/such/model,{other_folder}").stdout
    assert "no/such/model: not measured, no model folder" in text
    with (run / "transfer.csv").open(encoding="utf8", newline="") as file:
        assert [row["skipped"] for row in csv.DictReader(file) if row["skipped"]]


def test_a_template_that_a_model_cannot_read_is_a_reason(run, tiny_folder, tmp_path):
    """Text after the label is for masked models only."""
    config = json.loads((run / "run.json").read_text(encoding="utf8"))
    masked = save_masked("bert", tmp_path / "bert")
    args = ["--task", config["config"]["task"], "--model", masked, "--budget", 20, "--len", 2,
            "--strategy", "random", "--template", "{prompt} {text} It was {label} ."]  # fmt: skip
    found = json.loads(call("search", *args, "--output-dir", tmp_path / "runs", "--json").stdout)
    other = save_masked("roberta", tmp_path / "roberta")
    matrix = transferred(found["run"], "--model", f"{tiny_folder},{other}", "--top", 1)
    assert matrix["models"][1]["skipped"] is not None
    assert matrix["models"][2]["skipped"] is None


def test_found_label_words_go_with_their_prompt(task_folder, tiny_folder, other_folder, tmp_path):
    args = ["--task", task_folder, "--model", tiny_folder, "--budget", 40, "--len", 2,
            "--vocab-top", 200, "--labels", "auto", "--output-dir", tmp_path / "runs"]  # fmt: skip
    results = json.loads(call("search", *args, "--json").stdout)
    found = transferred(results["run"], "--model", other_folder, "--top", 2)
    for prompt, entry in zip(found["prompts"], results["best"], strict=False):
        assert prompt["words"] == entry["words"]
        for key in ("search", "dev", "test", "gain_empty"):
            assert prompt["cells"][0][key] == entry[key]
        assert prompt["cells"][1]["test"] is not None


def test_a_run_of_several_slots_transfers(task_folder, tiny_folder, other_folder, tmp_path):
    args = ["--task", task_folder, "--model", tiny_folder, "--budget", 20, "--strategy", "random",
            "--template", "{prompt:1} so {text} and {prompt:1} {label}",
            "--output-dir", tmp_path / "runs"]  # fmt: skip
    results = json.loads(call("search", *args, "--json").stdout)
    found = transferred(results["run"], "--model", other_folder, "--top", 1)
    slots = [[slot["text"] for slot in cell["slots"]] for cell in found["prompts"][0]["cells"]]
    assert slots[0] == slots[1] == [slot["text"] for slot in results["best"][0]["slots"]]


def test_a_task_that_changed_is_refused(task_folder, tiny_folder, other_folder, tmp_path):
    args = ["--task", task_folder, "--model", tiny_folder, "--budget", 20, "--len", 2,
            "--strategy", "random", "--output-dir", tmp_path / "runs"]  # fmt: skip
    folder = json.loads(call("search", *args, "--json").stdout)["run"]
    shutil.rmtree(task_folder)
    write_moods(task_folder)
    rows = (task_folder / "dev.jsonl").read_text(encoding="utf8").replace("lovely", "horrid")
    (task_folder / "dev.jsonl").write_text(rows, encoding="utf8")
    with pytest.raises(HardpromptError, match="of the task have changed"):
        call("transfer", folder, "--model", other_folder)


MISUSE = [
    (["--model", "mimi"], UsageError, "Did you mean 'mini'"),
    (["--model", "no/such/a,no/such/b"], UsageError, "no model folder 'no/such/a'"),
    (["--model", "a,a"], UsageError, "--model takes different models"),
    (["--model", ","], UsageError, "--model takes different models"),
    (["--model", "a,b", "--revision", "main"], UsageError, "--revision is of one model"),
    (["--model", "mini", "--dtype", "float23"], UsageError, "Did you mean 'float32'"),
]


@pytest.mark.parametrize(("args", "kind", "message"), MISUSE, ids=lambda value: str(value))
def test_misuse_is_one_line_and_writes_nothing(run, args, kind, message):
    with pytest.raises(kind) as caught:
        call("transfer", run, *args)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (run / "transfer.json").exists()


def test_the_own_model_needs_no_naming(run, tiny_folder, monkeypatch):
    monkeypatch.chdir(tiny_folder.parent)
    for name in (tiny_folder, tiny_folder.name, f"./{tiny_folder.name}/"):
        with pytest.raises(UsageError, match="is the run's own model, which is always measured"):
            call("transfer", run, "--model", name)


def test_a_run_is_needed(tmp_path):
    with pytest.raises(UsageError, match="no run under"):
        call("transfer", "--model", "mini", "--output-dir", tmp_path)
    assert call("transfer", "latest").exit_code == 2  # --model is required
