"""Figures of the model card: bits per byte, and accuracy of 20 hand-written prompts a task.

    python tools/eval_mini.py --model hardprompt/models/mini --tasks TASK_FOLDER

Accuracy is zero-shot: the label word with the highest log-probability. "Calibrated" takes the
label prior out by batch calibration (Zhou et al., 2023, eq. 5): the mean log-probability of
each class over the rows is subtracted first.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from mini_data import read_rows
from transformers import AutoModelForCausalLM, AutoTokenizer

from hardprompt.models.load import load_model
from hardprompt.scoring.compile import Renderer
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.plan import Row, group_rows
from hardprompt.template import Template

SENTIMENT = (
    "{text}",
    "{text} It was",
    "{text} Overall, it was",
    "{text} All in all,",
    "{text} In one word,",
    "{text} My verdict:",
    "{text} This movie is",
    "{text} What a",
    "{text} The film was simply",
    "{text} I found it",
    "Is this good or bad? {text}",
    "Was it terrible or great? {text}",
    "Sentiment of the review: {text}",
    "Describe it in one word. {text}",
    "What did they think? {text}",
    "Movie review with rating: {text}",
    "Review: {text} Verdict:",
    "Review: {text} Rating:",
    "Is this terrible or great? {text} It is",
    "Classify the sentiment. {text} Label:",
)
TOPIC = (
    "{text}",
    "{text} Topic:",
    "{text} This is about",
    "{text} This article is about",
    "{text} Category:",
    "{text} Section:",
    "{text} Filed under",
    "{text} More news about",
    "{text} The subject is",
    "{text} This story belongs to",
    "Is this about world, sports, business or technology? {text}",
    "Topic: {text}",
    "What is this news about? {text}",
    "The topic of this article: {text}",
    "Classify the article. {text}",
    "Which section of the newspaper? {text}",
    "Article: {text} Topic:",
    "News: {text} Category:",
    "What is the topic? {text} Answer:",
    "Is this about sports or business? {text} It is about",
)
TASKS = {
    "sst2": (SENTIMENT, {"negative": "terrible", "positive": "great"}),
    "agnews": (
        TOPIC,
        {"World": "world", "Sports": "sports", "Business": "business", "Sci/Tech": "technology"},
    ),
}


def accuracies(model_name: str, folder: Path, rows_limit: int | None) -> dict[str, object]:
    """Both accuracies of every prompt on the test rows of one task."""
    prompts, words = TASKS[folder.name]
    rows = read_rows(folder / "test.jsonl")[:rows_limit]
    gold = np.array([list(words).index(str(row["label"])) for row in rows])
    model = load_model(model_name)
    found = {}
    for prompt in prompts:
        # The slot stays empty: these prompts are written out in the template.
        renderer = Renderer(model.codec, Template.parse(f"{{prompt}} {prompt} {{label}}"))
        texts = [str(row["text"]) for row in rows]
        labels = renderer.label_ids(tuple(words.values()), texts[0], [""])
        encoded = [Row((tuple(ids),)) for ids in renderer.encode([""], texts)]
        scores = np.empty((len(rows), len(words)))
        for group in group_rows(encoded, range(len(rows))):
            scores[group.examples] = model.label_log_probs(group, labels, [])[0]
        log_probs = normalise(scores)
        calibrated = log_probs - log_probs.mean(axis=0)
        found[prompt] = [
            float((log_probs.argmax(1) == gold).mean()),
            float((calibrated.argmax(1) == gold).mean()),
        ]
    return {"prompts": found, **{n: summary(found, i) for i, n in enumerate(("raw", "calibrated"))}}


def summary(found: dict[str, list[float]], column: int) -> dict[str, float]:
    values = np.array([pair[column] for pair in found.values()])
    low, high = np.percentile(values, [10, 90])
    return {"best": values.max(), "p10": low, "p90": high, "range": high - low}


def bits_per_byte(folder: str, held_out: Path) -> float:
    """Of held-out plain text, each document read from its beginning, at most 512 tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    nats, n_bytes = 0.0, 0
    for text in json.loads(held_out.read_text(encoding="utf8")):
        ids = tokenizer(text)["input_ids"][:512]
        if len(ids) < 2:
            continue
        row = torch.tensor([ids])
        with torch.no_grad():
            nats += float(model(input_ids=row, labels=row).loss) * (len(ids) - 1)
        n_bytes += len(tokenizer.decode(ids[1:]).encode())
    return nats / math.log(2) / n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, help="held_out.json of the training")
    parser.add_argument("--rows", type=int, help="only the first rows, for a quick look")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    figures: dict[str, object] = {}
    for name in TASKS:
        figures[name] = accuracies(args.model, args.tasks / name, args.rows)
    if args.held_out:
        figures["bits_per_byte"] = bits_per_byte(args.model, args.held_out)
    text = json.dumps(figures, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
