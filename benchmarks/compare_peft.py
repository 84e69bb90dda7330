"""Our prompt tuning beside plain `peft` with its defaults, trained for as many steps.

    pip install '.[compare]'
    python benchmarks/compare_peft.py --task ../shared/data/tasks/sst2/16shot-* --budget 120 \
        --out benchmarks/compare-peft

Ours is what `hardprompt compare` does: a few settings share the budget, dev chooses. `peft` gets
as many steps as all of these together, of as many rows, in one run: virtual tokens drawn at
random (its default), AdamW at 1e-3 (the rate of its own comparison of methods), cross-entropy on
the label word, texts padded to the right. Both rows are shown, and `peft` begun at sampled words.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from hardprompt.baselines.base import Bench
from hardprompt.baselines.prompt_tuning import PromptTuning
from hardprompt.baselines.tuning import minibatches
from hardprompt.config import RunConfig
from hardprompt.models import mini
from hardprompt.session import Session
from hardprompt.types import IntArray

RATE = 1e-3
ROWS = 64  # of a batch that is only read
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


def one(args: argparse.Namespace, task: str) -> dict[str, Any]:
    """All rows of one split."""
    session = Session.prepare(
        RunConfig(task=task, model=args.model, length=args.len, budget=args.budget, seed=args.seed)
    )
    began = time.process_time()
    dev, test, steps = ours(session)
    found = {"task": task, "steps": steps, "hardprompt": [dev, test]}
    folder = str(mini.verified_folder()) if args.model == "mini" else args.model
    for name, start in STARTS.items():
        plain = Plain(session, folder, start)
        plain.train(steps)
        found[name] = [plain.accuracy("dev"), plain.accuracy("test")]
    return found | {"cpu_seconds": time.process_time() - began}


def main() -> None:
    args = arguments()
    file = args.out.with_suffix(".json")
    options = {key: str(value) for key, value in vars(args).items() if key != "out"}
    stored = json.loads(file.read_text(encoding="utf8")) if file.exists() else {}
    done: list[dict[str, Any]] = stored["runs"] if stored.get("options") == options else []
    for task in args.task[len(done) :]:
        done.append(one(args, task))
        file.write_text(json.dumps({"options": options, "runs": done}, indent=1) + "\n")
        print(done[-1], flush=True)
    args.out.with_suffix(".md").write_text(table(args, done), encoding="utf8")


def table(args: argparse.Namespace, done: list[dict[str, Any]]) -> str:
    """A Markdown table with the command that makes it and what it cost."""
    command = f"python benchmarks/compare_peft.py --task {' '.join(args.task)}"
    command += f" --budget {args.budget:g}" if args.budget else ""
    hours = sum(run["cpu_seconds"] for run in done) / 3600
    lines = [
        "# Our prompt tuning and plain peft, trained for the same steps",
        "",
        f"`{command} --seed {args.seed} --out {args.out}`",
        "",
        f"Model {args.model}, {args.len} tokens, {done[0]['steps']} steps; accuracy, mean over "
        f"{len(done)} splits, in brackets the range; peft {peft.__version__}; {hours:.2f} CPU "
        "hours.",
        "",
        "| soft prompt | dev | test |",
        "| --- | --- | --- |",
    ]
    for name in ("hardprompt", *STARTS):
        columns = np.array([run[name] for run in done]).T
        lines.append(f"| {name} | {' | '.join(map(_spread, columns))} |")
    return "\n".join(lines) + "\n"


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ({values.min():.3f}-{values.max():.3f})"


if __name__ == "__main__":
    main()
