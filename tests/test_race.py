"""A race gives up rows by what few examples forecast: how often wrongly, and what is told then."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hardprompt.config import RunConfig
from hardprompt.errors import HardpromptError, UsageError
from hardprompt.ledger import Ledger
from hardprompt.objective import Objective
from hardprompt.registry import make_strategy
from hardprompt.scoring.forecast import FIRST, LEVEL, REFERENCES, Forecast, common_order, looks
from hardprompt.scoring.losses import loss_named
from hardprompt.scoring.plan import Group
from hardprompt.scoring.race import race
from hardprompt.study import Study
from hardprompt.testing import planted_space
from hardprompt.types import EMPTY, Batch
from tests.conftest import call
from tests.test_study import Bars, Keeps, Killed, Run, fixed

N = 128
GOLD = np.repeat([0, 1], [80, 48])
SPACE = planted_space(12, length=3, min_length=1, n_examples=N)


@dataclass
class Planted:
    """A scorer without a model: a prompt's worth, times what an example makes of it, plus noise
    that is its own for every prompt and example."""

    noise: float = 0.15
    labels: tuple = ((0,), (1,))
    measured: int = 0  # pairs

    def __post_init__(self):
        rng = np.random.default_rng(5)
        self.hard = rng.normal(0, 0.4, N)
        self.answers = np.where(GOLD == 1, 1.0, -1.0) + rng.normal(0, 0.3, N)

    def survives(self, ids):
        return ~((ids[:, 0] == 2) & (ids[:, 1] == 4))

    def within(self, examples, n=None):
        examples = np.arange(N) if examples is None else np.sort(examples)
        halves = [examples[examples < 50], examples[examples >= 50]]
        return [(Group(half, (), half), None) for half in halves if len(half)]

    def by_ids(self, ids, parts, out):
        for group, _ in parts:
            out[:, group.examples] = self._log_probs(ids)[:, group.examples]
            self.measured += len(ids) * len(group)

    def shapes(self, ids):
        return []

    def _log_probs(self, ids):
        scores = np.empty((len(ids), N, 2))
        for row, got in zip(ids, scores, strict=True):
            rng = np.random.default_rng([int(token) + 1 for token in row])
            loss = 1.5 + rng.exponential(0.2) + self.hard + 0.3 * rng.normal() * self.answers
            loss = np.maximum(loss + self.noise * rng.normal(size=N), 1e-3)
            got[np.arange(N), GOLD] = -loss
            got[np.arange(N), 1 - GOLD] = np.log1p(-np.exp(-loss))
        return scores


def objective(name="nll", racing=True, scorer=None):
    rng = np.random.default_rng(7) if racing else None
    return Objective(scorer or Planted(), GOLD, SPACE, loss_named(name), racing=rng)


def rows(n):
    found = np.unique(SPACE.random(np.random.default_rng(0), 4 * n), axis=0)
    found = found[Planted().survives(found)]
    return found[np.random.default_rng(1).permutation(len(found))[:n]]


def test_every_beginning_of_the_common_order_has_its_share_of_each_class():
    patterns = np.random.default_rng(2).normal(size=(N, 3))
    order = common_order(GOLD, patterns, np.random.default_rng(0))
    assert sorted(order) == list(range(N))
    for seen in range(1, N + 1):
        share = (GOLD[order[:seen]] == 1).sum()
        assert abs(share - seen * 48 / N) <= 1
    assert (order == common_order(GOLD, patterns, np.random.default_rng(0))).all()
    assert (order != common_order(GOLD, patterns, np.random.default_rng(1))).any()


def patterned(n, noise, rng):
    patterns = rng.normal(size=(3, N))
    return 1 + rng.normal(size=(n, 3)) @ patterns + noise * rng.normal(size=(n, N))


def learned(losses, seed=0):
    references = losses[:REFERENCES]
    return Forecast.learn(references, references, GOLD, np.random.default_rng(seed))


def test_losses_that_are_only_patterns_are_known_from_the_first_look():
    losses = patterned(REFERENCES + 20, 0.0, np.random.default_rng(0))
    forecast = learned(losses)
    low, high = forecast.limits(losses[REFERENCES:, forecast.order[:FIRST]], LEVEL)
    np.testing.assert_allclose(low, losses[REFERENCES:].mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(high, low, atol=1e-9)


def test_the_level_is_how_often_a_row_at_its_bar_is_given_up():
    rng = np.random.default_rng(3)
    wrong: dict[int, list[float]] = {}
    for seed in range(20):
        losses = patterned(REFERENCES + 200, 0.3, rng)
        forecast, mean = learned(losses, seed), losses[REFERENCES:].mean(axis=1)
        for seen in looks(N):
            low, _ = forecast.limits(losses[REFERENCES:, forecast.order[:seen]], LEVEL)
            wrong.setdefault(seen, []).append(float((low > mean).mean()))
    assert list(wrong) == [8, 11, 16, 23, 32, 45, 64, 91]
    for seen, shares in wrong.items():
        level = LEVEL * min(1, 4 * seen / N)
        # 4,000 rows: the share is known to a third of a per cent, more than a quarter of the
        # lowest level; and that the patterns come from noisy references is not counted in it.
        assert level / 2 < np.mean(shares) < 1.5 * level


def test_the_steadied_scatter_is_not_taken_in_by_equal_losses():
    forecast = learned(patterned(REFERENCES, 0.3, np.random.default_rng(0)))
    low, _ = forecast.limits(np.ones((1, FIRST)), LEVEL)
    assert low[0] < 1 - 0.05  # eight equal losses, but a scatter of 0.3 is usual


def test_a_race_gives_up_what_is_above_the_bar_or_the_kept():
    truth = np.arange(6.0)
    seen = np.zeros((6, 3), dtype=int)

    def measure(some, block):
        seen[some, block] += 1

    def limits(some, block):
        return truth[some] - 1.5 / block, truth[some] + 1.5 / block

    finished, saved = race(6, [2, 3, 5], measure, limits, bar=np.full(6, 2.0), keep=None)
    assert finished.tolist() == [True, True, True, False, False, False]
    # Rows 4 and 5 after the first block, row 3 after the second.
    assert seen.sum(axis=0).tolist() == [6, 4, 3]
    assert saved == 2 * 8 + 5
    finished, _ = race(6, [2, 3, 5], measure, limits, bar=None, keep=2)
    assert finished.tolist() == [True, True, True, False, False, False]
    assert race(6, [2, 3, 5], measure, limits, bar=None, keep=None)[0].all()


def test_a_forecast_of_nan_stays_in_the_race():
    def limits(some, block):
        value = np.where(some == 1, np.nan, some.astype(float))
        return value, value

    finished, _ = race(4, [1, 1], lambda some, block: None, limits, bar=np.zeros(4), keep=None)
    assert finished.tolist() == [True, True, False, False]


@pytest.mark.parametrize("name", ["nll", "accuracy", "margin", "piecewise"])
def test_clear_winners_win_with_a_quarter_of_the_work(name):
    truth = objective(name, racing=False).measure(Batch(ids=rows(300))).loss
    raced = objective(name)
    told = raced.measure(Batch(ids=rows(300), keep=10))
    best = np.argsort(truth, kind="stable")[:10]
    # Two of ten may be lost at the level of a look; the first has no near rival here.
    assert told.exact[best].sum() >= 8
    assert told.exact[best[0]]
    assert told.pairs == 300 * N
    assert told.pairs_saved > 0.5 * told.pairs
    spent = raced.scorer.measured - REFERENCES * N
    assert spent == told.pairs - told.pairs_saved


@pytest.mark.parametrize("name", ["nll", "margin"])
def test_what_was_given_up_is_told_as_its_limit_and_never_as_a_score(name):
    truth = objective(name, racing=False).measure(Batch(ids=rows(200))).loss
    bar = np.quantile(truth, np.linspace(0.1, 0.6, 200))
    told = objective(name).measure(Batch(ids=rows(200), bar=bar))
    gone = ~told.exact
    assert gone.sum() > 60
    np.testing.assert_array_equal(told.loss[gone], bar[gone])
    np.testing.assert_allclose(told.loss[~gone], truth[~gone], atol=1e-12)
    kept = objective(name).measure(Batch(ids=rows(200), keep=5))
    limit = np.sort(kept.loss[kept.exact])[4]
    assert (kept.loss[~kept.exact] == limit).all()


def test_rows_under_a_bar_are_given_up_whoever_runs_beside_them():
    bar = np.full(200, float(np.median(objective(racing=False).measure(Batch(ids=rows(200))).loss)))
    whole = objective().measure(Batch(ids=rows(200), bar=bar))
    for piece in (1, 7, 64):
        racer = objective()
        parts = [
            racer.measure(Batch(ids=rows(200)[a : a + piece], bar=bar[a : a + piece]))
            for a in range(0, 200, piece)
        ]
        assert (np.concatenate([told.exact for told in parts]) == whole.exact).all()


def test_nothing_is_raced_without_permission_or_with_too_few_examples():
    for batch in (
        Batch(ids=rows(40)),
        Batch(ids=rows(40), keep=40),
        Batch(ids=rows(40), bar=np.full(40, np.inf)),
    ):
        raced = objective()
        told = raced.measure(batch)
        assert told.exact.all()
        assert raced.scorer.measured == 40 * N  # no references either
    some = np.arange(12)
    raced = objective().measure(Batch(ids=rows(40), keep=4, examples=some))
    plain = objective(racing=False).measure(Batch(ids=rows(40), keep=4, examples=some))
    np.testing.assert_array_equal(raced.loss, plain.loss)
    np.testing.assert_array_equal(raced.exact, plain.exact)


def test_a_share_of_the_examples_is_raced_in_their_own_order():
    some = np.random.default_rng(2).choice(N, 64, replace=False)
    truth = objective(racing=False).measure(Batch(ids=rows(200), examples=some)).loss
    told = objective().measure(Batch(ids=rows(200), keep=10, examples=some))
    best = np.argsort(truth, kind="stable")[:10]
    assert told.exact[best].sum() >= 8
    assert told.pairs == 200 * 64
    assert told.pairs_saved > 0.4 * told.pairs


def test_prompts_that_do_not_survive_are_nan_in_a_race_too():
    broken = np.array([[2, 4, 6], [2, 4, EMPTY]])
    told = objective().measure(Batch(ids=np.concatenate([rows(60), broken]), keep=5))
    assert np.isnan(told.loss[-2:]).all()
    assert told.exact[-2:].all()
    assert told.exact.sum() >= 5 + 2


def test_a_space_without_references_is_not_raced():
    class Alone(Planted):
        def survives(self, ids):
            return (ids == rows(30)[0]).all(axis=1)

    told = objective("margin", scorer=Alone()).measure(Batch(ids=rows(30), bar=np.full(30, -9.0)))
    assert np.isfinite(told.loss).tolist() == [True] + [False] * 29
    assert told.exact.all()  # and a margin has no bound to be dropped by


def test_a_raced_row_is_never_ranked_and_answers_only_lower_bars(tmp_path: Path):
    ids = rows(150)
    truth = objective(racing=False).measure(Batch(ids=ids)).loss
    bar = np.full(150, np.quantile(truth, 0.3))
    raced = objective()
    asked = [Batch(ids=ids, bar=bar), Batch(ids=ids, bar=bar / 2), Batch(ids=ids)]
    run, told = fixed(tmp_path / "l.db", *asked, objective=raced, space=SPACE, budget=500.0)
    gone = ~told[0].exact
    assert (truth[gone] > bar[0]).mean() > 0.9
    assert not told[1].exact.any()
    # Asked for in full, it is measured in full; and free, because it was charged before.
    np.testing.assert_allclose(told[2].loss, truth, atol=1e-12)
    assert run.study.spent == 150.0
    before, _ = fixed(tmp_path / "m.db", asked[0], objective=objective(), space=SPACE)
    ranking = before.study.ranking()
    exact = {row.tobytes(): loss for row, loss in zip(ids, truth, strict=True)}
    assert {found.ids.tobytes() for found in ranking} == {
        row.tobytes() for row in ids[told[0].exact]
    }
    for found in ranking:
        assert found.loss == pytest.approx(exact[found.ids.tobytes()], abs=1e-12)


def search(path: Path, make, **changes) -> Run:
    opened = Ledger.open(path) if path.exists() else Ledger.create(path, {})
    settings = {"budget": 150.0, "seed": 3, "piece": 20, **changes}
    with opened as ledger:
        racer = objective()
        study = Study(racer, make(), SPACE, ledger, **settings)
        return Run(study, racer, study.run())


@pytest.mark.parametrize("make", [Bars, Keeps])
def test_a_raced_search_killed_after_every_piece_equals_an_undisturbed_one(tmp_path: Path, make):
    undisturbed = search(tmp_path / "a.db", make)
    assert undisturbed.study.pairs_saved > 0
    with Ledger.read(tmp_path / "a.db") as ledger:
        pieces = ledger.n_pieces()
    for _ in range(pieces):
        fresh = []

        def die(progress, fresh=fresh):
            if fresh:
                raise Killed

        with pytest.raises(Killed):
            interrupted(tmp_path / "b.db", make, die, fresh)
    resumed = search(tmp_path / "b.db", make)
    assert resumed.objective.scorer.measured == 0
    assert resumed.story() == undisturbed.story()
    assert resumed.study.pairs_saved == undisturbed.study.pairs_saved


def interrupted(path: Path, make, die, fresh) -> None:
    opened = Ledger.open(path) if path.exists() else Ledger.create(path, {})
    with opened as ledger:
        racer = objective()
        measure = racer.measure
        racer.measure = lambda batch: fresh.append(batch) or measure(batch)
        study = Study(racer, make(), SPACE, ledger, budget=150.0, seed=3, piece=20, on_piece=die)
        study.run()


def test_the_piece_changes_nothing_where_every_row_has_its_bar(tmp_path: Path):
    stories = [search(tmp_path / f"{piece}.db", Bars, piece=piece).story() for piece in (1, 7, 64)]
    assert stories[0] == stories[1] == stories[2]


def test_random_search_may_be_raced_once_it_keeps_only_its_best(tmp_path: Path):
    found = {}
    for keep in (None, 10):
        run = search(tmp_path / f"{keep}.db", lambda k=keep: Kept(batch=150, keep=k), piece=256)
        found[keep] = [item.ids.tolist() for item in run.study.ranking(10)]
        assert (run.study.pairs_saved > 0) == (keep is not None)
    assert found[10][0] == found[None][0]
    assert sum(ids in found[None] for ids in found[10]) >= 8


def Kept(**settings):
    return make_strategy("random", settings)


def test_the_option_is_part_of_what_a_resume_goes_by(tiny_folder, task_folder):
    from hardprompt.session import Session

    config = RunConfig(task=str(task_folder), model=str(tiny_folder), length=2, vocabulary_top=200)
    off, on = (Session.prepare(replace(config, race=race)) for race in (False, True))
    assert "race" not in off.header()
    assert on.header() == {**off.header(), "race": LEVEL}
    assert off.objective.racing is None
    with pytest.raises(UsageError, match="--race and --no-drop exclude each other"):
        RunConfig(race=True, dropping=False)


def test_a_raced_command_reports_it_and_resumes_to_the_same_results(
    tiny_folder, task_folder, tmp_path
):
    root = tmp_path / "runs"
    options = [
        "--model", tiny_folder, "--len", 2, "--budget", 60, "--vocab-top", 200, "--strategy",
        "random", "--set", "batch=60", "--set", "keep=10", "--output-dir", root,
    ]  # fmt: skip
    command = call("search", "--task", task_folder, *options, "--race")
    assert (
        "searching takes at most about" in command.stderr
    )  # the estimate knows nothing of the race
    (folder,) = root.iterdir()
    results = json.loads((folder / "results.json").read_text(encoding="utf8"))
    about = results["race"]
    assert about["level"] == LEVEL
    assert about["pairs"] == 60 * 24
    assert about["times"] == pytest.approx(about["pairs"] / about["computed"], abs=1e-6)
    assert f"race: {about['times']:.1f}x fewer rows measured; level 0.05" in command.stdout
    again = json.loads(call("search", "--resume", folder, "--output-dir", root, "--json").stdout)
    assert results | {"timing": None} == again | {"timing": None}
    plain = json.loads(call("search", "--task", task_folder, *options, "--json").stdout)
    assert plain["race"] is None


def test_a_ledger_of_a_race_is_not_that_of_a_search_without(tiny_folder, task_folder, tmp_path):
    from hardprompt.session import Session

    config = RunConfig(task=str(task_folder), model=str(tiny_folder), length=2, vocabulary_top=200)
    raced = Session.prepare(replace(config, race=True))
    with Ledger.create(tmp_path / "l.db", raced.header()) as ledger:
        ledger.check(raced.header())
        with pytest.raises(HardpromptError, match=r"race \(was 0.05, is 'nothing'\)"):
            ledger.check(Session.prepare(config).header())
