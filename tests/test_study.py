"""What the study promises: one search, however often it is cut, killed, extended or resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hardprompt.errors import HardpromptError
from hardprompt.ledger import Ledger
from hardprompt.space import SearchSpace
from hardprompt.strategies.base import Script, Strategy
from hardprompt.study import Found, Progress, Study
from hardprompt.testing import PlantedObjective, planted_space
from hardprompt.types import EMPTY, Batch, BoolArray, Feedback, FloatArray, IntArray

SPACE = planted_space(12, length=3, min_length=1)  # 1,884 prompts: duplicates happen


class Logged(Strategy):
    """Writes down all that it asks and is told."""

    def start(self, space: SearchSpace, rng: np.random.Generator) -> None:
        self.log: list[tuple[Any, ...]] = []
        super().start(space, rng)

    def tell(self, batch: Batch, feedback: Feedback) -> None:
        rows = batch.ids if batch.ids is not None else batch.embeds
        assert rows is not None
        gradient = None if feedback.gradient is None else feedback.gradient.tobytes()
        proposals = None if feedback.proposals is None else feedback.proposals.ids.tobytes()
        told = feedback.loss.tobytes(), feedback.exact.tobytes(), gradient, proposals
        self.log.append((rows.shape, rows.tobytes(), *told))
        super().tell(batch, feedback)

    def children(self, ids: IntArray, n: int) -> IntArray:
        """n random changes of one token each; a third of them EMPTY; some twice."""
        rows = ids[self.rng.integers(len(ids), size=n)].copy()
        tokens = self.rng.choice([*self.space.tokens, *[EMPTY] * 6], size=n)
        rows[np.arange(n), self.rng.integers(self.space.length, size=n)] = tokens
        return self.space.canonical(rows)


class Random(Logged):
    name: ClassVar[str] = "random"

    def search(self) -> Script:
        while True:
            yield Batch(ids=self.space.random(self.rng, 20))


class Bars(Logged):
    """Evolution with a bar per row; what was dropped comes again under other bars."""

    name: ClassVar[str] = "bars"

    def search(self) -> Script:
        ids = self.space.random(self.rng, 6)
        loss = (yield Batch(ids=ids)).trusted()
        while True:
            children = self.children(ids, 30)
            bar = self.rng.choice([*loss, np.inf, np.nan], size=30)
            told = yield Batch(ids=children, bar=bar)
            pool = np.concatenate([ids, children[told.exact]])
            pool, first = np.unique(pool, axis=0, return_index=True)
            loss = np.append(loss, told.loss[told.exact])[first]
            best = np.argsort(loss, kind="stable")[:6]
            ids, loss = pool[best], loss[best]


class Keeps(Logged):
    """A beam that asks for its best few only, and looks at who was not exact."""

    name: ClassVar[str] = "keeps"

    def search(self) -> Script:
        ids = self.space.random(self.rng, 30)
        while True:
            told = yield Batch(ids=ids, keep=4)
            # The number of exact rows steers the search: it must not depend on pieces.
            ids = self.children(ids[told.order()[:4]], 20 + int(told.exact.sum()))


class Gradients(Logged):
    name: ClassVar[str] = "gradients"

    def search(self) -> Script:
        ids = self.space.random(self.rng, 4)
        while True:
            told = yield Batch(ids=ids, wants_gradient=True)
            assert told.gradient is not None
            rows = [ids]
            for row, gradient in zip(ids, told.gradient, strict=True):
                if np.isfinite(gradient).all():
                    swapped = np.tile(row, (len(row), 1))
                    best = self.space.slope(gradient).argmin(axis=1)
                    np.fill_diagonal(swapped, self.space.tokens[best])
                    rows.append(swapped)
            pool = np.concatenate([*rows, self.space.random(self.rng, 2)])
            told = yield Batch(ids=pool)
            ids = pool[told.order()[:4]]


class Points(Logged):
    """Descends between the tokens, and measures the nearest ones."""

    name: ClassVar[str] = "points"

    def search(self) -> Script:
        points: FloatArray = self.rng.normal(size=(3, self.space.length, 8)).astype(np.float32)
        while True:
            told = yield Batch(embeds=points, wants_gradient=True)
            assert told.gradient is not None
            step = np.nan_to_num(told.gradient) * np.float32(0.3)
            points = points - step + self.rng.normal(size=points.shape).astype(np.float32) / 10
            yield Batch(ids=self.space.nearest(points)[..., 0])


class Minibatches(Logged):
    """Scores on a third of the examples, then on all; and asks what would come next."""

    name: ClassVar[str] = "minibatches"

    def search(self) -> Script:
        while True:
            ids = self.space.random(self.rng, 24)
            some = self.rng.choice(self.space.n_examples, size=5, replace=False)
            told = yield Batch(ids=ids, examples=some, keep=6)
            told = yield Batch(ids=ids[told.order()[:6]], wants_proposals=3)
            assert told.proposals is not None
            ids[:, 0] = self.rng.choice(told.proposals.ids.ravel(), size=len(ids))
            yield Batch(ids=ids, examples=some[::-1])


SCRIPTS = [Random, Bars, Keeps, Gradients, Points, Minibatches]


class Killed(Exception):
    pass


@dataclass
class Watched:
    """An objective that counts, that dies, and that drops as much or as little as wanted."""

    inner: PlantedObjective = field(default_factory=lambda: PlantedObjective(SPACE))
    die_after: int | None = None  # measured pieces
    dropping: bool = True
    batches: list[Batch] = field(default_factory=list)

    def measure(self, batch: Batch) -> Feedback:
        if len(self.batches) == self.die_after:
            raise Killed
        self.batches.append(batch)
        kept = batch if self.dropping else replace(batch, bar=None, keep=None)
        return self.inner.measure(kept)

    @property
    def rows(self) -> int:
        return sum(map(len, self.batches))


@dataclass
class Run:
    study: Study
    objective: Watched
    reason: str

    def story(self) -> tuple[Any, ...]:
        """All that a run tells, to be the same bit by bit."""
        assert isinstance(self.study.strategy, Logged)
        ranked = [(f.ids.tobytes(), f.loss, f.number) for f in self.study.ranking()]
        end = self.reason, self.study.spent, self.study.asked
        return (*end, self.study.curve, ranked, self.study.strategy.log)


def search(path: Path, make: Callable[[], Strategy], **changes: Any) -> Run:
    """Starts or resumes the search of this path."""
    objective = changes.pop("objective", None) or Watched()
    space = changes.pop("space", SPACE)
    settings: dict[str, Any] = {"budget": 150.0, "seed": 3, "piece": 7, **changes}
    opened = Ledger.open(path) if path.exists() else Ledger.create(path, {})
    with opened as ledger:
        study = Study(objective, make(), space, ledger, **settings)
        return Run(study, objective, study.run())


@pytest.mark.parametrize("make", SCRIPTS)
def test_a_search_killed_after_every_piece_equals_an_undisturbed_one(
    tmp_path: Path, make: type[Logged]
) -> None:
    undisturbed = search(tmp_path / "a.db", make, objective=broken_objective())
    with Ledger.read(tmp_path / "a.db") as ledger:
        pieces = ledger.n_pieces()
    assert pieces >= 10
    for _ in range(pieces):
        objective = broken_objective()

        def die(progress: Progress, measured: list[Batch] = objective.batches) -> None:
            if measured:
                raise Killed

        with pytest.raises(Killed):
            search(tmp_path / "b.db", make, objective=objective, on_piece=die)
    resumed = search(tmp_path / "b.db", make, objective=broken_objective())
    assert (resumed.study.replayed, resumed.study.drifted) == (pieces, 0)
    assert resumed.objective.rows == 0
    assert resumed.story() == undisturbed.story()


def broken_objective() -> Watched:
    return Watched(PlantedObjective(SPACE, broken=0.1))


@pytest.mark.parametrize("make", SCRIPTS)
def test_a_piece_that_could_not_be_measured_is_measured_by_the_next_run(
    tmp_path: Path, make: type[Logged]
) -> None:
    undisturbed = search(tmp_path / "a.db", make)
    n = len(undisturbed.objective.batches)
    for die_after in (0, 1, 3):
        with pytest.raises(Killed):
            search(tmp_path / "b.db", make, objective=Watched(die_after=die_after))
    resumed = search(tmp_path / "b.db", make)
    assert len(resumed.objective.batches) == n - 4
    assert resumed.story() == undisturbed.story()


@pytest.mark.parametrize("make", SCRIPTS)
def test_neither_the_piece_nor_dropping_changes_a_search(
    tmp_path: Path, make: type[Logged]
) -> None:
    stories = []
    for piece in (1, 7, 64):
        for dropping in (True, False):
            objective = Watched(dropping=dropping)
            run = search(tmp_path / f"{piece}{dropping}.db", make, objective=objective, piece=piece)
            stories.append(run.story())
    assert all(story == stories[0] for story in stories[1:])


@pytest.mark.parametrize("make", SCRIPTS)
def test_an_extended_budget_equals_one_long_run(tmp_path: Path, make: type[Logged]) -> None:
    whole = search(tmp_path / "a.db", make)
    measured = 0
    # 41.3 ends inside a piece, 97 inside another; pieces may be of another size by then.
    for budget, piece in ((1.0, 64), (41.3, 7), (97.0, 16), (150.0, 7)):
        part = search(tmp_path / "b.db", make, budget=budget, piece=piece)
        assert part.reason == "budget"
        assert part.study.spent <= budget + 1e-9  # sums of prices that are fractions
        measured += part.objective.rows
    assert part.story() == whole.story()
    assert measured == whole.objective.rows


@pytest.mark.parametrize("make", SCRIPTS)
@pytest.mark.parametrize("reason", ["time", "stopped"])
def test_an_interrupted_search_goes_on_as_if_undisturbed(
    tmp_path: Path, make: type[Logged], reason: str
) -> None:
    whole = search(tmp_path / "a.db", make, piece=5)
    ends = 0
    while True:
        objective = Watched()
        if reason == "time":
            run = search(
                tmp_path / "b.db",
                make,
                piece=5,
                objective=objective,
                deadline=lambda seen=objective.batches: len(seen) >= 4,
            )
        else:
            run = stopped_search(tmp_path / "b.db", make, objective)
        if run.reason != reason:
            break
        assert len(objective.batches) == 4
        ends += 1
    assert ends >= 2
    assert run.story() == whole.story()


def stopped_search(path: Path, make: type[Logged], objective: Watched) -> Run:
    opened = Ledger.open(path) if path.exists() else Ledger.create(path, {})
    with opened as ledger:
        study = Study(objective, make(), SPACE, ledger, budget=150.0, seed=3, piece=5)

        def stop(progress: Progress) -> None:
            if len(objective.batches) == 4:
                study.stop()

        study.on_piece = stop
        return Run(study, objective, study.run())


def test_stop_before_the_start_measures_nothing(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "l.db", {}) as ledger:
        study = Study(objective := Watched(), Random(), SPACE, ledger, budget=100.0)
        study.stop()
        assert study.run() == "stopped"
    assert objective.rows == 0


def test_a_deadline_that_has_passed_still_lets_one_piece_through(tmp_path: Path) -> None:
    for pieces in (1, 2, 3):
        run = search(tmp_path / "l.db", Random, deadline=lambda: True)
        assert (run.reason, run.study.replayed) == ("time", pieces - 1)
        assert len(run.objective.batches) == 1
        assert run.study.ranking()


def test_the_same_study_can_run_again(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "l.db", {}) as ledger:
        study = Study(objective := Watched(), Bars(), SPACE, ledger, budget=60.0)
        stories = [Run(study, objective, study.run()).story() for _ in range(2)]
    assert stories[0] == stories[1]


class Fixed(Logged):
    """Asks what it was given."""

    name: ClassVar[str] = "fixed"

    def __init__(self, *batches: Batch) -> None:
        self.batches = batches
        self.told: list[Feedback] = []

    def search(self) -> Script:
        for batch in self.batches:
            self.told.append((yield batch))


def fixed(path: Path, *batches: Batch, **changes: Any) -> tuple[Run, list[Feedback]]:
    strategy = Fixed(*batches)
    return search(path, lambda: strategy, **changes), strategy.told


def rows(*ids: tuple[int, ...]) -> IntArray:
    return np.array(ids, dtype=np.int64)


def some_rows(n: int) -> IntArray:
    return np.unique(SPACE.random(np.random.default_rng(0), 4 * n), axis=0)[:n]


def test_a_known_row_is_free_and_not_measured_again(tmp_path: Path) -> None:
    first = Batch(ids=rows((2, 4, EMPTY), (2, 4, EMPTY), (6, 8, 10)))
    again = Batch(ids=rows((6, 8, 10), (2, EMPTY, 4), (12, 14, 16)))
    short = Batch(ids=rows((2, 4)))
    run, told = fixed(tmp_path / "l.db", first, again, short)
    assert (run.reason, run.study.spent, run.study.asked) == ("exhausted", 3.0, 7.0)
    assert run.objective.rows == 3
    assert told[0].loss[0] == told[0].loss[1] == told[1].loss[1] == told[2].loss[0]
    assert told[0].loss[2] == told[1].loss[0]


def test_prices_and_what_counts_as_the_same_question(tmp_path: Path) -> None:
    ids = rows((2, 4, 6))
    some, turned = np.array([1, 3]), np.array([3, 1])
    points = SPACE.embeddings[ids]
    n = SPACE.n_examples
    cases = [
        (Batch(ids=ids), 1.0),
        (Batch(ids=ids, wants_gradient=True), 3.0),
        (Batch(ids=ids, wants_gradient=True), 3.0),  # what a gradient costs is never known before
        (Batch(ids=ids, examples=some), 2 / n),
        (Batch(ids=ids, examples=turned), 0.0),  # the same question in another order
        (Batch(ids=ids, examples=np.array([1, 2])), 2 / n),
        (Batch(ids=ids, wants_proposals=2), 1.0),
        (Batch(embeds=points), 1.0),
        (Batch(embeds=points, wants_gradient=True, examples=some), 3.0 * 2 / n),
    ]
    run, told = fixed(tmp_path / "l.db", *(batch for batch, _ in cases))
    assert run.study.spent == pytest.approx(sum(price for _, price in cases), abs=1e-12)  # sums
    assert run.study.backward == pytest.approx(2 + 2 / n, abs=1e-12)
    assert len(told) == len(cases)
    assert told[1].gradient is not None
    assert told[6].proposals is not None
    assert len(run.study.ranking()) == 1


def test_a_dropped_row_answers_again_only_where_the_bar_has_not_risen(tmp_path: Path) -> None:
    ids = some_rows(1)
    loss = float(PlantedObjective(SPACE).measure(Batch(ids=ids)).loss[0])
    bars = [loss / 2, loss / 3, loss * 0.9, loss * 2, loss / 4]
    run, told = fixed(tmp_path / "l.db", *(Batch(ids=ids, bar=np.array([bar])) for bar in bars))
    # Lower bars than a known bound are known too, and so is everything once it is exact.
    assert [float(batch.bar[0]) for batch in run.objective.batches] == bars[0:1] + bars[2:4]  # type: ignore[index]
    assert run.study.spent == 1.0  # measured three times, asked as a new row once
    assert [f.exact[0] for f in told] == [False, False, False, True, False]
    assert [f.loss[0] for f in told] == [*bars[:3], loss, bars[4]]
    assert [found.loss for found in run.study.ranking()] == [loss]


def test_equal_rows_under_different_bars_are_measured_once_with_the_highest(
    tmp_path: Path,
) -> None:
    ids = np.repeat(some_rows(1), 3, axis=0)
    loss = float(PlantedObjective(SPACE).measure(Batch(ids=ids[:1])).loss[0])
    bar = np.array([loss / 2, loss * 2, loss])
    run, (told,) = fixed(tmp_path / "l.db", Batch(ids=ids, bar=bar))
    assert run.objective.rows == 1
    assert told.exact.tolist() == [False, True, True]  # at its bar a row is not above it
    assert told.loss.tolist() == [loss / 2, loss, loss]
    assert [found.loss for found in run.study.ranking()] == [loss]


def test_keep_tells_the_best_and_the_bound_of_the_others(tmp_path: Path) -> None:
    ids = some_rows(40)
    loss = PlantedObjective(SPACE).measure(Batch(ids=ids)).loss
    best = np.sort(loss)
    twice = np.concatenate([ids, ids[loss.argmin()][None]])
    for piece in (1, 16, 64):
        run, (told,) = fixed(tmp_path / f"{piece}.db", Batch(ids=twice, keep=5), piece=piece)
        assert told.exact.sum() == 6  # five prompts, the best of them asked twice
        np.testing.assert_array_equal(told.loss[:-1], np.minimum(loss, best[4]))
        assert [found.loss for found in run.study.ranking(9)] == best[:5].tolist()


@dataclass
class Careless(Watched):
    """Counts a NaN among the rows to keep, so that too few others are finished."""

    def measure(self, batch: Batch) -> Feedback:
        told = super().measure(replace(batch, keep=None))
        if batch.keep is None:
            return told
        order = np.argsort(np.where(np.isnan(told.loss), -np.inf, told.loss))
        exact: BoolArray = np.zeros(len(batch), dtype=bool)
        exact[order[: batch.keep]] = True
        bound: FloatArray = np.where(exact, told.loss, told.loss / 2)
        return Feedback(bound, exact)


def test_a_nan_never_takes_the_place_of_a_row_to_keep(tmp_path: Path) -> None:
    broken = PlantedObjective(SPACE, broken=0.2)
    loss = broken.measure(Batch(ids=some_rows(40))).loss
    assert np.isnan(loss).sum() >= 3
    run, (told,) = fixed(
        tmp_path / "l.db", Batch(ids=some_rows(40), keep=5), objective=Careless(broken), piece=64
    )
    best = np.sort(loss)[:5]
    np.testing.assert_array_equal(told.loss, np.minimum(loss, best[-1]))
    assert [found.loss for found in run.study.ranking()] == best.tolist()


def test_nan_rows_are_told_and_never_ranked(tmp_path: Path) -> None:
    objective = Watched(PlantedObjective(SPACE, broken=0.5))
    run, (told,) = fixed(tmp_path / "l.db", Batch(ids=some_rows(60)), objective=objective)
    broken = np.isnan(told.loss)
    assert 10 < broken.sum() < 50  # a fair coin, 60 times: outside is 1 in 10**7
    assert told.exact.all()
    ranking = run.study.ranking()
    assert len(ranking) == 60 - broken.sum()
    assert ranking[0].loss == np.nanmin(told.loss)


def test_a_search_in_which_nothing_can_be_measured_ends_with_a_clear_error(
    tmp_path: Path,
) -> None:
    objective = Watched(PlantedObjective(SPACE, broken=1.0))
    with pytest.raises(
        HardpromptError, match=r"no prompt could be measured: all of the first 6[4-9]"
    ):
        search(tmp_path / "l.db", Random, objective=objective)


def test_ranking_holds_exact_full_long_enough_rows_in_order_of_loss_then_age(
    tmp_path: Path,
) -> None:
    space = planted_space(12, length=3, min_length=2)
    ids = np.unique(space.random(np.random.default_rng(0), 60), axis=0)
    short, long = rows((2, EMPTY, EMPTY)), ids[:20]

    @dataclass
    class Coarse(Watched):
        def measure(self, batch: Batch) -> Feedback:
            told = super().measure(batch)
            return replace(told, loss=np.round(told.loss))  # so that many are equal

    batches = [Batch(ids=short), Batch(ids=long), Batch(ids=ids[20:30], examples=np.array([0]))]
    objective = Coarse(PlantedObjective(space))
    run, told = fixed(tmp_path / "l.db", *batches, space=space, objective=objective)
    ranking = run.study.ranking()
    order = np.argsort(told[1].loss, kind="stable")
    assert [found.ids.tolist() for found in ranking] == long[order].tolist()
    assert len({found.loss for found in ranking}) < 20
    assert run.study.ranking(3) == ranking[:3] or len(run.study.ranking(3)) == 3
    assert isinstance(ranking[0], Found)


def test_the_curve_and_the_progress_follow_the_best(tmp_path: Path) -> None:
    seen: list[Progress] = []
    run = search(tmp_path / "l.db", Random, on_piece=seen.append)
    spent, best = zip(*run.study.curve, strict=True)
    assert list(spent) == sorted(spent)
    assert list(best) == sorted(best, reverse=True)
    assert best[-1] == run.study.ranking()[0].loss == seen[-1].loss
    assert [progress.reason for progress in seen] == [None] * (len(seen) - 1) + ["budget"]
    assert [p.spent for p in seen] == sorted(p.spent for p in seen)
    assert seen[-1].budget == 150.0
    for progress in seen:
        assert progress.ids is not None
        # Known as soon as its piece is measured, not when the batch is whole.
        assert progress.loss == min(loss for at, loss in run.study.curve if at <= progress.spent)


def test_patience_ends_a_search_without_gain(tmp_path: Path) -> None:
    runs = [search(tmp_path / f"{p}.db", Random, patience=40.0, piece=p) for p in (1, 7, 64)]
    assert [run.reason for run in runs] == ["patience"] * 3
    assert runs[0].story() == runs[1].story() == runs[2].story()
    gained = runs[0].study.curve[-1][0]
    assert 40.0 <= runs[0].study.spent - gained < 60.0  # looked at after each batch of 20


def test_a_search_that_only_repeats_itself_ends(tmp_path: Path) -> None:
    class Same(Logged):
        name: ClassVar[str] = "same"

        def search(self) -> Script:
            while True:
                yield Batch(ids=rows((2, 4, 6), (4, 4, 4)))

    run = search(tmp_path / "l.db", Same, budget=100.0)
    assert (run.reason, run.study.spent) == ("stalled", 2.0)
    assert run.study.asked == 2002.0  # the first batch above 20 times the budget


def test_small_shares_of_the_examples_do_not_count_as_a_stall(tmp_path: Path) -> None:
    class Tiny(Logged):
        name: ClassVar[str] = "tiny"

        def search(self) -> Script:
            while True:  # 32 rows asked for each row of budget
                some = self.rng.choice(32, size=1)
                yield Batch(ids=self.space.random(self.rng, 60), examples=some)

    space = planted_space(60, length=4, n_examples=32)
    objective = Watched(PlantedObjective(space))
    run = search(tmp_path / "l.db", Tiny, space=space, objective=objective, budget=66.0, piece=64)
    assert run.reason == "budget"
    assert run.objective.rows == 66 * 32


def test_a_strategy_that_asks_otherwise_is_refused(tmp_path: Path) -> None:
    ids = some_rows(6)
    recorded = Batch(ids=ids[:4])
    others = {
        "ids": Batch(ids=ids[1:5]),
        "shape": Batch(ids=ids[:3]),
        "gradient": Batch(ids=ids[:4], wants_gradient=True),
        "proposals": Batch(ids=ids[:4], wants_proposals=1),
        "examples": Batch(ids=ids[:4], examples=np.array([0])),
    }
    fixed(tmp_path / "l.db", recorded)
    for what, other in others.items():
        objective = Watched()
        with pytest.raises(HardpromptError, match=rf"another story at piece 0: other .*{what}"):
            fixed(tmp_path / "l.db", other, objective=objective)
        assert objective.rows == 0


def test_a_bar_above_what_was_given_up_is_another_story(tmp_path: Path) -> None:
    ids = some_rows(4)
    fixed(tmp_path / "l.db", Batch(ids=ids, bar=np.full(4, 0.01)))
    with pytest.raises(HardpromptError, match="losses given up"):
        fixed(tmp_path / "l.db", Batch(ids=ids))


def test_points_that_drift_are_counted_and_told_from_the_ledger(tmp_path: Path) -> None:
    points = np.ones((2, 3, 8), dtype=np.float32)
    _, (told,) = fixed(tmp_path / "l.db", Batch(embeds=points, wants_gradient=True))
    run, (again,) = fixed(tmp_path / "l.db", Batch(embeds=points * 1.0001, wants_gradient=True))
    assert (run.study.drifted, run.study.replayed, run.objective.rows) == (1, 1, 0)
    assert told.gradient is not None
    assert again.gradient is not None
    np.testing.assert_array_equal(told.gradient, again.gradient)


def test_a_smaller_budget_than_recorded_stops_in_time(tmp_path: Path) -> None:
    search(tmp_path / "l.db", Random)
    run = search(tmp_path / "l.db", Random, budget=30.0)
    assert run.reason == "budget"
    assert run.study.spent <= 30.0
    assert run.objective.rows == 0


def test_nonsense_is_refused(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "l.db", {}) as ledger:
        for setting in ({"budget": 0.0}, {"budget": float("nan")}, {"budget": 1.0, "piece": 0}):
            with pytest.raises(HardpromptError, match="must be"):
                Study(Watched(), Random(), SPACE, ledger, **setting)  # type: ignore[arg-type]
    nothing = Batch(ids=some_rows(1), examples=np.array([], dtype=np.int64))
    with pytest.raises(HardpromptError, match="no examples"):
        fixed(tmp_path / "m.db", nothing)


def test_an_objective_that_gives_up_rows_by_itself_is_refused(tmp_path: Path) -> None:
    class Lazy(Watched):
        def measure(self, batch: Batch) -> Feedback:
            return Feedback(np.zeros(len(batch)), np.zeros(len(batch), dtype=bool))

    with pytest.raises(HardpromptError, match="nobody gave up"):
        search(tmp_path / "l.db", Random, objective=Lazy())


# The child's objective takes a moment, so that kills hit every phase of a piece.
CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_study import Keeps, Watched, search
class Slow(Watched):
    def measure(self, batch):
        time.sleep(0.002)
        told = super().measure(batch)
        print("measured", flush=True)
        return told
run = search(Path(sys.argv[2]), Keeps, objective=Slow())
print(run.reason, flush=True)
"""


def test_a_real_kill_at_any_moment_costs_at_most_the_piece_in_flight(tmp_path: Path) -> None:
    undisturbed = search(tmp_path / "a.db", Keeps)
    pieces = len(undisturbed.objective.batches)
    measured, kills = 0, 0
    for pause in np.random.default_rng(0).uniform(0.0, 0.025, size=5):
        command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path / "b.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "measured\n"
            time.sleep(pause)
            child.send_signal(signal.SIGKILL)
            said = child.stdout.read()
        measured += 1 + said.count("measured")
        kills += 1
    with Ledger.open(tmp_path / "b.db") as ledger:
        recorded = ledger.n_pieces()
    assert 0 < recorded < pieces  # the kills were early enough to mean something
    assert measured - recorded <= kills
    resumed = search(tmp_path / "b.db", Keeps)
    assert resumed.story() == undisturbed.story()
    assert len(resumed.objective.batches) == pieces - recorded


def test_a_search_can_be_read_while_it_goes_on_and_not_run_twice(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    counts: list[int] = []

    def look(progress: Progress) -> None:
        with Ledger.read(path) as reader:
            counts.append(len(list(reader.pieces())))
        with pytest.raises(HardpromptError, match="already running"):
            Ledger.open(path)

    run = search(path, Random, on_piece=look, budget=40.0)
    n = len(run.objective.batches)
    assert counts == [*range(1, n + 1), n]  # and once more at the end
