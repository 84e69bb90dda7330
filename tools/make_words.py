"""Makes the list of English words by which a readable vocabulary is chosen.

    python tools/make_words.py --corpora CORPUS_FOLDER > hardprompt/data/words.txt

Words are counted where they stand in lower case, so that names drop out, in texts whose
licence allows it (public domain, CC BY, CC BY-SA), and written most frequent first.
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections import Counter
from pathlib import Path

CORPORA = (
    "gutenberg",
    "novels-1895-1929",
    "speeches",
    "wiki-trex-sentences",
    "wiki-split",
    "wikitext-2",
    "news-onestop",
    "reviews-polarity2",
    "reviews-proscons",
)
LOWER_WORD = re.compile(r"(?<![A-Za-z'-])[a-z]+(?![A-Za-z'-])")
MARKUP = {"unk", "endoftext"}
FEWEST, MOST = 25, 20000
SHORT_WORDS = """
a am an as at be by do go ha he if in is it me my no of oh on or so to up us we
"""
SHORT = set(SHORT_WORDS.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=Path, required=True)
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    for name in CORPORA:
        found: Counter[str] = Counter()
        with gzip.open(args.corpora / f"{name}.txt.gz", "rt", encoding="utf8") as lines:
            for line in lines:
                found.update(LOWER_WORD.findall(line))
        # Each corpus counts alike per word it holds, or the novels would drown the rest.
        total = sum(found.values())
        for word, count in found.items():
            if count >= FEWEST / 10:
                counts[word] += count * 1e9 / total
    kept = [word for word in counts.keys() - MARKUP if len(word) > 2 or word in SHORT]
    kept.sort(key=lambda word: (-counts[word], word))
    print("\n".join(kept[:MOST]))


if __name__ == "__main__":
    main()
