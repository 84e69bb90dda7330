"""Intervals of figures of generated text are those of drawing its rows anew."""

import numpy as np
import pytest

from hardprompt.metrics import text_gain, text_interval, text_metric_named
from hardprompt.metrics.intervals import RESAMPLES, SEED

WORDS = ["the", "a", "cat", "dog", "film", "sat", "ran", "on", "by", "mat", "great", "cold"]
ROWS = 40


@pytest.fixture(scope="module")
def rows():
    """References, texts near them and texts further off."""
    rng = np.random.default_rng(0)
    references = [list(rng.choice(WORDS, rng.integers(6, 14))) for _ in range(ROWS)]

    def changed(share):
        return [
            " ".join(w if rng.random() > share else rng.choice(WORDS) for w in reference)
            for reference in references
        ]

    return [[" ".join(reference)] for reference in references], changed(0.2), changed(0.4)


@pytest.fixture(params=["nist", "rouge-l", "ter"])
def metric(request):
    if request.param == "ter":
        pytest.importorskip("sacrebleu", reason="needs the extra [metrics]")
    return text_metric_named(request.param)


def drawn(metric, stats):
    """The bootstrap written out: rows by their numbers, statistics added up."""
    rng = np.random.default_rng(SEED)
    draws = np.concatenate([rng.integers(ROWS, size=(200, ROWS)) for _ in range(RESAMPLES // 200)])
    return metric.total(stats[..., draws, :].sum(axis=-2))


def test_the_interval_is_that_of_rows_drawn_anew(metric, rows):
    references, near, far = rows
    stats = metric.stats(near, references)
    low, high = text_interval(metric, stats)
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn(metric, stats), [2.5, 97.5])))
    assert low < metric.figure(stats) < high
    runs = np.stack([stats, metric.stats(far, references)])
    expected = np.percentile(drawn(metric, runs).mean(axis=0), [2.5, 97.5])
    assert text_interval(metric, runs) == pytest.approx(tuple(expected))


def test_a_gain_is_positive_where_the_first_is_better_whatever_the_metric(metric, rows):
    references, near, far = rows
    better, worse = metric.stats(near, references), metric.stats(far, references)
    gain, low, high = text_gain(metric, better, worse)
    assert 0 < low < gain < high
    assert gain == pytest.approx(abs(metric.figure(better) - metric.figure(worse)))
    turned = text_gain(metric, worse, better)
    assert turned == pytest.approx((-gain, -high, -low))


def test_rows_are_drawn_together_so_that_equal_texts_gain_nothing_for_certain(metric, rows):
    references, near, _ = rows
    stats = metric.stats(near, references)
    assert text_gain(metric, stats, stats) == (0, 0, 0)


def test_a_gain_over_several_runs_is_that_of_their_means(metric, rows):
    references, near, far = rows
    better, worse = metric.stats(near, references), metric.stats(far, references)
    gain, low, high = text_gain(metric, np.stack([better, worse]), np.stack([worse, worse]))
    single = text_gain(metric, better, worse)
    assert (gain, low, high) == pytest.approx([value / 2 for value in single])
