"""Writes the model card of `mini` from the figures of `eval_mini.py`.

    python tools/eval_mini.py --model hardprompt/models/mini --tasks TASKS \
        --held-out build/mini/held_out.json --json build/mini/figures.json
    python tools/write_card.py --figures build/mini/figures.json --tokens 46.0
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "hardprompt" / "models" / "mini" / "README.md"
ABOUT = """\
# mini

The embedded model of hardprompt: a causal language model for trying things out without a
download. It knows simple English, opinions and newspaper topics, and little else; its facts are
not to be trusted, and it is no assistant.

Llama architecture, {parameters} parameters ({layers} layers of {width}, tied embeddings),
byte-level BPE of {vocabulary:,} tokens, context {context}, float16. A text is read as if a space
stood before it, and begins with `<|endoftext|>`. Trained from scratch by `tools/train_mini.py`;
the sha256 of every file is checked at each load (`sha256.json`).

## Training

{tokens} M tokens, about half of them plain text and half short documents that hold a text and its
label word in one of {phrasings} wordings (`tools/mini_phrasings.py`): after, before and between,
natural wording only, no label changed. The last fifth of training has rows of 512 tokens, the
rest of 128. A label word counts {weight} times in the loss.

| corpus | licence | may weights be passed on? |
| --- | --- | --- |
| Project Gutenberg books; novels 1895-1929 | public domain in the USA | yes |
| US presidents' addresses | public domain | yes |
| Wikipedia sentences (T-REx, WikiSplit, WikiText-2) | CC BY-SA 3.0/4.0 | yes, with credit |
| OneStopEnglish news | CC BY-SA 4.0 | yes, with credit |
| MedQuAD answers | CC BY 4.0 | yes, with credit |
| GSM8K | MIT | yes |
| TinyStories (1,000) | CDLA-Sharing-1.0 | yes |
| Movie reviews 2.0; pros and cons (NLTK) | CC BY 4.0 | yes, with credit |
| IMDb reviews (Maas et al., 2011) | research, with citation | not stated |
| Amazon multi-domain reviews (Blitzer et al., 2007) | research, with citation | not stated |
| Yelp sentences (Shen et al., 2017) | Yelp's terms | not stated |
| BBC articles (Greene & Cunningham, 2006) | research | not stated |

For the last four no licence says whether weights trained on them may be redistributed; whoever
needs certainty retrains without them: `tools/train_mini.py --corpora` names the folders.

The plain text of IMDb holds the reviews of its training set; the labelled documents come from the
train rows of IMDb, the Yelp sentences, Amazon and BBC. Left out: every paragraph and row that
shares a sequence of 8 words with SST-2, AG News, RTE, BoolQ, or the facts sets. No sequence of 8
words of the built-in tasks is in the training text (`tools/check_overlap.py`).

## Figures

Bits per byte on held-out plain text (1% of the documents, first 512 tokens): {bits:.3f}.

Zero-shot accuracy on test for 20 hand-written prompts each, raw and with the label prior taken
out (batch calibration, Zhou et al., 2023), by `tools/eval_mini.py`:

| task | | best | 10th percentile | 90th percentile | range |
| --- | --- | --- | --- | --- | --- |
{summary}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--tokens", required=True, help="millions of tokens seen")
    args = parser.parse_args()
    figures = json.loads(args.figures.read_text(encoding="utf8"))
    config = json.loads((TARGET.parent / "config.json").read_text(encoding="utf8"))
    text = ABOUT.format(
        parameters=f"{count_parameters(config) / 1e6:.2f} M",
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        vocabulary=config["vocab_size"],
        context=config["max_position_embeddings"],
        tokens=args.tokens,
        phrasings=count_phrasings(),
        weight=4,
        bits=figures["bits_per_byte"],
        summary="\n".join(summary(name, figures[name]) for name in ("sst2", "agnews")),
    )
    tables = "\n".join(prompts(name, figures[name]) for name in ("sst2", "agnews"))
    TARGET.write_text(text + tables, encoding="utf8")


def count_parameters(config: dict[str, Any]) -> int:
    d, inner = config["hidden_size"], config["intermediate_size"]
    layer = 4 * d * d + 3 * d * inner + 2 * d
    return int(config["vocab_size"] * d + config["num_hidden_layers"] * layer + d)


def count_phrasings() -> int:
    import mini_phrasings as p

    return len(p.TOPICS) + len(p.FIXED) + sum(len(family) for family, _, _ in p.SENTIMENT_MIX)


def summary(name: str, figures: dict[str, Any]) -> str:
    return "\n".join(
        f"| {name} | {kind} | "
        + " | ".join(f"{figures[kind][key]:.3f}" for key in ("best", "p10", "p90", "range"))
        + " |"
        for kind in ("raw", "calibrated")
    )


def prompts(name: str, figures: dict[str, Any]) -> str:
    rows = "\n".join(
        f"| `{prompt}` | {raw:.3f} | {calibrated:.3f} |"
        for prompt, (raw, calibrated) in figures["prompts"].items()
    )
    return f"\n### {name}\n\n| prompt | raw | calibrated |\n| --- | --- | --- |\n{rows}\n"


if __name__ == "__main__":
    main()
