"""Writes oracle.json: what other programs say of a few rows, for test_oracle.py to compare with.

    pip install sacrebleu==2.6.0 rouge-score==0.1.2 nltk==3.10.4 bert-score==0.3.13
    pip install --no-deps pycocoevalcap==1.2
    python tests/metrics/oracle.py

Not needed to run the tests. METEOR, NIST and CIDEr-D are given our own tokens, so that what is
compared is the counting; NLTK knows NIST for one reference only as `mteval-v13a.pl` counts it, so
for several it is written out below, straight from Doddington (2002) and that script.
"""

import json
from itertools import zip_longest
from math import exp, log, log2
from pathlib import Path

from hardprompt.metrics.words import tokens, words

ROWS = [  # a text, its references
    (
        "The Eagle is a cheap coffee shop near Burger King.",
        [
            "Near Burger King there is a cheap coffee shop called The Eagle.",
            "The Eagle is a low-priced coffee shop near Burger King.",
            "A coffee shop with low prices, The Eagle, stands by Burger King.",
        ],
    ),
    (
        "Loch Fyne is a family friendly restaurant providing wine and cheese.",
        [
            "Loch Fyne provides wine and cheese for families.",
            "Families are welcome at Loch Fyne, a restaurant serving wines and cheeses.",
        ],
    ),
    ("the the the the the the the", ["The cat is on the mat.", "There is a cat on the mat."]),
    ("A man was arrested after a fire.", ["A man has been arrested after a fire at a school."]),
    (
        "Police are appealing for witnesses after a cyclist was seriously injured in Leeds.",
        ["Police have appealed for witnesses after a serious injury to a cyclist in Leeds."],
    ),
    ("It costs 4.50 pounds - or 1,200 yen!", ["It costs £4.50, or 1,200 yen."]),
    ("on the mat the cat sat", ["a cat was sitting on a mat", "the cat sat on the mat"]),
    ("same words , same order", ["same words , same order"]),
    ("", ["Nothing was generated here.", "An empty text."]),
    ("Yes", ["Yes", "Yes, it is."]),
    (
        "The Müller café in Zürich isn't dear, says M. Dupré.",
        ["Müller's café in Zürich is not expensive, M. Dupré says.", "Zürich has a café: Müller."],
    ),
    ("Nothing here overlaps whatsoever", ["completely different material", "an unrelated clause"]),
    (
        "Relational conditions were happily operating; hopefulness formalised the adjustments.",
        ["Relations conditionally operate happily. Hopeful formalities adjust the adjustment."],
    ),
]
# One token a row: `special` ones are what a tokenizer puts around a text.
VECTORS = {
    "hypothesis": [[1, 2, 0, -1], [3, 0, 1, 1], [0, 2, 2, 0], [-1, 1, 0, 2]],
    "reference": [[1, 1, 0, -1], [2, 0, 1, 0], [0, 1, 3, 0], [1, 0, 2, 1], [-1, 1, 1, 2]],
    "hypothesis_weights": [0.0, 1.5, 0.5, 0.0],
    "reference_weights": [0.0, 1.0, 0.25, 2.0, 0.0],
}


WORDS = """
caresses ponies ties caress cats dies flies feed agreed plastered bled motoring sing conflated
troubled sized hopping tanned falling hissing fizzed failing filing happy sky enjoy enjoyment say
spy spied tried died tie relational conditional rational valenci hesitanci digitizer conformabli
radicalli differentli vileli analogousli vietnamization predication operator feudalism decisiveness
hopefulness callousness formaliti sensitiviti sensibiliti triplicate formative formalize
electriciti electrical hopeful goodness revival allowance inference airliner gyroscopic adjustable
defensible irritant replacement adjustment dependent adoption homologou communism activate
angulariti homologous effective bowdlerize probate rate cease controll roll skies dying lying tying
news innings outing cannings howe proceed exceed succeed archaeology theology geology apology
successfully skilfully beautifully wholly generalli possibly nobly knightly ability abilities
running runs ran runner easily easier easiest died lied owing owed using used being been was is as
ion nation nations national nationally nationalism option options union unions onion onions
yes yyyy syzygy toy toys boy employ employee employed employing playing played plays cry crying
cries fly flying flew oats orrery private trouble trees ivy tr ee by a at an eat eats ate atoms
4 4.50 1,200 2nd 1990s müller café zürich naïve 中文 don isn e-mail snake_case x xs xes boxes
families family familiar friendly friend friends cheap cheaper cheapest prices priced pricing
restaurant restaurants serving serves served providing provides provided located location
"""


def main():
    single = [(hypothesis, references[:1]) for hypothesis, references in ROWS]
    content = {
        "rows": ROWS,
        "several": figures(ROWS) | {"nist": nist(ROWS)},
        "single": figures(single) | {"nist": nist_by_nltk(single)},
        "bertscore": {**VECTORS, "f1": bert_score()},
        "stems": stems(),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name("oracle.json").write_text(text, encoding="utf8")


def figures(rows):
    return {**by_sacrebleu(rows), **rouge(rows), "meteor": meteor(rows), "cider": cider(rows)}


def by_sacrebleu(rows):
    from sacrebleu.metrics import BLEU, CHRF, TER

    hypotheses = [hypothesis for hypothesis, _ in rows]
    columns = list(zip_longest(*(references for _, references in rows)))
    named = {"bleu": BLEU(), "chrf": CHRF(), "ter": TER()}
    return {name: metric.corpus_score(hypotheses, columns).score for name, metric in named.items()}


def rouge(rows):
    """Each text's best F1, in percent."""
    from rouge_score.rouge_scorer import RougeScorer

    kinds = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
    scorer = RougeScorer(list(kinds.values()), use_stemmer=True)
    scores = [scorer.score_multi(references, hypothesis) for hypothesis, references in rows]
    return {
        name: [100 * float(score[kind].fmeasure) for score in scores]
        for name, kind in kinds.items()
    }


def meteor(rows):
    """Each text's score, in percent."""
    from nltk.translate.meteor_score import meteor_score

    class Empty:
        @staticmethod
        def synsets(word):
            return []

    return [
        100 * meteor_score(list(map(tokens, references)), tokens(hypothesis), wordnet=Empty)
        for hypothesis, references in rows
    ]


def cider(rows):
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer(n=4, sigma=6.0)
    for hypothesis, references in rows:
        scorer += (" ".join(words(hypothesis)), [" ".join(words(text)) for text in references])
    _, scores = scorer.compute_score()
    return [float(score) for score in scores]


def nist_by_nltk(rows):
    from nltk.translate.nist_score import corpus_nist

    return corpus_nist(
        [list(map(tokens, references)) for _, references in rows],
        [tokens(hypothesis) for hypothesis, _ in rows],
    )


def nist(rows):
    every = [tokens(text) for _, references in rows for text in references]
    figure = 0.0
    for n in range(1, 6):
        information = said = 0
        for hypothesis, references in rows:
            own = runs(tokens(hypothesis), n)
            said += len(own)
            for ngram in set(own):
                there = max(runs(tokens(text), n).count(ngram) for text in references)
                if there:
                    times = sum(runs(text, n).count(ngram) for text in every)
                    before = sum(runs(text, n - 1).count(ngram[:-1]) for text in every)
                    before = before if n > 1 else sum(map(len, every))
                    information += min(own.count(ngram), there) * log2(before / times)
        figure += information / said
    length = sum(len(tokens(hypothesis)) for hypothesis, _ in rows)
    wanted = sum(
        sum(len(tokens(text)) for text in references) / len(references) for _, references in rows
    )
    beta = log(0.5) / log(1.5) ** 2
    return figure * exp(beta * log(min(1, length / wanted)) ** 2)


def runs(sequence, n):
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]


def bert_score():
    import torch
    from bert_score.utils import greedy_cos_idf

    def side(name):
        vectors = torch.tensor([VECTORS[name]], dtype=torch.float64)
        weights = torch.tensor([VECTORS[f"{name}_weights"]], dtype=torch.float64)
        return vectors, torch.ones(vectors.shape[:2], dtype=torch.long), weights

    _, _, f1 = greedy_cos_idf(*side("reference"), *side("hypothesis"))
    return f1.item()


def stems():
    """Words of all steps of the algorithm, of NLTK's amendments, and no words at all."""
    from nltk.stem.porter import PorterStemmer

    stemmer = PorterStemmer()
    return {word: stemmer.stem(word) for word in WORDS.split()}


if __name__ == "__main__":
    main()
