"""The mirror of a run in an Optuna storage, and a front from the command line."""

import json

import numpy as np
import optuna
import pytest

from hardprompt import runs
from hardprompt.config import RunConfig, absolute_storage
from hardprompt.errors import UsageError
from hardprompt.ledger import Ledger
from hardprompt.mirror import Mirror, open_storage
from hardprompt.registry import make_strategy
from hardprompt.study import Study
from hardprompt.testing import PlantedObjective, planted_space
from tests.conftest import call

SPACE = planted_space(30, 3, min_length=1)


@pytest.fixture(params=["sqlite", "journal"])
def url(request, tmp_path):
    return (
        f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else f"{tmp_path}/study.log"
    )


def trials(url, name):
    return optuna.load_study(study_name=name, storage=open_storage(url)).get_trials()


def searched(folder, name, settings, budget, *, mirrored):
    """A study of this budget on the ledger of the folder, new or not, with its mirror."""
    pareto = settings.get("sampler") == "nsga2"
    mirror = Mirror(mirrored, "run", SPACE, pareto)
    path = folder / "ledger.db"
    with Ledger.open(path) if path.exists() else Ledger.create(path, {}) as ledger:
        study = Study(
            PlantedObjective(SPACE, broken=0.1),
            make_strategy(name, settings),
            SPACE,
            ledger,
            budget=budget,
            piece=8,
            on_piece=lambda _: mirror.add([(f, str(f.ids)) for f in study.measured(mirror.seen)]),
        )
        study.run()
    return study


@pytest.mark.parametrize(
    ("name", "settings"),
    [("evolution", {}), ("optuna", {"sampler": "tpe"}), ("optuna", {"sampler": "nsga2"})],
)
def test_the_mirror_holds_exactly_the_measured_prompts(url, name, settings, tmp_path):
    for budget in (30, 30, 50):  # a run, the same resumed with nothing to do, and gone on with
        study = searched(tmp_path, name, settings, budget, mirrored=url)
        found = trials(url, "run")
        assert len(found) == len(study.measured()) > 15
        rows = [tuple(trial.params[f"token{i}"] for i in range(3)) for trial in found]
        assert rows == [tuple(item.ids.tolist()) for item in study.measured()]
        assert [trial.values[0] for trial in found] == [f.loss for f in study.measured()]
        assert [trial.user_attrs["prompt"] for trial in found] == [
            str(item.ids) for item in study.measured()
        ]
        if settings.get("sampler") == "nsga2":
            assert [trial.values[1] for trial in found] == [f.fluency for f in study.measured()]


def test_the_mirror_of_a_front_has_the_same_front(url, tmp_path):
    study = searched(tmp_path, "optuna", {"sampler": "nsga2"}, 60, mirrored=url)
    best = optuna.load_study(study_name="run", storage=open_storage(url)).best_trials
    texts = {trial.user_attrs["prompt"] for trial in best}
    assert texts == {str(found.ids) for found in study.front()}


@pytest.fixture
def search(tiny_folder, task_folder, tmp_path):
    def run(*more):
        return call(
            "search", "--task", task_folder, "--model", tiny_folder, "--len", 3, "--budget", 40,
            "--vocab-top", 200, "--output-dir", tmp_path / "runs", "--json", *more,
        )  # fmt: skip

    return run


def test_a_mirror_may_begin_later_and_is_not_filled_twice(search, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    results = json.loads(search("--strategy", "random").stdout)
    root = "--output-dir", tmp_path / "runs", "--json"
    for _ in range(2):
        again = call("search", "--resume", results["run"], "--optuna-storage", url, *root)
        assert json.loads(again.stdout)["best"] == results["best"]
        found = trials(url, runs.find(None, tmp_path / "runs").name)
        assert len(found) == 40
        weight = results["fluency_weight"]
        minimised = [entry["search"] - weight * entry["fluency"] for entry in results["best"]]
        lowest = min(trial.value for trial in found)
        assert lowest == pytest.approx(min(minimised), abs=2e-2)  # bfloat16 may search


@pytest.mark.parametrize("url", ["nothing://here", "mysql://me:secret@127.0.0.1:9/db", "{folder}"])
def test_a_storage_that_cannot_be_opened_is_one_line_before_any_work(search, url, tmp_path):
    with pytest.raises(UsageError) as error:
        search("--optuna-storage", url.format(folder=tmp_path))
    assert "cannot open --optuna-storage" in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("what I bought\n")
    with pytest.raises(UsageError, match="cannot open --optuna-storage"):
        open_storage(str(path))
    assert path.read_text() == "what I bought\n"


def test_passwords_are_not_kept():
    config = RunConfig(optuna_storage="postgresql://me:secret@host/db")
    stored = config.to_json()
    assert stored["optuna_storage"] == "postgresql://me:***@host/db"
    with pytest.raises(UsageError, match="give --optuna-storage beside --resume"):
        open_storage(RunConfig.from_json(stored).optuna_storage)


def test_only_a_search_opens_the_storage_wherever_it_is_called(search, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search("--optuna-storage", "sqlite:///none.db", "--dry-run")
    assert not (tmp_path / "none.db").exists()
    search("--strategy", "random", "--vocab-top", 6, "--optuna-storage", "sqlite:///study.db")
    (folder,) = (tmp_path / "runs").iterdir()
    assert runs.read_config(folder).optuna_storage == f"sqlite:///{tmp_path}/study.db"
    (tmp_path / "study.db").unlink()
    for command in (["gap", folder], ["inspect", folder, "--probe"]):
        call(*command)
    assert not (tmp_path / "study.db").exists()


def test_storages_are_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_storage("sqlite:///a.db") == f"sqlite:///{tmp_path}/a.db"
    assert absolute_storage("a.journal") == f"{tmp_path}/a.journal"
    for url in (f"sqlite:///{tmp_path}/a.db", "sqlite:///:memory:", "mysql://me@host/db"):
        assert absolute_storage(url) == url


def test_pareto_reports_a_front(search):
    result = search("--pareto")
    results = json.loads(result.stdout)
    front = results["front"]
    values = np.array([[e["search"], -e["fluency"], e["length"]] for e in front])
    for row in values:
        assert not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
    assert {entry["length"] for entry in front} > {1}
    assert all(entry["dev"] is not None and entry["test"] is None for entry in front)
    assert all(len(entry["ids"]) == entry["length"] for entry in front)
    assert results["strategy"] == "optuna"

    from hardprompt.report.search import search_report

    report = search_report(results)
    assert all(entry["text"] in report for entry in (front[0], front[-1]))
    assert f"of {len(front)} prompts of the front" in report


def test_a_front_needs_no_weight(search):
    with pytest.raises(UsageError, match="--pareto and --fluency exclude each other"):
        search("--pareto", "--fluency", "0.1")


def test_other_searches_have_no_front(search):
    assert json.loads(search("--strategy", "random").stdout)["front"] is None


@pytest.mark.parametrize("other", [("--strategy", "swap"), ("--set", "sampler=tpe")])
def test_pareto_says_what_it_is_searched_by(search, other):
    with pytest.raises(UsageError, match="--pareto is a search by strategy optuna"):
        search("--pareto", *other)
