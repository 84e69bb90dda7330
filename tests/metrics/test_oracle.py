"""Figures of generated text are those of the programs that they are named after (oracle.py)."""

import json
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest

from hardprompt.metrics import text_metric_named
from hardprompt.metrics.bertscore import Encoded, similarity
from hardprompt.metrics.rouge import longest_common_subsequence
from hardprompt.metrics.stem import stem
from hardprompt.metrics.words import tokens, words

ORACLE = json.loads(Path(__file__).with_name("oracle.json").read_text(encoding="utf8"))
EXACT = {"rel": 1e-9, "abs": 1e-9}  # the same sums in another order


def rows(kind):
    """`several` references of each text, or the first one alone."""
    count = None if kind == "several" else 1
    return (
        [hypothesis for hypothesis, _ in ORACLE["rows"]],
        [references[:count] for _, references in ORACLE["rows"]],
    )


@pytest.mark.parametrize("kind", ["several", "single"])
@pytest.mark.parametrize("name", ["rouge-1", "rouge-2", "rouge-l", "meteor", "cider"])
def test_each_text_scores_as_in_the_original(name, kind):
    metric = text_metric_named(name)
    stats = metric.stats(*rows(kind))
    assert stats[:, 0] == pytest.approx(ORACLE[kind][name], **EXACT)
    assert metric.figure(stats) == pytest.approx(np.mean(ORACLE[kind][name]), **EXACT)


@pytest.mark.parametrize("kind", ["several", "single"])
def test_nist_is_that_of_the_original(kind):
    metric = text_metric_named("nist")
    stats = metric.stats(*rows(kind))
    assert metric.figure(stats) == pytest.approx(ORACLE[kind]["nist"], **EXACT)


@pytest.mark.parametrize("kind", ["several", "single"])
@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_sacrebleu_s_figures_are_frozen(name, kind):
    pytest.importorskip("sacrebleu", reason="needs the extra [metrics]")
    metric = text_metric_named(name)
    stats = metric.stats(*rows(kind))
    assert metric.figure(stats) == pytest.approx(ORACLE[kind][name], **EXACT)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_sums_give_sacrebleu_s_own_corpus_score(name):
    scorers = pytest.importorskip("sacrebleu.metrics", reason="needs the extra [metrics]")
    hypotheses, references = rows("several")
    metric = text_metric_named(name)
    scorer = getattr(scorers, name.upper())()
    stats = metric.stats(hypotheses, references)
    for chosen in ([0, 1, 2], [3], [5, 5, 9, 10], range(len(hypotheses))):
        columns = list(zip_longest(*(references[i] for i in chosen)))
        expected = scorer.corpus_score([hypotheses[i] for i in chosen], columns).score
        # TER's mean lengths of references are added up in another order.
        assert metric.figure(stats[list(chosen)]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("word", ORACLE["stems"])
def test_words_are_stemmed_as_nltk_does(word):
    assert stem(word) == ORACLE["stems"][word]


def test_bertscore_matches_as_bert_score_does():
    frozen = ORACLE["bertscore"]
    weights = {}  # of ids, which are numbered through both texts

    def side(name):
        vectors = np.array(frozen[name], float)
        ids = len(weights) + np.arange(len(vectors))
        weights.update(zip(ids.tolist(), frozen[f"{name}_weights"], strict=True))
        return Encoded(ids, np.ones(len(ids), bool), vectors)

    found = similarity(
        side("hypothesis"), side("reference"), lambda ids: np.array([weights[i] for i in ids])
    )
    assert found == pytest.approx(frozen["f1"], **EXACT)


def test_texts_are_cut_into_words_numbers_and_marks():
    assert tokens("It's £4.50, no?") == ["it", "'", "s", "£", "4.50", ",", "no", "?"]
    assert tokens("1,200 Straße中文… a_b") == ["1,200", "straße中文", "…", "a_b"]
    assert words("It's £4.50, no?") == ["it", "s", "4.50", "no"]
    assert tokens(" \n") == []


def test_the_longest_common_subsequence_is_that_of_the_usual_table():
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, second = (
            ["abcd"[i] for i in rng.integers(4, size=rng.integers(0, 9))] for _ in range(2)
        )
        table = np.zeros((len(first) + 1, len(second) + 1), int)
        for i, a in enumerate(first):
            for j, b in enumerate(second):
                table[i + 1, j + 1] = max(
                    table[i, j] + 1 if a == b else 0, table[i, j + 1], table[i + 1, j]
                )
        assert longest_common_subsequence(first, second) == table[-1, -1]
