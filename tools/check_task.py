"""Checks the rules of the built-in tasks, and measures how hard they are.

    python tools/check_task.py --tasks TASK_FOLDER [NAME ...]

No two rows of a task share five consecutive words; every row has as many words as the task's
card says; in every split the classes are equally frequent; and TF-IDF (words and pairs of words)
with logistic regression, trained on public tasks with the same classes, gets at most 85% of test
right. Its accuracy is the figure of the task's card. Ends with exit code 1 when a rule is broken.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mini_data import ngrams, read_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

BUILT_IN = Path(__file__).parents[1] / "hardprompt" / "tasks" / "data"
SPLITS = ("search", "dev", "test")
MOST_ACCURACY = 0.85

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Rules:
    """What the card of a task promises."""

    words: tuple[int, int]  # fewest and most words of a row
    training: Mapping[str, Mapping[str, str]]  # public task -> its label: ours


SAME = {"negative": "negative", "positive": "positive"}
TASKS = {
    "sentiment": Rules((5, 40), {"sst2": SAME, "yelp-sent": SAME}),
    "topic": Rules(
        (8, 45),
        {
            "agnews": {
                "World": "world",
                "Sports": "sports",
                "Business": "business",
                "Sci/Tech": "technology",
            },
            # Its politics is British and domestic: no class of ours.
            "bbc": {"sport": "sports", "business": "business", "tech": "technology"},
        },
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TASKS)}")
    parser.add_argument("--tasks", type=Path, required=True)
    args = parser.parse_args()
    for name in args.names:
        if name not in TASKS:
            parser.error(f"no rules for the task '{name}'; there are: {', '.join(TASKS)}")
    kept = [check(name, TASKS[name], args.tasks) for name in args.names or TASKS]
    raise SystemExit(not all(kept))


def check(name: str, rules: Rules, tasks: Path) -> bool:
    """Prints the figures of a task, and says whether it keeps its rules."""
    splits = {split: read_rows(BUILT_IN / f"{name}-{split}.jsonl") for split in SPLITS}
    rows = list(chain(*splits.values()))
    balanced = True
    for split, part in splits.items():
        counts = Counter(row["label"] for row in part)
        balanced &= len(set(counts.values())) == 1
        print(f"{name} {split}: {len(part)} rows, {dict(sorted(counts.items()))}")
    fewest, most = rules.words
    odd = [row["text"] for row in rows if not fewest <= len(row["text"].split()) <= most]
    shared = shared_sequences(rows)
    print(f"{len(rows)} rows; five words shared: {shared}; not {fewest} to {most} words: {odd}")
    accuracy = tfidf_accuracy(rules, tasks, splits["test"])
    return balanced and not shared and not odd and accuracy <= MOST_ACCURACY


def shared_sequences(rows: Rows) -> list[str]:
    """Sequences of five words that stand in more than one row."""
    seen = Counter(sequence for row in rows for sequence in set(ngrams(row["text"], 5)))
    return [" ".join(sequence) for sequence, count in seen.items() if count > 1]


def tfidf_accuracy(rules: Rules, tasks: Path, test: Rows) -> float:
    """Accuracy on test of a bag of words that was trained elsewhere; printed, with its rows."""
    texts: list[str] = []
    labels: list[str] = []
    for name, ours in rules.training.items():
        rows = [row for row in read_rows(tasks / name / "train.jsonl") if row["label"] in ours]
        texts += [row["text"] for row in rows]
        labels += [ours[row["label"]] for row in rows]
        print(f"trained on {len(rows):,} train rows of {name}")
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = LogisticRegression(C=4, max_iter=500)
    model.fit(vectors.fit_transform(texts), labels)
    score = model.score(vectors.transform([r["text"] for r in test]), [r["label"] for r in test])
    print(f"TF-IDF and logistic regression on test: {score:.3f}")
    return float(score)


if __name__ == "__main__":
    main()
