"""Trains `mini`, the model inside the package. Resumable; the same seed gives the same data.

    python tools/train_mini.py --corpora CORPUS_FOLDER --tasks TASK_FOLDER --out build/mini

`CORPUS_FOLDER` holds `NAME.txt.gz` files whose documents end with a line
`<|endoftext|>`; several folders may be given, so that a user can leave out the
texts that are for research only. `TASK_FOLDER` holds the labelled tasks. Run the
same command again to go on after a stop; `--tokens` may be raised until the
learning rate has begun to fall (`--decay` of the training, linearly).

Other sizes of the same recipe take `--layers`, `--width`, `--inner` and `--heads`,
and `--tokenizer` for the tokens of `mini` itself; `--cpu-minutes` ends a training
by this process' CPU time instead of by tokens. Sizes that share `--data` encode
the texts once. `docs/models.md` has the commands.

Optimisers: Muon (Jordan et al., 2024) for the matrices, AdamW for the rest.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mini_data import (
    END,
    Labelled,
    Mixture,
    Plain,
    evaluation_ngrams,
    plain_documents,
    train_tokenizer,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, processors
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HELD_OUT_EVERY = 100  # one document in so many is kept for the bits per byte
MUON_RATE, ADAM_RATE = 0.02, 3e-3
WARM_UP_STEPS = 100
LONG_SHARE = 0.2  # the last part of training has long rows
SHORT, LONG = 128, 512
LOSSES = 160  # steps over which the loss is averaged
TOKENIZER = "tokenizer.json"
SAVE_EVERY = 150  # seconds between two checkpoints


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=Path, nargs="+", required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--exclude", type=Path, nargs="*", default=[], help="evaluation rows")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="where encoded texts are kept; default: --out")
    parser.add_argument("--every", type=int, default=1, help="one document in so many is read")
    parser.add_argument("--tokens", type=float, default=60e6)
    parser.add_argument("--cpu-minutes", type=float, help="ends the training in place of --tokens")
    parser.add_argument("--decay", type=float, default=0.45)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; default: one is trained")
    parser.add_argument("--vocabulary", type=int, default=5120, help="of a tokenizer to train")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--inner", type=int, default=640)
    parser.add_argument("--heads", type=int, help="default: one for 64 of the width")
    parser.add_argument("--rows", type=int, default=24, help="rows of 128 tokens in a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> Mixture:
    """The tokenizer and the encoded passages, made once and kept beside the checkpoint."""
    data = args.data or args.out
    data.mkdir(parents=True, exist_ok=True)
    banned = evaluation_ngrams(args.exclude)
    cache = data / "plain.npz"
    labelled = Labelled(args.tasks, "train", banned)
    if not cache.exists():
        encode_plain(args, data, labelled, banned)
    stored = np.load(cache)
    plain = Plain(stored["ids"], stored["starts"])
    return Mixture(plain, labelled, read_tokenizer(data), args.seed)


def encode_plain(
    args: argparse.Namespace, data: Path, labelled: Labelled, banned: set[tuple[str, ...]]
) -> None:
    """Writes tokenizer, encoded passages and held-out documents."""
    found = [
        item for folder in args.corpora for item in plain_documents(folder, banned, args.every)
    ]
    train = [doc for i, (_, doc) in enumerate(found) if i % HELD_OUT_EVERY]
    held_out = [doc for i, (_, doc) in enumerate(found) if not i % HELD_OUT_EVERY]
    if args.tokenizer:
        shutil.copyfile(args.tokenizer, data / TOKENIZER)
    else:
        order = np.random.default_rng(args.seed)
        sample = order.permutation(len(train))[:12000]
        drawn = [labelled.draw(order, 64).text for _ in range(30000)]
        texts = [p for i in sample for p in train[i][:40]] + drawn
        train_tokenizer(texts, args.vocabulary).save(str(data / TOKENIZER))
    plain = Plain.encode(train, read_tokenizer(data))
    (data / "held_out.json").write_text(
        json.dumps(["\n".join(doc)[:4000] for doc in held_out]), encoding="utf8"
    )
    np.savez(data / "plain.npz", ids=plain.ids, starts=plain.starts)
    print(f"{len(train)} documents, {len(plain.ids) / 1e6:.1f} M tokens of plain text")


def read_tokenizer(data: Path) -> Tokenizer:
    """The tokenizer without special tokens, which the rows of the training place themselves."""
    tokenizer = Tokenizer.from_file(str(data / TOKENIZER))
    tokenizer.post_processor = None
    return tokenizer


def build(args: argparse.Namespace, vocabulary: int) -> LlamaForCausalLM:
    heads = args.heads or args.width // 64
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=args.width,
        intermediate_size=args.inner,
        num_hidden_layers=args.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(args.seed)
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data.mul_(1 / math.sqrt(2 * args.layers))
    return model


def rate(done: float, decay: float, step: int) -> float:
    """Warm-up, constant, then linear to zero over the last `decay` of the training."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * max(0.0, min(1.0, (1 - done) / decay))


class Trainer:
    """Model, optimisers and counters; everything that a checkpoint must hold."""

    def __init__(self, args: argparse.Namespace, vocabulary: int) -> None:
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = build(args, vocabulary).to(self.device)
        named = list(self.model.named_parameters())
        matrices = [p for n, p in named if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in named if p.ndim != 2 or "embed" in n]
        muon = torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.01)
        adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)
        self.optimisers = ((muon, MUON_RATE), (adam, ADAM_RATE))
        self.step, self.block, self.seen = 0, 0, 0
        self.spent, self.begun = 0.0, time.process_time()
        self.file = args.out / "checkpoint.pt"
        forward = self._loss
        self.loss = forward if args.no_compile else torch.compile(forward)
        if self.file.exists():
            self._load()

    @property
    def seconds(self) -> float:
        """CPU time spent on this training, that of before a stop included."""
        return self.spent + time.process_time() - self.begun

    @property
    def done(self) -> float:
        """Share of the training that is over."""
        if self.args.cpu_minutes:
            return self.seconds / (60 * self.args.cpu_minutes)
        return float(self.seen / self.args.tokens)

    def _loss(
        self, ids: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        logits = self.model(input_ids=ids, use_cache=False).logits
        losses = cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
        return (losses * weights.flatten()).sum() / weights.sum()

    def _load(self) -> None:
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for (optimiser, _), saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step, self.block, self.seen = state["step"], state["block"], state["seen"]
        self.spent = state.get("seconds", 0.0)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser, _ in self.optimisers],
            "step": self.step,
            "block": self.block,
            "seen": self.seen,
            "seconds": self.seconds,
        }
        temporary = self.file.with_suffix(".part")
        torch.save(state, temporary)
        temporary.replace(self.file)

    def update(self, ids: np.ndarray, weights: np.ndarray) -> float:
        batch = torch.from_numpy(ids).to(self.device)
        scale = rate(self.done, self.args.decay, self.step)
        for optimiser, base in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = base * scale
        with torch.autocast(self.device.type, torch.bfloat16):
            # The first target is the token after the end-of-text token.
            loss = self.loss(
                batch[:, :-1],
                batch[:, 1:].contiguous(),
                torch.from_numpy(weights[:, 1:].copy()).to(self.device),
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser, _ in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        self.seen += ids.size
        return float(loss.detach())


def export(trainer: Trainer, folder: Path) -> None:
    """Writes a Hugging Face folder in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    model = trainer.model
    state = {
        name: weight.detach().to("cpu", torch.float16).contiguous()
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    part = folder / "model.part"
    save_file(state, part, metadata={"format": "pt"})
    part.replace(folder / "model.safetensors")
    config = model.config.to_dict() | {"dtype": "float16", "architectures": ["LlamaForCausalLM"]}
    LlamaConfig(**config).save_pretrained(folder)
    tokenizer = read_tokenizer(trainer.args.data or trainer.args.out)
    # Every row of the training began with this token, so every text must.
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=model.config.max_position_embeddings,
        add_prefix_space=True,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    mixture = prepare(args)
    trainer = Trainer(args, mixture.tokenizer.get_vocab_size())
    size = sum(weight.numel() for weight in trainer.model.parameters())
    print(f"{size / 1e6:.2f} M parameters, {trainer.seen / 1e6:.2f} M tokens seen", flush=True)
    saved = time.monotonic()
    losses: deque[float] = deque(maxlen=LOSSES)
    while trainer.done < 1:
        losses.extend(train_block(trainer, mixture))
        if trainer.block % 10 == 0:
            report(trainer, losses)
        if time.monotonic() - saved > SAVE_EVERY:
            trainer.save()
            export(trainer, args.out / "model")
            saved = time.monotonic()
    trainer.save()
    export(trainer, args.out / "model")
    report(trainer, losses)


def train_block(trainer: Trainer, mixture: Mixture) -> list[float]:
    """The losses of the steps of one block of rows, short or long by how far the training is."""
    args = trainer.args
    length = LONG if trainer.done >= 1 - LONG_SHARE else SHORT
    rows = args.rows * SHORT // length
    ids, weights = mixture.block(trainer.block, 16 * rows, length)
    losses = [
        trainer.update(ids[first : first + rows], weights[first : first + rows])
        for first in range(0, len(ids), rows)
        if trainer.done < 1
    ]
    trainer.block += 1
    return losses


def report(trainer: Trainer, losses: Sequence[float]) -> None:
    print(
        f"step {trainer.step}  tokens {trainer.seen / 1e6:.2f} M  "
        f"CPU {trainer.seconds / 60:.1f} min  loss {np.mean(losses):.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
