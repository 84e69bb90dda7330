"""The command line as a user meets it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hardprompt import runs
from hardprompt.cli import main
from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.report.compare import stopped_compare_report
from hardprompt.report.search import search_report, stopped_report
from hardprompt.report.sweep import stopped_sweep_report
from hardprompt.runs import read_results
from hardprompt.search import Search
from hardprompt.session import Session
from tests.conftest import call

ROOT = Path(__file__).parents[1]


def hardprompt(*args, **options):
    """Runs the command in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "hardprompt", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=options.pop("cwd", ROOT),
        timeout=240,
        **options,
    )


@pytest.fixture(scope="module")
def options(tiny_folder, tmp_path_factory):
    """A search of a second: a tiny random model, a budget of 30 prompts."""
    root = tmp_path_factory.mktemp("runs")
    return [
        "--model", tiny_folder, "--len", "2", "--budget", "30", "--vocab-top", "200",
        "--output-dir", root,
    ]  # fmt: skip


@pytest.fixture
def finished(options, task_folder):
    """The JSON of a finished search, and its options."""
    result = call("search", "--task", task_folder, *options, "--json")
    return json.loads(result.stdout), options


def test_help_is_fast_because_torch_is_not_imported():
    code = (
        "import sys; from click.testing import CliRunner; from hardprompt.cli import main\n"
        "for args in (['--help'], ['--version'], *([name, '-h'] for name in main.commands)):\n"
        "    assert CliRunner().invoke(main, args).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'optuna', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_search_prints_one_json_object_with_the_documented_fields(finished):
    results, _ = finished
    assert results["schema"] == "hardprompt.results/1"
    fields = {
        "text", "ids", "slots", "certified", "source", "search", "dev", "dev_interval", "test",
        "test_interval", "gain_empty", "gain_empty_interval", "gain_manual",
        "gain_manual_interval", "fluency",
    }  # fmt: skip
    entries = [*results["best"], results["baselines"]["empty"], *results["baselines"]["manual"]]
    assert all(set(entry) == fields for entry in entries)
    assert len(results["baselines"]["manual"]) >= 4
    for key in ("strategy", "template", "budget", "measured", "seed", "run", "timing"):
        assert key in results
    tested = [entry["test"] is not None for entry in results["best"]]
    assert tested == [i < 3 or i == results["pick"] for i in range(len(tested))]
    dev = [entry["dev"] for entry in results["best"]]
    assert dev == sorted(dev, reverse=True)
    assert set(results["strategy_record"]) == {"accept", "steps", "uphill"}  # what swap says
    assert results["measured"] <= results["budget"] == 30


def test_the_pairs_of_a_run_are_those_of_its_search_also_where_it_is_resumed(finished):
    results, options = finished
    again = call("search", "--resume", results["run"], "--output-dir", options[-1], "--json")
    timing, resumed = results["timing"], json.loads(again.stdout)["timing"]
    assert resumed["pieces_replayed"] > timing["pieces_replayed"] == 0
    assert resumed["pieces_drifted"] == 0
    for key in ("pairs", "pairs_saved"):
        assert resumed[key] == timing[key]
    assert timing["pairs"] <= 30 * results["task"]["rows"]["search"]


def test_reported_scores_are_those_of_the_text(finished, tiny_folder, task_folder):
    from hardprompt.config import RunConfig
    from hardprompt.session import Session

    results, _ = finished
    config = RunConfig(task=str(task_folder), model=str(tiny_folder), length=2)
    session = Session.prepare(config)
    gold = session.gold("search")
    entry = results["best"][0]
    scores = session.scorers["search"].by_text((entry["text"],))
    loss = -scores[range(len(gold)), gold].mean()
    # results.json holds six digits.
    assert entry["search"] == pytest.approx(loss, abs=2e-6)
    assert session.model.codec.encode(f"a {entry['text']}")[-2:] == entry["ids"]


def test_inspect_ls_and_files_of_a_run(finished):
    results, options = finished
    root = options[-1]
    folder = Path(results["run"])
    assert {path.name for path in folder.iterdir()} >= {
        "ledger.db", "run.json", "results.json", "prompt.json"}  # fmt: skip
    text = call("inspect", folder, "--output-dir", root).stdout
    for part in ("Classes, on test", "test rows change their class", "Best search loss"):
        assert part in text
    assert json.loads(call("inspect", folder, "--json").stdout) == results
    assert folder.name in call("ls", "runs", "--output-dir", root).stdout
    assert "loss without it" in call("inspect", folder, "--probe").stdout


@pytest.mark.parametrize("projection", ["gumbel", "straight-through"])
def test_a_relaxation_shows_what_rounding_costs(task_folder, options, projection):
    settings = ["--strategy", "relax", "--set", f"projection={projection}", "--set", "steps=2"]
    found = call("search", "--task", task_folder, *options, *settings, "--json").stdout
    results = json.loads(found)
    descents = results["strategy_record"]["descents"]
    best = min(descents, key=lambda descent: descent["repaired"])
    assert len(best["places"]) == len(best["prompt"]) == 2
    assert (best["soft"] is None) == (projection == "straight-through")
    text = call("inspect", results["run"]).stdout
    assert f"the best of {len(descents)} descents" in text
    assert "".join(token["word"] for token in best["prompt"]).strip() in text
    for place in best["places"]:
        assert f"{place['word'].strip()}  " in text


def test_ls_names_what_there_is():
    assert "sentiment" in call("ls", "tasks").stdout
    strategies = call("ls", "strategies").stdout
    assert all(name in strategies for name in ("auto", "beam", "relax", "width=4"))
    assert "mini" in call("ls", "models").stdout


def test_dry_run_measures_and_writes_nothing(task_folder, options):
    root = Path(options[-1])
    before = set(root.iterdir())
    result = call("search", "--task", task_folder, *options, "--dry-run")
    assert set(root.iterdir()) == before
    for part in ("template", "majority baseline", "[prompt]", "labels' own names"):
        assert part in result.stderr


def test_quiet_prints_the_prompt_alone_and_seeds_repeat(task_folder, options):
    first, second = (call("search", "--task", task_folder, *options, "-q") for _ in range(2))
    assert first.stdout == second.stdout
    assert len(first.stdout.strip().split("\n")) == 1
    assert first.stderr == ""


@pytest.mark.parametrize("template", ["suffix", "{prompt:1} so {text} and {prompt:1} {label}"])
def test_other_templates(task_folder, options, template):
    args = [*options, "--template", template, "--min-len", 1, "--json"]
    if "{" in template:
        args = [a for a in args if a not in ("--len", "2")]
    results = json.loads(call("search", "--task", task_folder, *args).stdout)
    assert results["best"][0]["dev"] is not None


@pytest.mark.parametrize("more", [[], ["--json", "--verbose"]], ids=["text", "json"])
def test_ctrl_c_prints_the_table_and_how_to_resume(task_folder, options, more):
    args = [*options, "--budget", "4000", "--len", "3", *more]
    child = subprocess.Popen(
        [sys.executable, "-m", "hardprompt", "search", "--task", task_folder, *map(str, args)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    for line in child.stderr:
        if line.startswith("budget"):
            break
    time.sleep(1.5)
    os.kill(child.pid, signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Go on with: hardprompt search --resume" in (stderr if more else stdout)
    assert not (more and stdout)  # that is for one JSON object
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("command", "name", "value", "shown"),
    [
        ("search", "LEN", "2", "length 2"),
        ("search", "MIN_LEN", "1", "lengths 1 to 5"),
        ("search", "VOCAB_TOP", "12", "12 tokens"),
        ("search", "SET", "width=0", "width must be 1 or more"),
        ("search", "LEN", "abc", "'abc' is not a valid integer"),
    ],
)
def test_options_come_from_the_environment_by_the_names_that_are_typed(
    options, task_folder, command, name, value, shown
):
    args = [command, "--task", task_folder, *options[:2], "--strategy", "swap", "--dry-run"]
    ended = CliRunner().invoke(
        main, list(map(str, args)), env={f"HARDPROMPT_{command.upper()}_{name}": value}
    )
    assert shown in ended.output + str(ended.exception)


def answers(results, *, found=0.6, manual=0.5, none=0.4, words=None, majority=0.3, test=0.6):
    """The results with these figures."""
    entry = results["best"][0] | {"source": "search", "dev": found, "test": test}
    empty, by_hand = results["baselines"]["empty"], results["baselines"]["manual"][:1]
    baselines = {
        "empty": empty | {"dev": none},
        "manual": [one | {"dev": manual} for one in by_hand],
        **({} if words is None else {"words": empty | {"dev": words, "words": {"a": "b"}}}),
    }
    task = results["task"] | {"majority": majority}
    return results | {"best": [entry], "pick": 0, "baselines": baselines, "task": task}


UNBEATEN = (
    "beats the best manual one on dev",
    "better on dev than none at all:",
    "better on dev than none at all, with the label words that were found: 0.7",
    "One answer to all rows does as well on test: 0.6",
)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({}, ()),
        ({"manual": 0.61}, UNBEATEN[:1]),
        ({"none": 0.6}, UNBEATEN[1:2]),
        ({"words": 0.5}, ()),
        ({"words": 0.7}, UNBEATEN[2:3]),
        ({"majority": 0.6}, UNBEATEN[3:]),
        ({"majority": 0.6, "test": 0.61}, ()),
    ],
)
def test_what_simpler_answers_do_as_well_is_said(finished, figures, said):
    report = search_report(answers(finished[0], **figures))
    assert [part for part in UNBEATEN if part in report] == list(said)


@pytest.mark.parametrize(
    ("times", "said"), [(4.02, "4.0x fewer"), (0.8, "1.2x more"), (1, "as many")]
)
def test_what_a_race_saved_is_said_either_way(finished, times, said):
    race = {"level": 0.05, "times": times}
    report = search_report(finished[0] | {"race": race})
    assert f"{said} rows measured; level 0.05" in report


@pytest.mark.parametrize(("metric", "shown"), [("accuracy", 0.5), ("macro-f1", 1 / 3), ("mcc", 0)])
def test_the_majority_is_judged_by_the_metric(options, task_folder, metric, shown):
    shown_header = call(
        "search", "--task", task_folder, *options[:2], "--metric", metric, "--dry-run"
    )
    assert f"majority baseline {shown:.3f}" in shown_header.stderr


def test_commands_that_are_printed_can_be_pasted(finished, tmp_path):
    results, _ = finished
    run = str(tmp_path / "it's a run")
    with pytest.raises(UsageError, match="no run in"):
        read_results(Path(run))
    Path(run).mkdir()
    stopped = {"run": run, "methods": [], "models": [], "parts": [], "left": []}
    with pytest.raises(UsageError, match="has no results yet") as caught:
        read_results(Path(run))
    said = search_report(results | {"run": run}), stopped_report([], run), str(caught.value)
    said += stopped_compare_report(stopped), stopped_sweep_report(stopped)
    commands = [
        shlex.split(line[line.index("hardprompt ") :])
        for text in said
        for line in text.split("\n")
        if "hardprompt " in line
    ]
    assert [command[1] for command in commands] == [
        "inspect", "try", "search", "search", "compare", "sweep"
    ]  # fmt: skip
    assert all(run in command for command in commands)


def test_a_run_goes_on_from_another_folder(task_folder, tiny_folder, tmp_path, monkeypatch):
    place = task_folder.parent
    shutil.copytree(tiny_folder, place / "tiny")
    (place / "words.txt").write_text("so good fun day warm cold bad\n".replace(" ", "\n"))
    (place / "ban.txt").write_text("cold\n")
    monkeypatch.chdir(place)
    call("search", "--task", "moods", "--model", "tiny", "--vocab", "words.txt", "--ban", "ban.txt",
         "--len", 1, "--budget", 4, "--output-dir", "runs", "-q")  # fmt: skip
    (folder,) = (place / "runs").iterdir()
    assert folder.name.startswith("moods__tiny__")
    config = json.loads((folder / "run.json").read_text(encoding="utf8"))["config"]
    for key, name in {"task": "moods", "model": "tiny", "vocabulary": "words.txt",
                      "ban": "ban.txt"}.items():  # fmt: skip
        assert config[key] == str(place / name)
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert call("search", "--resume", folder, "-q").exit_code == 0
    assert "loss without it" in call("inspect", folder, "--probe").stdout


def test_what_is_built_in_is_no_folder_of_that_name(tiny_folder, tmp_path, monkeypatch):
    for name in ("topic", "mini", "words"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    shown = call("search", "--task", "topic", "--vocab", "words", "--len", 1, "--dry-run")
    assert "model     mini" in shown.stderr
    assert "task      topic" in shown.stderr


BAD = [
    (["--task", "sentimnt"], UsageError, "Did you mean 'sentiment'"),
    (["--task", "no/such/folder"], UsageError, "no task file or folder"),
    (["--strategy", "evoltion"], UsageError, "Did you mean 'evolution'"),
    (["--metric", "acuracy"], UsageError, "Did you mean 'accuracy'"),
    (["--objective", "nl"], UsageError, "Did you mean 'nll'"),
    (["--model", "mimi"], UsageError, "Did you mean 'mini'"),
    (["--model", "./nowhere"], UsageError, "no model folder"),
    (["--len", "0"], UsageError, "--len must be 1 or more, got 0"),
    (["--len", "1" + "0" * 15], UsageError, "--len must be 100,000 or less, got 1,000,000,"),
    (["--ban", "none.txt"], UsageError, "no word file"),
    (["--len", "3", "--min-len", "4"], UsageError, "--min-len must be between 1 and --len"),
    (["--budget", "0"], UsageError, "--budget must be above 0"),
    (["--budget", "nan"], UsageError, "--budget must be above 0 and finite, got nan"),
    (["--budget", "inf"], UsageError, "--budget must be above 0 and finite, got inf"),
    (["--time", "inf"], UsageError, "--time must be above 0 and finite, got inf"),
    (["--patience", "nan"], UsageError, "--patience must be above 0 and finite, got nan"),
    (["--dtype", "float23"], UsageError, "Did you mean 'float32'"),
    (["--device", "cuda:99"], UsageError, "--device cuda:99 cannot be used here"),
    (["--template", "{text}"], UsageError, "needs {prompt} at least once"),
    (["--template", "pre"], UsageError, "no template named 'pre'"),
    (["--set", "widht=3", "--strategy", "beam"], UsageError, "Did you mean 'width'"),
    (["--vocab", "none.txt"], UsageError, "no word file"),
    (["--resume", "nothing"], UsageError, "no run 'nothing'"),
    (["--json", "-q"], UsageError, "exclude each other"),
    (["--data", "none.csv"], HardpromptError, "no data file"),
    (["--task", "sentiment", "--data", "x.csv"], UsageError, "--task and --data exclude"),
    (["--data", "x.csv", "--dev", "y.csv"], UsageError, "--dev and --test belong together"),
    (["--labels", "a,b"], UsageError, "--labels belongs to --data"),
]


@pytest.mark.parametrize(("args", "kind", "message"), BAD, ids=[" ".join(b[0]) for b in BAD])
def test_misuse_is_one_line_with_a_way_out(tmp_path, args, kind, message):
    base = [] if "--len" in args else ["--len", "2"]
    with pytest.raises(kind) as caught:
        call("search", *base, *args, "--output-dir", tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_clock_leaves_time_for_dev_and_test(task_folder, tmp_path):
    session = Session.prepare(RunConfig(task=str(task_folder), length=2, time=1000.0))
    work = Search(session, tmp_path)
    assert not work._late()
    n_baselines, task = 1 + len(session.manual), session.task
    search, dev = ((10 + n_baselines) * len(rows) for rows in (task.search, task.dev))
    work._row_seconds = 500 / search
    assert not work._late()
    work._answer_seconds = 510 / (dev + 6 * len(task.test))
    assert work._late()


def test_a_resumed_run_knows_what_its_rows_took(task_folder, tiny_folder, tmp_path):
    config = RunConfig(task=str(task_folder), model=str(tiny_folder), length=2, budget=5, time=900)
    folder = runs.create(tmp_path, config)
    first, again = (Search(Session.prepare(config), folder) for _ in range(2))
    first.run()
    again.run(resume=True)
    assert again._row_seconds == first._row_seconds > 0


def test_what_is_written_is_timed_by_itself(tiny_folder, tmp_path):
    config = RunConfig(
        task="facts-to-sentence", model=str(tiny_folder), length=2, budget=2, time=900,
        search_rows=4, max_new_tokens=3,
    )  # fmt: skip
    work = Search(Session.prepare(config), runs.create(tmp_path, config))
    work.run()
    assert work._answer_seconds not in (0.0, work._row_seconds)


def test_an_estimate_times_prompts_that_can_be_measured(task_folder, monkeypatch):
    """The first tokens by id are no words: written out, they are read as others."""
    session = Session.prepare(
        RunConfig(task=str(task_folder), vocabulary="all", length=5, budget=50)
    )
    measured, measure = [], session.objective.measure
    monkeypatch.setattr(
        session.objective, "measure", lambda batch: measured.append(batch.ids) or measure(batch)
    )
    assert session.estimate() > 0
    assert all(session.scorers["search"].survives(ids).all() for ids in measured)


def test_errors_leave_with_their_exit_codes(tmp_path):
    result = hardprompt("search", "--task", "sentimnt", cwd=tmp_path, env=os.environ | {
        "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.strip().count("\n") == 0
    assert result.stderr.startswith("error: no task named 'sentimnt'")
    broken = tmp_path / "task"
    broken.mkdir()
    (broken / "train.jsonl").write_text('{"text": "a", "label": "x"}\n{broken\n')
    for split in ("dev", "test"):
        (broken / f"{split}.jsonl").write_text('{"text": "a", "label": "x"}\n')
    result = hardprompt("search", "--task", broken)
    assert result.returncode == 1
    assert "train.jsonl line 2 is no JSON" in result.stderr


@pytest.mark.parametrize(("length", "way"), [(2, r"--vocab-top \d\d"), (10, "a smaller --len")])
def test_an_impossible_exhaustive_search_names_its_cost_and_a_way_out(tmp_path, length, way):
    with pytest.raises(UsageError, match=rf"exhaustive .* needs .* measurements.*{way},"):
        call("search", "--len", length, "--strategy", "exhaustive", "--output-dir", tmp_path)


def test_pickled_weights_are_refused(tiny_folder, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(HardpromptError, match="no safetensors weights"):
        call("search", "--model", folder, "--output-dir", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModelForCausalLM": "x.Y"}}, "code from its own repository"),
        ({"_attn_implementation_internal": "org/kernel"}, "can fetch foreign code"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"architectures": ["BertForMaskedLM"], "model_type": "bert"}, "no whole masked"),
        ({"is_encoder_decoder": True}, "encoder-decoder"),
        ({"model_type": "vit"}, "does not know as a causal model"),
    ],
)
def test_configs_that_run_code_or_do_not_fit_are_refused(tiny_folder, tmp_path, change, message):
    folder = tmp_path / "changed"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(HardpromptError, match=message):
        call("search", "--model", folder, "--output-dir", tmp_path)


def test_long_texts_are_cut_and_counted(task_folder, options):
    row = {"text": "many words of no weight " * 100, "label": "good"}
    with (task_folder / "test.jsonl").open("a", encoding="utf8") as file:
        file.write(json.dumps(row) + "\n")
    result = call("search", "--task", task_folder, *options, "--dry-run")
    assert "1 texts of test are longer than the model's context" in result.stderr
