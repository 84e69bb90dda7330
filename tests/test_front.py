"""Fronts: what no other row dominates."""

import numpy as np

from hardprompt.front import by_fronts, nondominated


def test_a_front_by_hand():
    values = np.array([[1, 3], [2, 2], [3, 1], [2, 3], [2, 2], [np.nan, 0], [3, 3]])
    assert nondominated(values).tolist() == [True, True, True, False, True, False, False]


def test_fronts_come_one_after_the_other():
    values = np.array([[3, 3], [1, 2], [2, 1], [2, 2], [np.nan, 0]])
    assert by_fronts(values, 1).tolist() == [1, 2]
    assert by_fronts(values, 3).tolist() == [1, 2, 3]
    assert by_fronts(values, 9).tolist() == [1, 2, 3, 0]


def test_a_front_is_what_comparing_all_pairs_finds():
    values = np.random.default_rng(0).integers(6, size=(300, 3)).astype(float)
    kept = nondominated(values)
    for row, keep in zip(values, kept, strict=True):
        above = (values <= row).all(axis=1) & (values < row).any(axis=1)
        assert keep == (not above.any())
    assert not len(by_fronts(np.empty((0, 3)), 5))
