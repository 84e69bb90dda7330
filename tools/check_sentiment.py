"""Checks the rules of the built-in task `sentiment`, and measures how hard it is.

    python tools/check_sentiment.py --tasks TASK_FOLDER

No two rows share five consecutive words; 5 to 40 words a row; classes balanced; and the accuracy
on test of TF-IDF (words and pairs of words) with logistic regression, trained on the train rows
of sst2 and yelp-sent, the figure of the task's card.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import chain
from pathlib import Path

from mini_data import ngrams, read_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

BUILT_IN = Path(__file__).parents[1] / "hardprompt" / "tasks" / "data"
SPLITS = ("search", "dev", "test")
TRAINING = ("sst2", "yelp-sent")
MOST_ACCURACY = 0.85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, required=True)
    args = parser.parse_args()
    splits = {name: read_rows(BUILT_IN / f"sentiment-{name}.jsonl") for name in SPLITS}
    rows = list(chain(*splits.values()))
    seen = Counter(sequence for row in rows for sequence in set(ngrams(row["text"], 5)))
    shared = [" ".join(sequence) for sequence, count in seen.items() if count > 1]
    odd = [row["text"] for row in rows if not 5 <= len(row["text"].split()) <= 40]
    for name, split in splits.items():
        print(name, len(split), dict(Counter(row["label"] for row in split)))
    print(f"{len(rows)} rows; five words shared: {shared}; of odd length: {odd}")
    accuracy = tfidf_accuracy(args.tasks, splits["test"])
    print(f"TF-IDF and logistic regression on test: {accuracy:.3f}")
    raise SystemExit(bool(shared or odd or accuracy > MOST_ACCURACY))


def tfidf_accuracy(tasks: Path, test: list[dict[str, str]]) -> float:
    train = [row for name in TRAINING for row in read_rows(tasks / name / "train.jsonl")]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = LogisticRegression(C=4, max_iter=500)
    model.fit(vectors.fit_transform([r["text"] for r in train]), [r["label"] for r in train])
    score = model.score(vectors.transform([r["text"] for r in test]), [r["label"] for r in test])
    return float(score)


if __name__ == "__main__":
    main()
