"""Counts prompts whose token ids change when their text is pasted; there must be none.

    python -m benchmarks.retokenise --prompts 10000 --out benchmarks/retokenise.md

For each family of tokenizers (trained on the built-in task), three templates and two
vocabularies: random prompts of five allowed tokens are written out as a search reports them.
What `Scorer.survives` lets through is pasted into its template around a text drawn from the
task, read by the tokenizer anew, and must give the ids that were searched, and the same ids
around them. "do not survive" is the share that the search itself refuses. Ends with exit code 1
on a mismatch.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from hardprompt.models.codec import Codec
from hardprompt.models.tokenizer import load_tokenizer
from hardprompt.scoring.compile import Renderer
from hardprompt.scoring.places import find_probes, fitting
from hardprompt.scoring.scorer import Scorer
from hardprompt.tasks.load import load_task
from hardprompt.template import Template
from hardprompt.types import EMPTY, IntArray
from hardprompt.vocabulary import Vocabulary
from tests.families import FAMILIES, wrapped

TEMPLATES = (
    "{prompt:5} {text} {label}",
    "{text} {prompt:5} {label}",
    "{prompt:2} about {text} so it is {prompt:3} {label}",
)
KINDS = ("words", "all")
BATCH = 500
HEAD = (
    "| tokenizer | vocabulary | template | tokens | prompts | do not survive | changed |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


@dataclass
class Count:
    """Of the prompts tried: how many the search refuses, and how many of the others change."""

    tokens: int
    tried: int = 0
    refused: int = 0
    changed: int = 0


def load(family: str) -> Any:
    """A freshly trained tokenizer of the family, saved and loaded as a user's would be."""
    with tempfile.TemporaryDirectory() as folder:
        wrapped(family).save_pretrained(folder)
        return load_tokenizer(folder, family, None)


def count(tokenizer: Any, source: str, kind: str, n: int, seed: int = 0) -> Count:
    """Tries n random prompts of a vocabulary in a template."""
    texts = [example.text for example in load_task("sentiment", search_rows=64).search]
    codec = Codec(tokenizer)
    template = Template.parse(source)
    renderer, slots = Renderer(codec, template), template.slots(None)
    vocabulary = Vocabulary.build(codec, len(tokenizer), kind)
    probes = find_probes(renderer, vocabulary.tokens, len(slots), texts[0])
    # No model: nothing is scored here.
    scorer = Scorer(None, renderer, texts, (), slots, probes)  # type: ignore[arg-type]
    tokens = vocabulary.tokens[fitting(scorer, vocabulary.tokens, probes[0])]
    rng, found = np.random.default_rng(seed), Count(len(tokens))
    for low in range(0, n, BATCH):
        ids = rng.choice(tokens, size=(min(BATCH, n - low), sum(slots)))
        alive = scorer.survives(ids)
        found.tried += len(ids)
        found.refused += int((~alive).sum())
        found.changed += sum(
            _changes(tokenizer, scorer, row, int(rng.integers(len(texts)))) for row in ids[alive]
        )
    return found


def _changes(tokenizer: Any, scorer: Scorer, row: IntArray, number: int) -> bool:
    """Whether the prompt, pasted around that text, is read as other tokens than were searched."""
    prompts = scorer.renderer.prompt_texts(row, scorer.slots)
    pasted = scorer.renderer.template.render(prompts, scorer.texts[number])
    ends = np.cumsum(scorer.slots)
    slots = [row[a - k : a] for a, k in zip(ends, scorer.slots, strict=True)]
    searched = scorer.rows[number].joined([[int(t) for t in s if t != EMPTY] for s in slots])
    got = tokenizer(pasted)["input_ids"]
    return bool(got != [*searched, *scorer.renderer.codec.suffix])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prompts", type=int, default=10_000, help="of each table row")
    parser.add_argument("--out", type=Path, help="a Markdown file; the table is printed anyway")
    arguments = parser.parse_args()
    command = f"python -m benchmarks.retokenise --prompts {arguments.prompts}"
    command += f" --out {arguments.out}" if arguments.out else ""
    lines = ["# Prompts whose tokens change when they are pasted", "", f"`{command}`", "", *HEAD]
    print("\n".join(HEAD))
    changed = 0
    for family in FAMILIES:
        tokenizer = load(family)
        for kind in KINDS:
            for source in TEMPLATES:
                found = count(tokenizer, source, kind, arguments.prompts)
                changed += found.changed
                lines.append(
                    f"| {family} | {kind} | `{source}` | {found.tokens:,} | {found.tried:,} "
                    f"| {found.refused / found.tried:.1%} | {found.changed} |"
                )
                print(lines[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf8")
    raise SystemExit(changed > 0)


if __name__ == "__main__":
    script.run(main)
