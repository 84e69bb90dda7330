"""Proves that no sequence of 8 words of a built-in task is in the training data of `mini`.

    python tools/check_overlap.py --corpora CORPUS_FOLDER --tasks TASK_FOLDER

Reads everything that the training could have drawn from, counts the shared sequences, and ends
with exit code 1 when there is one. Further folders can be compared with `--also`.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

from mini_data import SOURCES, evaluation_ngrams, ngrams, read_rows

BUILT_IN = Path(__file__).parents[1] / "hardprompt" / "tasks" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=Path, nargs="+", required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    wanted = evaluation_ngrams([BUILT_IN, *args.also])
    shared: set[tuple[str, ...]] = set()
    n_words = 0
    for folder in args.corpora:
        for file in sorted(folder.glob("*.txt.gz")):
            with gzip.open(file, "rt", encoding="utf8") as lines:
                for line in lines:
                    n_words += line.count(" ") + 1
                    shared.update(wanted.intersection(ngrams(line)))
    for name, _ in SOURCES:
        for row in read_rows(args.tasks / name / "train.jsonl"):
            n_words += row["text"].count(" ") + 1
            shared.update(wanted.intersection(ngrams(row["text"])))
    print(
        f"{len(wanted):,} sequences of 8 words against {n_words / 1e6:.1f} M words of training "
        f"text: {len(shared)} shared"
    )
    for sequence in sorted(shared)[:20]:
        print("  " + " ".join(sequence))
    raise SystemExit(bool(shared))


if __name__ == "__main__":
    main()
