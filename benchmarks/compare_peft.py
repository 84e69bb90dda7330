"""Our prompt tuning beside plain `peft` with its defaults, trained for as many steps.

    pip install '.[compare]'
    python -m benchmarks.compare_peft --task ../shared/data/tasks/sst2/16shot-* --budget 120 \
        --out benchmarks/compare-peft

Ours is what `hardprompt compare` does: a few settings share the budget, dev chooses. `peft` gets
as many steps as all of these together, of as many rows, in one run: virtual tokens drawn at
random (its default), AdamW at 1e-3 (the rate of its own comparison of methods), cross-entropy on
the label word, texts padded to the right. Both rows are shown, and `peft` begun at sampled words.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from benchmarks import script
from benchmarks.rerun import Runs
from hardprompt.baselines.base import Bench
from hardprompt.baselines.prompt_tuning import PromptTuning
from hardprompt.baselines.tuning import minibatches
from hardprompt.config import RunConfig
from hardprompt.models import mini
from hardprompt.session import Session
from hardprompt.types import IntArray

RATE = 1e-3
ROWS = 64  # of a batch that is only read
OURS = "hardprompt"
STARTS = {"peft, defaults": "RANDOM", "peft, sampled words": "SAMPLE_VOCAB"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", required=True, help="tasks, or splits of one")
    parser.add_argument("--model", default="mini", help="mini or a folder")
    parser.add_argument("--len", type=int, default=5)
    parser.add_argument("--budget", type=float, help="prompts; by default that of search")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    return parser.parse_args()


def ours(session: Session) -> tuple[float, float, int]:
    """Accuracy on dev and test, and the steps of all trials together."""
    with tempfile.TemporaryDirectory() as folder:
        rows = session.budget * len(session.task.search)
        seed = session.config.seed
        bench = Bench(session, np.random.default_rng(seed), rows, Path(folder))
        fitted = PromptTuning().fit(bench)
    steps = sum(trial["steps"] for trial in fitted.details["trials"])
    dev, test = (
        _accuracy(session, split, fitted.predict(split).argmax(axis=1)) for split in ("dev", "test")
    )
    return dev, test, steps


class Plain:
    """`peft` as its own examples use it, on the rows of a session without its slot."""

    def __init__(self, session: Session, folder: str, start: str) -> None:
        self.session = session
        self.labels = torch.tensor([label[0] for label in session.scorers["search"].labels])
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        torch.manual_seed(session.config.seed)
        config = peft.PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=session.space.length, prompt_tuning_init=start
        )
        self.model = peft.get_peft_model(base, config)
        self.virtual = session.space.length

    def train(self, steps: int) -> None:
        """AdamW on the virtual tokens alone."""
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=RATE)
        rng = np.random.default_rng(self.session.config.seed)
        batches = minibatches(len(self.session.task.search), rng)
        gold = torch.from_numpy(self.session.gold("search"))
        self.model.train()
        for _ in range(steps):
            rows = next(batches)
            logits = self.logits("search", rows)
            optimizer.zero_grad()
            cross_entropy(logits, self.labels[gold[rows]]).backward()
            optimizer.step()
        self.model.eval()

    def accuracy(self, split: str) -> float:
        """By the likeliest of the label words."""
        texts = self.session.scorers[split].texts
        order = np.argsort([len(text) for text in texts], kind="stable")  # little padding
        called = np.empty(len(texts), dtype=np.int64)
        with torch.no_grad():
            for low in range(0, len(texts), ROWS):
                rows = order[low : low + ROWS]
                called[rows] = self.logits(split, rows)[:, self.labels].argmax(1).numpy()
        return _accuracy(self.session, split, called)

    def logits(self, split: str, rows: IntArray) -> torch.Tensor:
        """`(rows, V)` where the label word is predicted; `peft` returns virtual tokens too."""
        scorer = self.session.scorers[split]
        codec = self.session.model.codec
        encoded = codec.encode_many([scorer.texts[row] for row in rows])
        longest = max(map(len, encoded))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in encoded])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in encoded])
        last = torch.tensor([self.virtual + len(row) - 1 for row in encoded])
        found = self.model(input_ids=ids, attention_mask=mask).logits
        return found[torch.arange(len(rows)), last]


def _accuracy(session: Session, split: str, called: IntArray) -> float:
    return float((session.gold(split) == called).mean())


def fitted(args: argparse.Namespace, task: str, name: str, steps: int | None) -> dict[str, Any]:
    """One way on one split; `steps` are those of ours, which come first."""
    config = RunConfig(
        task=task, model=args.model, length=args.len, budget=args.budget, seed=args.seed
    )
    session = Session.prepare(config)
    began = time.process_time()
    if steps is None:
        dev, test, steps = ours(session)
    else:
        folder = str(mini.verified_folder()) if args.model == "mini" else args.model
        plain = Plain(session, folder, STARTS[name])
        plain.train(steps)
        dev, test = plain.accuracy("dev"), plain.accuracy("test")
    seconds = time.process_time() - began
    return {
        "name": name, "task": task, "seed": args.seed, "steps": steps,
        "dev": dev, "test": test, "cpu_seconds": seconds,
    }  # fmt: skip


def main() -> None:
    args = arguments()
    stored = Runs(args.out, {key: getattr(args, key) for key in ("model", "len", "budget")})
    for task, name in product(args.task, (OURS, *STARTS)):
        if not stored.has(task=task, name=name, seed=args.seed):
            own = stored.of(task=task, name=OURS, seed=args.seed)
            run = fitted(args, task, name, own[0]["steps"] if own else None)
            stored.add(run)
            print(run, flush=True)
    args.out.with_suffix(".md").write_text(table(args, stored), encoding="utf8")


def table(args: argparse.Namespace, stored: Runs) -> str:
    """A Markdown table with the command that makes it and what it cost."""
    command = f"python -m benchmarks.compare_peft --task {' '.join(args.task)}"
    command += f" --budget {args.budget:g}" if args.budget else ""
    steps = stored.of(name=OURS, seed=args.seed)[0]["steps"]
    lines = [
        "# Our prompt tuning and plain peft, trained for the same steps",
        "",
        f"`{command} --seed {args.seed} --out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens, {steps} steps; accuracy, mean over "
        f"{len(args.task)} splits, in brackets the range; peft {peft.__version__}; "
        f"{stored.cpu_hours():.2f} CPU hours.",
        "",
        "| soft prompt | dev | test |",
        "| --- | --- | --- |",
    ]
    for name in (OURS, *STARTS):
        runs = [
            run for task in args.task for run in stored.of(task=task, name=name, seed=args.seed)
        ]
        spreads = [_spread(np.array([run[split] for run in runs])) for split in ("dev", "test")]
        lines.append(f"| {name} | {' | '.join(spreads)} |")
    return "\n".join(lines) + "\n"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ({values.min():.3f}-{values.max():.3f})"


if __name__ == "__main__":
    script.run(main)
