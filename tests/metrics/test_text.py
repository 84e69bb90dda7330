"""What holds of every metric of generated text, and of texts at the edge of being none."""

import sys

import numpy as np
import pytest

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.metrics import text_metric_named, text_metric_names
from hardprompt.metrics.words import tokens

NAMES = [name for name in text_metric_names() if name != "bertscore"]  # has tests of its own
BEST = {"ter": 0.0, "cider": 10.0}  # else 100, where there is a best figure at all
ROUGE = ("rouge-1", "rouge-2", "rouge-l")
TEXTS = [
    "the eagle is a cheap coffee shop by the river",
    "police in leeds are looking for a man of forty",
    "it rained all day in the north of the country",
    "her second novel was read by more than a million people",
]


@pytest.fixture(params=NAMES)
def metric(request):
    return named(request.param)


def named(name):
    if name in ("bleu", "chrf", "ter"):
        pytest.importorskip("sacrebleu", reason="needs the extra [metrics]")
    return text_metric_named(name)


def alone(texts):
    """The same texts as the only reference of each."""
    return [[text] for text in texts]


def figure(metric, hypotheses, references):
    return metric.figure(metric.stats(hypotheses, references))


def worse(texts, rng):
    """Texts with a word left out, put elsewhere, or from another text."""
    changed = []
    for text in texts:
        words = text.split()
        word = words.pop(rng.integers(len(words)))
        if rng.random() < 0.5:
            words.insert(rng.integers(len(words)), word)
        changed.append(" ".join(words))
    return changed[1:] + changed[:1] if rng.random() < 0.2 else changed


def test_nothing_is_better_than_the_reference_itself(metric):
    rng = np.random.default_rng(0)
    best = figure(metric, TEXTS, alone(TEXTS))
    if metric.name not in ("meteor", "nist"):
        assert best == pytest.approx(BEST.get(metric.name, 100.0))
    for _ in range(20):
        other = figure(metric, worse(TEXTS, rng), alone(TEXTS))
        assert other <= best + 1e-9 if metric.higher_is_better else other >= best - 1e-9


def test_figures_stay_in_their_bounds(metric):
    rng = np.random.default_rng(1)
    for _ in range(20):
        hypotheses, *references = (
            [" ".join(rng.choice(list("abcde"), rng.integers(0, 9))) for _ in range(6)]
            for _ in range(3)
        )
        found = figure(metric, hypotheses, list(zip(*references, strict=True)))
        assert np.isfinite(found)
        assert 0 <= found <= {"ter": np.inf, "nist": np.inf}.get(metric.name, 100 + 1e-9)


def test_the_order_of_rows_makes_no_difference(metric):
    rng = np.random.default_rng(2)
    said, references = worse(TEXTS, rng), [[text, TEXTS[0]] for text in TEXTS]
    order = rng.permutation(len(TEXTS))
    shuffled = figure(metric, [said[i] for i in order], [references[i] for i in order])
    assert shuffled == pytest.approx(figure(metric, said, references))


def test_the_order_of_references_makes_no_difference(metric):
    said = worse(TEXTS, np.random.default_rng(3))
    references = [[text, TEXTS[0], TEXTS[1]] for text in TEXTS]
    turned = [texts[::-1] for texts in references]
    assert figure(metric, said, turned) == pytest.approx(figure(metric, said, references))


def test_rows_may_have_references_of_any_number(metric):
    assert np.isfinite(figure(metric, TEXTS, [TEXTS[: i + 1] for i in range(len(TEXTS))]))


def test_texts_can_be_drawn_anew_without_being_read_again(metric):
    stats = metric.stats(worse(TEXTS, np.random.default_rng(4)), alone(TEXTS))
    draws = np.array([[[0, 1, 2, 3], [3, 3, 3, 1]], [[2, 2, 2, 2], [0, 0, 1, 1]]])
    totals = metric.total(stats[draws].sum(axis=-2))
    assert totals.shape == (2, 2)
    assert totals[0, 0] == pytest.approx(metric.figure(stats))
    assert metric.figure(stats[draws[0]]) == pytest.approx(totals[0].mean())


@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_text_is_the_worst_there_is(metric, empty):
    found = figure(metric, [empty] * len(TEXTS), alone(TEXTS))
    assert found == pytest.approx(0.0 if metric.higher_is_better else 100.0)
    partly = figure(metric, [*TEXTS[:3], empty], alone(TEXTS))
    best = figure(metric, TEXTS, alone(TEXTS))
    assert partly < best if metric.higher_is_better else partly > best


def test_empty_references_are_no_reason_to_fail(metric):
    assert np.isfinite(figure(metric, ["a film", ""], [[""], [""]]))
    assert np.isfinite(figure(metric, ["a film", ""], [["", "a film"], ["", ""]]))


def test_one_row_is_enough(metric):
    found = figure(metric, TEXTS[:1], alone(TEXTS[:1]))
    # What every row has says nothing to CIDEr, and with one row that is everything.
    expected = {"cider": 0.0, "ter": 0.0}.get(metric.name)
    assert found == expected if expected is not None else found > 0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ROUGE])
@pytest.mark.parametrize(
    "texts",
    [
        ["кошка сидит на старом ковре", "он не читал этот роман"],
        ["un café déjà vu 🙂 à l'hôtel", "Çok güzel bir gün, değil mi?"],
    ],
)
def test_texts_of_any_script_are_read(name, texts):
    metric = named(name)
    same, other = (figure(metric, said, alone(texts)) for said in (texts, texts[::-1]))
    assert same > other if metric.higher_is_better else same < other


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("कि हिन्दी है।", ["कि", "हिन्दी", "है", "।"]),
        ("தமிழ் நாடு 3.5", ["தமிழ்", "நாடு", "3.5"]),
        ("cafe\u0301 na\u00efve", ["caf\u00e9", "na\u00efve"]),
        ("x\u0331y, \u0301", ["x\u0331y", ",", "\u0301"]),
        ("one_two 4.50 (b)", ["one_two", "4.50", "(", "b", ")"]),
        (
            "\u0645\u06cc\u200c\u0631\u0648\u0645 \u0628",
            ["\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0628"],
        ),
    ],
)
def test_letters_keep_their_marks(text, expected):
    assert tokens(text) == expected


@pytest.mark.parametrize("name", ["nist", "meteor", "cider"])
def test_words_that_differ_in_their_marks_are_others(name):
    """Letters that two words share are no match where the words are others."""
    references = [["किताब है"], ["नाटक था"]]
    right, wrong = (figure(named(name), said, references) for said in (
        ["किताब है", "नाटक था"], ["कितब हो", "नटकी थी"]))  # fmt: skip
    assert right > wrong == 0


@pytest.mark.parametrize("name", ROUGE)
def test_rouge_says_so_where_it_can_read_nothing(name):
    with pytest.raises(HardpromptError, match=r"letters a to z .* take --metric chrf"):
        named(name).stats(["кошка"], [["кошка"]])
    with pytest.raises(HardpromptError, match=r"letters a to z .* take --metric chrf"):
        named(name).check([["кошка"], ["кит", "пёс"]])
    named(name).check([["кошка"], ["кит", "пёс 7"]])
    named("chrf").check([["кошка"]])


def test_of_several_references_the_nearest_counts():
    for name in (*ROUGE, "meteor"):
        metric = named(name)
        both = metric.stats(TEXTS[:1], [[TEXTS[1], TEXTS[0]]])
        assert both == pytest.approx(metric.stats(TEXTS[:1], [[TEXTS[0]]]))


def test_what_cannot_be_measured_is_refused_in_one_line(metric):
    with pytest.raises(HardpromptError, match="0 texts and references of 0"):
        metric.stats([], [])
    with pytest.raises(HardpromptError, match="2 texts and references of 1"):
        metric.stats(["a", "b"], [["a"]])
    with pytest.raises(HardpromptError, match="text 2 has no reference"):
        metric.stats(["a", "b"], [["a"], []])
    with pytest.raises(HardpromptError, match="references of text 1 are one text"):
        metric.stats(["a"], ["a"])


def test_metrics_are_found_by_name_and_say_what_they_are(metric):
    assert metric.name in text_metric_names()
    assert metric.higher_is_better == (metric.name != "ter")
    assert "|" in metric.signature
    assert "nrefs" not in metric.signature


def test_a_wrong_name_gets_the_nearest():
    assert text_metric_named("rouge_l").name == "rouge-l"
    with pytest.raises(UsageError, match="Did you mean 'rouge-l'"):
        text_metric_named("rougel")


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_without_the_extra_there_is_one_line_that_says_what_to_install(name, monkeypatch):
    for module in ("sacrebleu", "sacrebleu.metrics"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as raised:
        text_metric_named(name)
    assert str(raised.value) == f"{name} needs sacrebleu: pip install sacrebleu"
