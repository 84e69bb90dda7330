"""Answers texts with a found prompt: one text a line in, one JSON object a line out.

python THIS_FILE < texts.txt > answers.jsonl

Blank lines are left out. Needs torch and transformers only. `--model` takes the model from
elsewhere than where the prompt was found, `--device cuda` runs it on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

# `row` is what stands before and after a text, and how many tokens a row may have without the
# prompt (null: what the model has room for); a label's word is what the model is to write next, or
# without labels a text, as `writing` says.
PROMPT: dict[str, Any] = {}
SPARE = 16  # tokens of the context that are left free, as in the search


class Reader:
    """Reads texts through the prompt, one at a time."""

    def __init__(self, source: str, device: str) -> None:
        about, row = PROMPT["model"], PROMPT["row"]
        revision = about["revision"] if source == about["name"] else None
        folder = embedded_folder() if source == "mini" else source
        safe = {"revision": revision, "trust_remote_code": False}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, **safe, use_safetensors=True, dtype=getattr(torch, about["dtype"])
        )
        self.model = model.to(device).eval()
        self.with_prompt: list[str] = row["with_prompt"]
        self.without: list[str] = row["without"]
        self.bare, full = self.tokens("a", special=False), self.tokens("a")
        n = len(self.bare)
        start = next(i for i in range(len(full)) if full[i : i + n] == self.bare)
        self.end = len(full) - start - n  # special tokens that the tokenizer puts behind
        sample = self.context("It is a text")
        joined = [sample + row["before_label"] + label["word"] for label in PROMPT["labels"]]
        self.labels = [self.encode(text)[len(self.encode(sample)) :] for text in joined]
        how = PROMPT.get("writing", {})
        reserved = max(*map(len, self.labels), how.get("limit", 0), how.get("reserved", 0))
        prompt = len(self.encode(self.context(""))) - len(self.encode(self.plain("")))
        room: int = about["context"] - reserved - prompt
        self.room: int = room - SPARE if row["room"] is None else min(room, row["room"])

    def tokens(self, text: str, *, special: bool = True) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def encode(self, text: str) -> list[int]:
        ids = self.tokens(text)
        return ids[: len(ids) - self.end]

    def context(self, text: str) -> str:
        before, after = self.with_prompt
        return (before + text + after).rstrip(" ")

    def plain(self, text: str) -> str:
        """The row without the prompt, by which texts are cut."""
        before, after = self.without
        return (before + text + after).rstrip(" ")

    def fitting(self, text: str) -> str:
        """The text, cut at its end between words where the model has no room for all of it."""
        if self.fits(text):
            return text
        low, high = 0, len(text) - 1  # characters kept
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(text[:middle]) else (low, middle - 1)
        kept: str = text[:low]
        return kept.rsplit(None, 1)[0] if " " in kept else kept.rstrip()

    def fits(self, text: str) -> bool:
        return len(self.encode(self.plain(text.rstrip()))) <= self.room

    def answer(self, text: str) -> dict[str, Any]:
        """The likeliest label with the probabilities of all; without labels what is written."""
        if not self.labels:
            return {"written": self.written(text)}
        names = [label["name"] for label in PROMPT["labels"]]
        shares = dict(zip(names, self.probabilities(text), strict=True))
        rounded = {name: round(p, 6) for name, p in shares.items()}
        return {"label": max(shares, key=shares.__getitem__), "probabilities": rounded}

    @torch.no_grad()
    def written(self, text: str) -> str:
        """The first line of what the model goes on with."""
        ids = self.encode(self.context(self.fitting(text)))
        row = torch.tensor([ids], device=self.model.device)
        line = self.tokens("a\n", special=False)[len(self.bare) :]
        end = self.tokenizer.eos_token_id
        ends = [*([] if end is None else [end]), *(line if len(line) == 1 else [])]
        how = GenerationConfig(
            max_new_tokens=PROMPT["writing"]["limit"],
            num_beams=PROMPT["writing"]["beams"],
            do_sample=False,
            eos_token_id=ends or None,
            pad_token_id=ends[0] if ends else 0,
        )
        self.model.generation_config = GenerationConfig()  # no penalties of the model's own
        mask = torch.ones_like(row)
        out = self.model.generate(input_ids=row, attention_mask=mask, generation_config=how)
        new = out[0, len(ids) :].tolist()
        kept = new[: next((i for i, token in enumerate(new) if token in ends), len(new))]
        before, whole = (self.decode(part) for part in (self.bare, [*self.bare, *kept]))
        return whole[len(before) :].strip().split("\n")[0].strip()

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    @torch.no_grad()
    def probabilities(self, text: str) -> list[float]:
        """Of each label, in their order: what the model gives its word, all words summing to 1."""
        ids = self.encode(self.context(self.fitting(text)))
        scores = [self.log_prob(ids, label) for label in self.labels]
        return torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()

    def log_prob(self, ids: list[int], label: list[int]) -> float:
        row = torch.tensor([ids + label[:-1]], device=self.model.device)
        logits = self.model(input_ids=row, use_cache=False).logits[0, len(ids) - 1 :].float()
        log_probs = logits.log_softmax(-1)
        return float(sum(log_probs[place, token] for place, token in enumerate(label)))


def embedded_folder() -> str:
    """The model inside an installed hardprompt; none of its code is run."""
    package = find_spec("hardprompt")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("mini is inside hardprompt: install that, or give --model FOLDER")
    return str(Path(package.submodule_search_locations[0], "models", "mini"))


def texts() -> Iterator[str]:
    """The lines of standard input, which is UTF-8 whatever the locale says."""
    file = TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="\n")
    try:
        yield from filter(None, map(str.strip, file))
    except UnicodeDecodeError as error:
        raise SystemExit(f"error: standard input is not UTF-8 text ({error.reason})") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=PROMPT["model"]["name"], help="hub id or folder")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps")
    options = parser.parse_args()
    reader = Reader(options.model, options.device)
    for text in texts():
        sys.stdout.write(json.dumps({"text": text, **reader.answer(text)}) + "\n")


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads may leave, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
