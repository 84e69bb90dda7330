"""The yardstick measures what it says: tables equal the engine, and the arithmetic is right."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import strategies, truth
from benchmarks.curves import curve, curves, panel
from benchmarks.entrants import SCHEDULES, Cost, Entrant, Schedule, chosen, published, registered
from benchmarks.places import PLACES, Place
from benchmarks.reality_report import better, compared
from benchmarks.regret import paired, quartiles, regrets, sign_test
from hardprompt.config import RunConfig
from hardprompt.errors import UsageError
from hardprompt.gap import Range
from hardprompt.ledger import Ledger
from hardprompt.presets import PRESETS, Preset
from hardprompt.registry import make_strategy, strategy_names
from hardprompt.session import Session
from hardprompt.study import Study
from hardprompt.types import EMPTY, Batch
from tests.conftest import write_moods


@pytest.fixture(scope="module")
def session(tiny_folder, tmp_path_factory):
    """A space of 81 pairs of six words and three endings, which melt into the word before."""
    config = RunConfig(
        task=str(write_moods(tmp_path_factory.mktemp("tables") / "moods")),
        model=str(tiny_folder), template="suffix", length=2, vocabulary_top=6,
        dtype="float32", strategy="random", start=("random",), budget=40.0,
    )  # fmt: skip
    session = Session.prepare(config)
    pieces = {session.model.codec.piece([i]): i for i in range(len(session.space.embeddings))}
    endings = [pieces[ending] for ending in ("s", "ed", "ing")]
    tokens = np.sort([*session.space.tokens, *endings])
    session.space = replace(session.space, tokens=tokens)
    return session


@pytest.fixture(scope="module")
def looked_up(session, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "ROOT", tmp_path_factory.mktemp("root"))
        table = truth.load("tiny", session, lambda line: None)
    return truth.TableObjective(session.objective, table)


def test_a_table_holds_what_the_engine_measures(session, looked_up):
    ids = looked_up.table.ids
    assert len(ids) == 1 + 9 + 81
    real, told = (objective.measure(Batch(ids=ids)) for objective in (session.objective, looked_up))
    assert 0 < np.isnan(real.loss).sum() < 81
    np.testing.assert_allclose(told.loss, real.loss, atol=1e-5)
    assert told.exact.all()
    pairs = ids[:, 1] != EMPTY
    assert looked_up.table.scale.optimum == pytest.approx(np.nanmin(real.loss[pairs]), abs=1e-5)
    assert len(looked_up.table.whole) == 81


def test_a_table_answers_subsets_of_the_rows(session, looked_up):
    batch = Batch(ids=session.space.random(np.random.default_rng(0), 12), examples=np.arange(3, 9))
    real, told = (objective.measure(batch) for objective in (session.objective, looked_up))
    np.testing.assert_allclose(told.loss, real.loss, atol=1e-5)


def test_slopes_points_and_proposals_are_the_models_own(session, looked_up):
    row = session.space.tokens[:2][None]
    for batch in (
        Batch(ids=row, wants_gradient=True),
        Batch(ids=np.repeat(row, 2, axis=0), wants_gradient=True, examples=np.arange(4)),
        Batch(embeds=session.space.embeddings[row], wants_gradient=True),
    ):
        for _ in range(2):  # the second time from memory
            told, real = looked_up.measure(batch), session.objective.measure(batch)
            np.testing.assert_allclose(told.loss, real.loss, atol=1e-6)
            np.testing.assert_allclose(told.gradient, real.gradient, atol=1e-6)
    so_far = np.array([[EMPTY, EMPTY], [row[0, 0], EMPTY]])
    batch = Batch(ids=so_far, wants_proposals=4, examples=np.arange(2))
    told, real = looked_up.measure(batch), session.objective.measure(batch)
    np.testing.assert_array_equal(told.proposals.ids, real.proposals.ids)
    np.testing.assert_allclose(told.proposals.log_probs, real.proposals.log_probs, atol=1e-6)
    np.testing.assert_allclose(told.loss, real.loss, atol=1e-5)


@pytest.mark.parametrize("name", ["evolution", "beam", "exhaustive"])
def test_a_search_with_permissions_is_the_same_by_look_up(session, looked_up, tmp_path, name):
    """Rows that the engine drops, and the table does not, are told alike."""
    rankings = []
    for number, objective in enumerate((session.objective, looked_up)):
        space = replace(session.space, budget=60.0)
        with Ledger.create(tmp_path / f"{number}.db", {}) as ledger:
            study = Study(objective, make_strategy(name), space, ledger, budget=60.0)
            study.run()
        rankings.append([(found.ids.tolist(), found.loss) for found in study.ranking()])
    real, told = rankings
    assert [ids for ids, _ in told] == [ids for ids, _ in real]
    np.testing.assert_allclose([x for _, x in told], [x for _, x in real], atol=1e-5)


def test_a_table_that_was_cut_off_is_measured_to_its_end(session, looked_up, tmp_path, monkeypatch):
    monkeypatch.setattr(truth, "CHUNK", 40)
    ids, whole, part = looked_up.table.ids, looked_up.table.terms, tmp_path / "some.part"
    truth.build(session, ids, part, lambda line: None)
    table = np.lib.format.open_memmap(part, mode="r+")
    np.testing.assert_allclose(table, whole, atol=1e-5)
    table[40:80], table[0, 0] = truth.MISSING, 7.0
    table.flush()
    truth.build(session, ids, part, lambda line: None)
    table = np.load(part)
    assert table[0, 0] == 7.0  # what was there is not measured again
    np.testing.assert_allclose(table[40:], whole[40:], atol=1e-5)


def test_a_table_of_other_words_is_another_file(session):
    other = replace(session, space=replace(session.space, tokens=session.space.tokens[:5]))
    assert truth.fingerprint(session) != truth.fingerprint(other)


def test_regret_over_the_budget_is_that_of_the_best_so_far():
    curve, scale = [[3.0, 0.9], [10.0, 0.5], [12.0, 0.2]], Range(0.1, 0.5)
    found = regrets(curve, scale, [2, 3, 9.99, 10, 11, 100])
    np.testing.assert_allclose(found, [1, 2, 2, 1, 1, 0.25])
    assert regrets([], scale, [5]).tolist() == [1]  # no whole prompt yet


def test_quartiles_are_over_the_seeds():
    np.testing.assert_allclose(quartiles(np.arange(10).reshape(5, 2)), [[2, 3], [4, 5], [6, 7]])


def test_a_paired_difference_and_its_noise():
    first = np.array([0.3, 0.5, 0.1, 0.4])
    assert paired(first, first - 0.1) == pytest.approx((0.1, 0.1, 0.1))
    mean, low, high = paired([0.0, 0.2] * 5, [0.1] * 10)
    assert mean == pytest.approx(0)
    assert low < 0 < high


def test_twelve_of_fifteen_is_a_p_of_0018():
    assert sign_test(12, 15) == pytest.approx(0.0176, abs=1e-4)
    assert sign_test(0, 15) == 1


def test_every_strategy_of_the_registry_takes_part():
    names = {entrant.name for entrant in registered()}
    assert names == set(strategy_names()) - {"exhaustive"}
    assert {entrant.most_seeds for entrant in registered() if entrant.name == "relax"} == {3}


def test_entrants_are_written_with_settings_and_budget():
    entrant = Entrant.parse("swap:width=8:replace=1*4")
    assert (entrant.strategy, entrant.times) == ("swap", 4.0)
    assert entrant.settings == {"width": 8, "replace": 1}
    assert entrant.make().width == 8
    assert [one.name for one in chosen(["random*4", "auto"])] == ["random*4", "auto"]
    with pytest.raises(UsageError, match="Did you mean 'width'"):
        Entrant.parse("swap:widht=8")


def test_a_schedule_shrinks_to_the_budget_and_never_grows():
    schedule = Schedule(100, rows=94, slopes=2, lengths=("steps",), widths=("width",))
    settings = {"steps": 500, "width": 100, "top_k": 7}  # 100 * (94 + 2 * 3) rows
    assert schedule.scaled(settings, Cost(100)) == {"steps": 5, "width": 10, "top_k": 7}
    assert schedule.scaled(settings, Cost(0.1)) == {"steps": 1, "width": 2, "top_k": 7}
    assert schedule.scaled(settings, Cost(10**6)) == settings
    few = Schedule(1000, slopes=1, lengths=("steps",), rates=("lr",))
    # Half of the examples a step: a gradient costs half as much.
    scaled = few.scaled({"steps": 1000, "batch": 16, "lr": 0.1}, Cost(60, 4.0, 32))
    assert scaled == {"steps": 30, "batch": 16, "lr": pytest.approx(0.1 / 0.03**0.5)}


def test_presets_take_part_as_published_and_scaled(monkeypatch):
    settings = {"width": 512, "top_k": 256}
    monkeypatch.setitem(PRESETS, "gcg", Preset("swap", settings, "for this test"))
    monkeypatch.setitem(PRESETS, "other", Preset("random", {}, "for this test"))
    found = {entrant.name: entrant.settings for entrant in chosen(["gcg", "other"], Cost(400))}
    assert list(found) == ["gcg (published)", "gcg (scaled)", "other (published)"]
    assert found["gcg (published)"] == settings
    assert found["gcg (scaled)"] == {"width": 29, "top_k": 256}


def test_every_schedule_is_of_settings_that_its_preset_has():
    assert set(PRESETS) <= set(SCHEDULES)
    for entrant in published(Cost(400)):
        assert entrant.make().name == entrant.strategy


def test_the_better_way_of_a_preset_counts():
    def runs(*losses):
        return [{"split": "a", "seed": i, "loss": x} for i, x in enumerate(losses)]

    found = {"auto": runs(3, 4), "gcg (published)": runs(5, 1), "gcg (scaled)": runs(3, 4)}
    assert list(better(found)) == ["auto", "gcg (published)"]
    assert compared(found["auto"], found["gcg (published)"])[:2] == (1, 2)
    assert compared(found["auto"], found["gcg (scaled)"])[:2] == (0, 2)  # a tie is no win
    assert compared(found["auto"], found["gcg (published)"][:1])[:2] == (1, 1)


def test_curves_are_drawn_for_every_strategy():
    budgets = np.array([1.0, 2.0])
    line = curve("a & b", budgets, np.array([[0.5, 0.1], [0.6, 0.2], [1.5, 0.3]]))
    svg = curves([panel("one", budgets, [line]), panel("two", np.ones(1), [])])
    assert svg.count("<polyline") == svg.count("<polygon") == 1
    assert "a &amp; b" in svg
    assert "nan" not in svg


def test_the_yardstick_runs_to_its_report_and_goes_on(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(truth, "ROOT", tmp_path / "tables")
    monkeypatch.setitem(
        PLACES, "tiny", Place(str(write_moods(tmp_path / "moods")), str(tiny_folder), 2, words=6)
    )
    args = strategies.arguments(
        ["truth", "--places", "tiny", "--seeds", "2", "--shares", "0.2", "0.5", "--strategies",
         "auto", "random", "--out", str(tmp_path / "truth")],
    )  # fmt: skip
    strategies.truth_runs.run(args)
    report = (tmp_path / "truth.md").read_text(encoding="utf8")
    content = json.loads((tmp_path / "truth.json").read_text(encoding="utf8"))
    assert len(content["runs"]) == 2 * 2 * 2
    assert all(run["regret"] >= 0 and run["spent"] <= run["budget"] for run in content["runs"])
    assert "| random | 2 |" in report
    assert "</svg>" in (tmp_path / "truth.svg").read_text(encoding="utf8")
    monkeypatch.setattr(strategies.truth_runs, "searched", None)  # nothing is left to search
    strategies.truth_runs.run(args)
    assert (tmp_path / "truth.md").read_text(encoding="utf8") == report


def test_a_grid_that_takes_too_long_is_refused(tmp_path, tiny_folder):
    task = str(write_moods(tmp_path / "moods"))
    args = strategies.arguments(
        ["reality", "--task", task, "--model", str(tiny_folder), "--hours", "1e-9",
         "--out", str(tmp_path / "reality")],
    )  # fmt: skip
    with pytest.raises(SystemExit, match="more than --hours"):
        strategies.reality.run(args)


def test_few_shot_searches_are_compared(tmp_path, tiny_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = strategies.arguments(
        ["reality", "--task", str(write_moods(tmp_path / "moods")), "--model", str(tiny_folder),
         "--len", "2", "--budget", "12", "--strategies", "auto", "random*2", "--out", "reality"],
    )  # fmt: skip
    strategies.reality.run(args)
    content = json.loads((tmp_path / "reality.json").read_text(encoding="utf8"))
    price = content["about"]["gradient_price"]
    assert price > 0
    assert all(run["spent"] <= limit for run, limit in zip(content["runs"], (12, 24), strict=True))
    report = (tmp_path / "reality.md").read_text(encoding="utf8")
    assert "| random*2 | 1 |" in report
    assert "of 1 |" in report
