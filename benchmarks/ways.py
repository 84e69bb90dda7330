"""The ways of scoring that `benchmarks.scoring` measures: other tools' and ours, on random ids."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from benchmarks import flops, peers
from benchmarks.peers import Examples
from hardprompt.models import mini
from hardprompt.models.base import ModelInfo
from hardprompt.models.choose import causal_model
from hardprompt.models.load import load_model
from hardprompt.models.memory import cpu_tokens
from hardprompt.objective import Objective
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.losses import loss_named
from hardprompt.scoring.plan import Row
from hardprompt.scoring.scorer import Scorer
from hardprompt.space import SearchSpace
from hardprompt.types import Batch, BoolArray, FloatArray, IntArray

EXAMPLES, LENGTH, AFTER = 32, 5, 2  # rows, tokens of a prompt, tokens between text and label
PARENTS = 4  # prompts that one batch of a beam extends
PADDED_ROWS = 64  # of a padded batch
CHECKED = 8  # pairs of a run that are scored again by a plain forward pass
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = ("text-first", "prefix-first")
# The fewest candidates that fill the batches of a way; else one.
FEWEST = {
    "text-first nanoGCG-like": 32,
    "text-first nanoGCG-like, texts cached": 64,
    "text-first fresh": 32,
    "text-first beam": 128,
    "text-first swaps": 40,
    "prefix-first nanoGCG-like": 16,
    "prefix-first fresh": 32,
    "prefix-first swaps": 35,
}
OURS = ("fresh", "beam", "swaps", "gradient")


@dataclass(frozen=True)
class Setting:
    """A model to measure; of a large one less is run."""

    layers: int = 0  # 0: the embedded model
    width: int = 0
    heads: int = 0
    vocabulary: int = 0
    few: int = EXAMPLES  # texts of nanoGCG's way, which goes text by text
    gradients: int = EXAMPLES  # texts of a gradient
    part: float = 1.0  # of `FEWEST`
    rounds: int | None = None  # at most


SETTINGS = {
    "6x256": Setting(6, 256, 4, 8192),
    "12x768": Setting(12, 768, 12, 50257, few=4, gradients=4, part=0.5, rounds=3),
    "mini": Setting(),
}


@dataclass
class Way:
    """One way to score or to differentiate prompts, and what its runs took."""

    model: str
    dtype: str
    layout: str
    name: str
    examples: Examples
    vocabulary: int
    run: Callable[[IntArray], FloatArray]  # (n, P) ids -> (n, N, L), or one gradient a prompt
    work: Callable[[IntArray], float]  # (n, P) ids -> FLOPs
    least: int = 1  # prompts of a run
    size: int = 0
    rates: list[float] = field(default_factory=list)  # pairs/s, by round
    shares: list[float] = field(default_factory=list)  # of the matmul peak, by round
    differences: list[float] = field(default_factory=list)  # from a plain forward pass
    checked: list[FloatArray] = field(default_factory=list)  # (m, L) of those pairs, by round

    @property
    def key(self) -> str:
        return f"{self.layout} {self.name}"

    @property
    def differentiates(self) -> bool:
        return self.name.startswith("gradient")

    def prompts(self, seed: int, n: int) -> IntArray:
        """`(n, P)` random prompts; those of a beam and of swaps have parents in common."""
        rng = np.random.default_rng(seed)
        ids = rng.integers(1, self.vocabulary, size=(n, LENGTH))
        if self.name == "beam":
            ids[:, :-1] = ids[np.arange(n) % PARENTS, :-1]
        elif self.name == "swaps":
            swapped = np.arange(LENGTH) == np.arange(n)[:, None] % LENGTH
            ids = np.where(swapped, ids, ids[0])
        return ids


class FixedRows(Scorer):
    """Scores given rows of ids: a random model has neither texts nor a tokenizer."""

    def __init__(self, model: Any, rows: list[Row], labels: tuple[tuple[int, ...], ...]) -> None:
        super().__init__(model, None, [""] * len(rows), labels, (LENGTH,), (0, 1))
        self.rows = rows

    def survives(self, ids: IntArray) -> BoolArray:
        return np.ones(len(ids), dtype=bool)


class NoTokenizer:
    """What a causal model asks of a codec where rows are ids already."""

    mask = None
    prefix = suffix = ()
    special_ids = frozenset((0,))


def plain_model(name: str, dtype: str) -> Any:
    """The transformers model; a random one has larger weights than usual, so that it reacts."""
    setting = SETTINGS[name]
    if not setting.layers:
        model = AutoModelForCausalLM.from_pretrained(mini.verified_folder(), dtype=torch.float32)
    else:
        torch.manual_seed(0)
        config = GPT2Config(
            n_layer=setting.layers, n_embd=setting.width, n_head=setting.heads,
            vocab_size=setting.vocabulary, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        model = GPT2LMHeadModel(config)
        for weight in model.parameters():
            if weight.ndim == 2 and weight is not model.transformer.wpe.weight:
                weight.data.mul_(2.5)
    return model.to(DTYPES[dtype]).eval().requires_grad_(False)


def our_model(name: str, dtype: str) -> Any:
    """The same weights behind our interface; not shared, since an engine may prepare them."""
    if not SETTINGS[name].layers:
        return load_model(name, dtype=str(DTYPES[dtype]).removeprefix("torch."), device="cpu")
    model = plain_model(name, dtype)
    parameters = sum(weight.numel() for weight in model.parameters())
    precision = str(DTYPES[dtype]).removeprefix("torch.")
    info = ModelInfo(name, "gpt2", "causal", parameters, precision, "cpu", 1024, name, name, name)
    return causal_model(model, NoTokenizer(), info, Batcher(cpu_tokens(DTYPES[dtype])))


def our_objective(model: Any, examples: Examples) -> Objective:
    """Rows around one slot as a search has them: constant ids, the prompt, constant ids."""
    pairs = zip(examples.heads, examples.tails, strict=True)
    rows = [Row((tuple(head.tolist()), tuple(tail.tolist()))) for head, tail in pairs]
    scorer = FixedRows(model, rows, tuple((int(token),) for token in examples.labels))
    tokens = np.arange(len(model.embeddings))
    space = SearchSpace(tokens, (LENGTH,), model.embeddings, len(rows))
    return Objective(scorer, examples.gold.numpy(), space, loss_named("nll"))


def make_examples(lengths: Sequence[int], layout: str, vocabulary: int) -> Examples:
    """Texts of random ids; where the prompt stands before them, a few words follow them."""
    draw = partial(torch.randint, 1, vocabulary, generator=torch.Generator().manual_seed(1))
    texts = [draw((n,)) for n in lengths]
    after, gold = draw((AFTER,)), draw((len(texts),)) % 2
    nothing = [after[:0]] * len(texts)
    behind = [torch.cat([text, after]) for text in texts]
    heads, tails = (texts, nothing) if layout == "text-first" else (nothing, behind)
    labels = torch.tensor([vocabulary // 3, vocabulary // 2])
    return Examples(tuple(heads), tuple(tails), labels, gold)


def spread(examples: Examples, n: int) -> Examples:
    """n of the examples, short and long ones alike."""
    pairs = zip(examples.heads, examples.tails, strict=True)
    lengths = [len(head) + len(tail) for head, tail in pairs]
    step = max(1, len(examples) // n)
    return examples.some(np.argsort(lengths, kind="stable")[step // 2 :: step].tolist())


@dataclass(frozen=True)
class Ways:
    """All ways for one model in one precision, in one layout of the rows."""

    name: str
    dtype: str
    layout: str
    model: Any  # of transformers
    engine: Any  # ours
    every: Examples

    @cached_property
    def sizes(self) -> flops.Sizes:
        return flops.Sizes.of(self.model)

    def __iter__(self) -> Iterator[Way]:
        yield from self._peers()
        yield from self._peers_gradients()
        objective = our_objective(self.engine, self.every)
        for kind in ("fresh", "beam", "swaps"):
            if kind != "beam" or self.layout == "text-first":
                run, work = (
                    partial(_scores, objective),
                    partial(flops.least, self.sizes, self.every),
                )
                yield self._way(kind, self.every, run, work)
        some = self._for_gradients
        run = partial(_slopes, our_objective(self.engine, some))
        yield self._way("gradient", some, run, partial(flops.least_gradient, self.sizes, some))

    def _peers(self) -> Iterator[Way]:
        every, few = self.every, spread(self.every, SETTINGS[self.name].few)
        alone, padded = flops.of_pairs(self.sizes, every, LENGTH), self._padded(every)
        if SETTINGS[self.name].part == 1:
            yield self._peer("pair by pair", every, partial(peers.pair_by_pair, self.model), alone)
        yield self._peer("naive", every, partial(peers.padded, self.model), padded)
        batches = partial(peers.padded, self.model, rows=PADDED_ROWS)
        yield self._peer("padded batches", every, batches, padded, PADDED_ROWS // len(every))
        cached = flops.of_cached(self.sizes, few, LENGTH)
        yield self._peer("nanoGCG-like", few, partial(peers.nanogcg, self.model), cached)
        if self.layout == "text-first":
            # Made once a search, and so not timed, as ours are not.
            once = partial(peers.nanogcg, self.model, caches=peers.cache_heads(self.model, few))
            yield self._peer("nanoGCG-like, texts cached", few, once, cached)

    def _peers_gradients(self) -> Iterator[Way]:
        # A backward pass takes as much as a forward pass, and again for the weights' gradients.
        some = self._for_gradients
        padded, cached = self._padded(some), flops.of_cached(self.sizes, some, LENGTH)
        caches = peers.cache_heads(self.model, some)
        by_text = partial(peers.nanogcg_cached_gradient, caches=caches)
        for tool, method, work in (
            ("AutoPrompt", peers.autoprompt_gradient, 3 * padded),
            ("nanoGCG", peers.nanogcg_gradient, 2 * padded),
            ("nanoGCG, texts cached", by_text, 2 * cached),
        ):
            run = partial(_one_by_one, partial(method, self.model))
            yield self._peer(f"gradient of {tool}", some, run, work)

    @cached_property
    def _for_gradients(self) -> Examples:
        return spread(self.every, SETTINGS[self.name].gradients)

    def _padded(self, examples: Examples) -> float:
        return flops.of_padded(self.sizes, examples, LENGTH)

    def _peer(
        self,
        name: str,
        examples: Examples,
        run: Callable[..., Tensor],
        each: float,
        least: int | None = None,
    ) -> Way:
        """`each`: FLOPs of a prompt."""

        def on_arrays(ids: IntArray) -> FloatArray:
            return run(examples, torch.from_numpy(ids)).float().numpy()

        return self._way(name, examples, on_arrays, lambda ids: len(ids) * each, least)

    def _way(
        self,
        name: str,
        examples: Examples,
        run: Callable[[IntArray], FloatArray],
        work: Callable[[IntArray], float],
        least: int | None = None,
    ) -> Way:
        fewest = FEWEST.get(f"{self.layout} {name}", 1) * SETTINGS[self.name].part
        return Way(
            model=self.name,
            dtype=self.dtype,
            layout=self.layout,
            name=name,
            examples=examples,
            vocabulary=self.sizes.vocabulary,
            run=run,
            work=work,
            least=least or max(1, round(fewest)),
        )


def all_ways(name: str, dtype: str, lengths: Sequence[int]) -> Iterator[Way]:
    """All ways for one model in one precision; texts of the given lengths."""
    model, engine = plain_model(name, dtype), our_model(name, dtype)
    for layout in LAYOUTS:
        examples = make_examples(lengths, layout, model.config.vocab_size)
        yield from Ways(name, dtype, layout, model, engine, examples)


def _scores(objective: Objective, ids: IntArray) -> FloatArray:
    scorer = objective.scorer
    out = np.full((len(ids), objective.space.n_examples, len(scorer.labels)), np.nan)
    scorer.by_ids(ids, scorer.within(None), out)
    return out


def _slopes(objective: Objective, ids: IntArray) -> FloatArray:
    found = [objective.measure(Batch(ids=row[None], wants_gradient=True)) for row in ids]
    return np.concatenate([told.gradient for told in found])


def _one_by_one(
    gradient: Callable[[Examples, Tensor], Tensor], examples: Examples, prompts: Tensor
) -> Tensor:
    return torch.stack([gradient(examples, prompt) for prompt in prompts])


def difference(way: Way, plain: Any, ids: IntArray, found: FloatArray, seed: int) -> float:
    """Largest difference from a plain forward pass of single pairs: of log-probabilities in some
    pairs of a run, or of a run's first gradient over that gradient's largest entry."""
    prompts = torch.from_numpy(ids)
    if way.differentiates:
        right = peers.gradient_pair_by_pair(plain, way.examples, prompts[0])
        if found.shape[-1] != right.shape[-1]:  # of one-hot choices
            right = right @ plain.get_input_embeddings().weight.T
        return float(np.abs(found[0] - right.numpy()).max() / right.abs().max())
    pairs = _checked(way, ids, seed)
    way.checked.append(np.array([found[pair] for pair in pairs]))
    right = [peers.one_pair(plain, way.examples, n, prompts[c]).numpy() for c, n in pairs]
    return float(np.abs(way.checked[-1] - right).max())  # NaN where a score is


def rounding(ways: Sequence[Way], plain: Any) -> tuple[float, float]:
    """Largest differences from float64, in the pairs that `difference` looked at: of the plain
    fp32 forward pass, which no way can be asked to undercut, and of our fp32 ways."""
    exact = copy.deepcopy(plain).double()
    theirs, mine = [0.0], [0.0]
    for way in ways:
        if way.name not in OURS or way.differentiates or way.dtype != "fp32":
            continue
        for seed, found in enumerate(way.checked):
            prompts = way.prompts(seed, way.size)
            for (c, n), scores in zip(_checked(way, prompts, seed), found, strict=True):
                pair = (way.examples, n, torch.from_numpy(prompts[c]))
                right = peers.one_pair(exact, *pair).numpy()
                theirs.append(np.abs(peers.one_pair(plain, *pair).numpy() - right).max())
                mine.append(np.abs(scores - right).max())
    return float(max(theirs)), float(max(mine))


def _checked(way: Way, ids: IntArray, seed: int) -> list[tuple[int, int]]:
    """`(candidate, example)` of a few pairs of a run."""
    rng = np.random.default_rng(seed)
    return [
        (int(rng.integers(len(ids))), int(rng.integers(len(way.examples)))) for _ in range(CHECKED)
    ]
