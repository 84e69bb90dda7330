"""Which examples are read together."""

from itertools import combinations, pairwise

import numpy as np

from hardprompt.scoring.plan import BATCH_COST, Row, group_few

CPU_TOKENS = 2048


def rows_of(*lengths, head=()):
    return [Row((head, tuple(range(1, n + 1)))) for n in lengths]


def spent(sizes_and_lengths, cost):
    return sum(size * length + cost for size, length in sizes_and_lengths)


def cheapest(lengths, cost):
    """By trying every division of the sorted lengths."""
    found = []
    for n_cuts in range(len(lengths)):
        for cuts in combinations(range(1, len(lengths)), n_cuts):
            ends = [0, *cuts, len(lengths)]
            parts = [lengths[low:high] for low, high in pairwise(ends)]
            found.append(spent([(len(part), part[-1]) for part in parts], cost))
    return min(found)


def test_few_prompts_take_the_least_work_of_all_divisions():
    rng = np.random.default_rng(0)
    cost = round(BATCH_COST * CPU_TOKENS)
    for _ in range(20):
        lengths = rng.integers(1, 80, size=8).tolist()
        groups = group_few(rows_of(*lengths), range(8), CPU_TOKENS)
        taken = spent([(len(g), g.segments[-1].shape[1]) for g in groups], cost)
        assert taken == cheapest(sorted(lengths), cost)
        assert sorted(np.concatenate([g.examples for g in groups])) == list(range(8))


def test_lengths_that_are_far_from_each_other_are_apart_and_a_gpu_reads_them_together():
    rows = rows_of(5, 6, 7, 300)
    assert [len(group) for group in group_few(rows, range(4), CPU_TOKENS)] == [3, 1]
    assert [len(group) for group in group_few(rows, range(4), 32 * CPU_TOKENS)] == [4]


def test_only_the_last_segment_is_padded():
    rows = [*rows_of(5), *rows_of(5, head=(9,)), *rows_of(6)]
    groups = group_few(rows, range(3), CPU_TOKENS)
    assert [group.examples.tolist() for group in groups] == [[0, 2], [1]]
    assert [len(group.last) for group in groups] == [2, 1]
    assert groups[0].last.tolist() == [5, 6]


def test_rows_of_one_length_are_one_group_even_where_a_batch_costs_nothing():
    assert [len(group) for group in group_few(rows_of(4, 4, 5), range(3), 0)] == [2, 1]
