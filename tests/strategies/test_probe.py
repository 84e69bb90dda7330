"""A first look on few examples: which ones, who goes on, and what it costs."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hardprompt.strategies.evolution import Evolution
from hardprompt.strategies.probe import Probe
from hardprompt.strategies.swap import Swap
from hardprompt.testing import PlantedObjective, converse, planted_space
from hardprompt.types import Feedback


def space_of(n_examples, strata=None):
    return replace(planted_space(n_examples=n_examples), strata=strata)


def test_a_sample_has_its_share_of_every_stratum():
    strata = np.array([0] * 20 + [1] * 10 + [2] * 10)
    space, rng = space_of(40, strata), np.random.default_rng(0)
    for _ in range(20):
        sample = space.sample(rng, 8)
        assert (np.diff(sample) > 0).all()
        assert np.bincount(strata[sample]).tolist() == [4, 2, 2]


def test_samples_differ_and_end_with_all_examples():
    space, rng = space_of(12), np.random.default_rng(0)
    assert space.sample(rng, 4).tolist() != space.sample(rng, 4).tolist()
    assert space.sample(rng, 30).tolist() == list(range(12))


def test_every_example_of_a_stratum_is_drawn_alike():
    space, rng = space_of(12, np.array([0] * 8 + [1] * 4)), np.random.default_rng(0)
    drawn = np.bincount(np.concatenate([space.sample(rng, 3) for _ in range(2000)]), minlength=12)
    assert drawn == pytest.approx(np.full(12, 500), rel=0.15)


def told_to(probe, rows, losses):
    """What a probe asks, and who goes on after it was told these losses."""
    script = probe.best(rows)
    batch = next(script)
    with pytest.raises(StopIteration) as ended:
        script.send(Feedback(np.array(losses), np.ones(len(rows), dtype=bool)))
    return batch, ended.value.value


def test_the_best_of_a_probe_go_on():
    space = space_of(32)
    rows = np.arange(20).reshape(5, 4)
    probe = Probe(space, np.random.default_rng(0), examples=8, keep=2)
    batch, best = told_to(probe, rows, [0.5, np.nan, 0.1, 0.9, 0.3])
    assert len(batch.examples) == 8
    assert best.tolist() == rows[[2, 4]].tolist()
    _, best = told_to(probe, rows, [np.nan, np.nan, 0.1, np.nan, np.nan])
    assert best.tolist() == rows[[2]].tolist()
    assert probe.price(5) == 5 * 8 / 32 + 2


@pytest.mark.parametrize(
    ("n_examples", "examples", "keep"), [(16, 8, 2), (32, 0, 2), (32, 8, 5)], ids=str
)
def test_a_probe_that_saves_nothing_is_left_out(n_examples, examples, keep):
    rows = np.arange(20).reshape(5, 4)
    probe = Probe(space_of(n_examples), np.random.default_rng(0), examples, keep)
    with pytest.raises(StopIteration) as ended:
        next(probe.best(rows))
    assert ended.value.value is rows
    assert probe.price(5) == 5


@pytest.mark.parametrize(
    "strategy", [Swap(merge=0), Evolution(fluent=0, keep=3)], ids=["swap", "ga"]
)
def test_only_the_best_of_a_probe_are_measured_on_all_examples(strategy):
    space = space_of(64)
    talk = [batch for batch, _ in converse(strategy, PlantedObjective(space), 400)]
    after = [(a, b) for a, b in pairwise(talk) if a.examples is not None]
    assert len(after) > 8
    for probed, measured in after:
        assert len(probed.examples) == 8
        assert measured.examples is None
        assert len(measured) <= 3 < len(probed)
        assert {row.tobytes() for row in measured.ids} <= {row.tobytes() for row in probed.ids}
