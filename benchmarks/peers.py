"""How other tools score prompts with a frozen causal model, and what that costs.

Each way is the batching and the forward pass of a published tool, on rows that are token ids
already. All return the same numbers, so that only time tells them apart:

* `pair_by_pair`: one candidate and one example in a forward pass.
* `padded`: candidates times examples in right-padded batches, logits of every position. With the
  rows of one candidate a batch it is the way of AutoPrompt (Shin et al., 2020, `create_trigger.py`)
  and RLPrompt (Deng et al., 2022, `fsc_reward.py`).
* `nanogcg`: nanoGCG's candidate loss (`gcg.py`, after Zou et al., 2023), text by text: what stands
  before the candidate as a cache, expanded over them, logits of every new position.
* `gradient_pair_by_pair`, `autoprompt_gradient`, `nanogcg_gradient`, `nanogcg_cached_gradient`:
  what the loss of one prompt changes by with its tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

Cache = list[tuple[Tensor, Tensor]]  # keys and values `(1, heads, t, dim)` of each layer


@dataclass(frozen=True)
class Examples:
    """N examples: constant ids before and after the prompt, the tokens of the label words."""

    heads: tuple[Tensor, ...]  # (t,) each, may be empty
    tails: tuple[Tensor, ...]  # (t,) each, may be empty
    labels: Tensor  # (L,) one token a label word
    gold: Tensor  # (N,) right label of each example

    def __len__(self) -> int:
        return len(self.heads)

    def row(self, number: int, prompt: Tensor) -> Tensor:
        """All that the model reads of one example, up to the label word."""
        return torch.cat([self.heads[number], prompt, self.tails[number]])

    def some(self, numbers: Sequence[int]) -> Examples:
        heads = tuple(self.heads[i] for i in numbers)
        tails = tuple(self.tails[i] for i in numbers)
        return Examples(heads, tails, self.labels, self.gold[list(numbers)])


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of ids -> `(R, width)` padded to the right, their mask, `(R,)` their lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long(), lengths


def pair_by_pair(model: Any, examples: Examples, prompts: Tensor) -> Tensor:
    """`(C, P)` prompts -> `(C, N, L)` log-probabilities, normalised over the label words."""
    return torch.stack([
        torch.stack([one_pair(model, examples, number, prompt) for number in range(len(examples))])
        for prompt in prompts
    ])  # fmt: skip


@torch.inference_mode()
def one_pair(model: Any, examples: Examples, number: int, prompt: Tensor) -> Tensor:
    """`(L,)` log-probabilities of one pair: what every other way must give."""
    logits = model(input_ids=examples.row(number, prompt)[None], use_cache=False).logits
    return _label_log_probs(logits[:, -1], examples)[0]


@torch.inference_mode()
def padded(model: Any, examples: Examples, prompts: Tensor, rows: int | None = None) -> Tensor:
    """As `pair_by_pair`; so many rows a batch, by default those of one candidate."""
    pairs = [(c, n) for c in range(len(prompts)) for n in range(len(examples))]
    size = rows or len(examples)
    found = []
    for start in range(0, len(pairs), size):
        batch = [examples.row(n, prompts[c]) for c, n in pairs[start : start + size]]
        ids, mask, lengths = pad(batch)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        found.append(_label_log_probs(logits[torch.arange(len(ids)), lengths - 1], examples))
    return torch.cat(found).view(len(prompts), len(examples), -1)


@torch.inference_mode()
def nanogcg(
    model: Any,
    examples: Examples,
    prompts: Tensor,
    caches: Sequence[Cache | None] | None = None,
    width: int = 64,
) -> Tensor:
    """As `pair_by_pair`; `width` candidates a batch, `caches` of `cache_heads`, or its own.

    nanoGCG has one text, whose cache it makes once a run, and fails with transformers 5; here as
    there, it is expanded anew for each batch.
    """
    caches = cache_heads(model, examples) if caches is None else caches
    embed = model.get_input_embeddings()
    out = torch.empty(len(prompts), len(examples), len(examples.labels))
    for number, (cache, tail) in enumerate(zip(caches, examples.tails, strict=True)):
        for start in range(0, len(prompts), width):
            some = prompts[start : start + width]
            after = embed(tail)[None].repeat(len(some), 1, 1)
            points = torch.cat([embed(some), after], 1)
            logits = model(inputs_embeds=points, **_expanded(model, cache, len(some))).logits
            out[start : start + width, number] = _label_log_probs(logits[:, -1], examples)
    return out


@torch.no_grad()
def cache_heads(model: Any, examples: Examples) -> list[Cache | None]:
    """Keys and values of what stands before the prompt in each example; None for nothing."""
    return [_cache(model, head) if len(head) else None for head in examples.heads]


def _cache(model: Any, head: Tensor) -> Cache:
    layers = model(input_ids=head[None], use_cache=True).past_key_values.layers
    return [(layer.keys, layer.values) for layer in layers]


def _expanded(model: Any, cache: Cache | None, rows: int) -> dict[str, Any]:
    """What the forward pass needs to go on after a cache in each of so many rows."""
    if cache is None:
        return {"use_cache": False}
    past = DynamicCache(config=model.config)
    for number, (keys, values) in enumerate(cache):
        shape = (rows, -1, -1, -1)
        past.update(keys.expand(shape), values.expand(shape), number)
    return {"past_key_values": past, "use_cache": True}


def gradient_pair_by_pair(model: Any, examples: Examples, prompt: Tensor) -> Tensor:
    """`(P, dim)`: d mean loss / d embedding of each prompt token, one example in a forward pass.

    The loss of this and all other gradients is the negative log-likelihood of the right label
    word, normalised over the label words: not that of a tool, so that values can be compared.
    """
    embed = model.get_input_embeddings()
    leaf = embed(prompt).requires_grad_()
    total = torch.zeros_like(leaf)
    for number, (head, tail) in enumerate(zip(examples.heads, examples.tails, strict=True)):
        points = torch.cat([embed(head), leaf, embed(tail)])[None]
        logits = model(inputs_embeds=points, use_cache=False).logits
        loss = _loss(logits[:, -1], examples.some([number]))
        total += torch.autograd.grad(loss, leaf)[0]
    return total / len(examples)


def autoprompt_gradient(model: Any, examples: Examples, prompt: Tensor) -> Tensor:
    """As `gradient_pair_by_pair`, AutoPrompt's way: one padded batch, logits of every position.

    Every weight requires a gradient, and that of the embeddings' output is picked by a hook.
    """
    ids, mask, lengths = pad([examples.row(n, prompt) for n in range(len(examples))])
    kept: list[Tensor] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda *call: kept.append(call[2]))
    model.requires_grad_(True)
    try:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        kept[0].retain_grad()
        _loss(logits[torch.arange(len(ids)), lengths - 1], examples).backward()
        gradient = kept[0].grad
    finally:
        hook.remove()
        model.requires_grad_(False)
        model.zero_grad(set_to_none=True)
    assert gradient is not None
    return gradient[_prompt_places(examples, len(prompt))].sum(1)


def nanogcg_gradient(model: Any, examples: Examples, prompt: Tensor) -> Tensor:
    """`(P, V)`: d mean loss / d one-hot choice of each prompt token.

    nanoGCG's leaf and its logits of every position, over one padded batch of the examples.
    """
    table = model.get_input_embeddings().weight
    leaf = _one_hot(prompt, table)
    ids, mask, lengths = pad([examples.row(n, prompt) for n in range(len(examples))])
    points = model.get_input_embeddings()(ids)
    places = _prompt_places(examples, len(prompt))
    points = points.index_put(places, (leaf @ table)[:, None].expand(-1, len(examples), -1))
    logits = model(inputs_embeds=points, attention_mask=mask, use_cache=False).logits
    loss = _loss(logits[torch.arange(len(ids)), lengths - 1], examples)
    return torch.autograd.grad(loss, leaf)[0]


def nanogcg_cached_gradient(
    model: Any, examples: Examples, prompt: Tensor, caches: Sequence[Cache | None]
) -> Tensor:
    """As `nanogcg_gradient`, text by text with what stands before the prompt as a cache.

    What nanoGCG does for its one text, in a loop over several.
    """
    embed = model.get_input_embeddings()
    total = torch.zeros(len(prompt), len(embed.weight), dtype=embed.weight.dtype)
    for number, (cache, tail) in enumerate(zip(caches, examples.tails, strict=True)):
        leaf = _one_hot(prompt, embed.weight)
        points = torch.cat([leaf @ embed.weight, embed(tail)])[None]
        logits = model(inputs_embeds=points, **_expanded(model, cache, 1)).logits
        loss = _loss(logits[:, -1], examples.some([number]))
        total += torch.autograd.grad(loss, leaf)[0]
    return total / len(examples)


def _one_hot(prompt: Tensor, table: Tensor) -> Tensor:
    choice = torch.nn.functional.one_hot(prompt, len(table)).to(table.dtype)
    return choice.requires_grad_()


def _prompt_places(examples: Examples, length: int) -> tuple[Tensor, Tensor]:
    """Row and column `(P, N)` of each prompt token in the padded batch of the examples."""
    starts = torch.tensor([len(head) for head in examples.heads])
    columns = torch.arange(length)[:, None] + starts
    return torch.arange(len(examples)).expand_as(columns), columns


def _label_log_probs(logits: Tensor, examples: Examples) -> Tensor:
    """`(R, V)` logits of the label's place -> `(R, L)`, by way of the whole vocabulary."""
    whole = logits.float().log_softmax(-1)
    return whole[:, examples.labels].log_softmax(-1)


def _loss(logits: Tensor, examples: Examples) -> Tensor:
    """Mean negative log-likelihood of the right label words, normalised over them."""
    scores = _label_log_probs(logits, examples)
    return torch.nn.functional.nll_loss(scores, examples.gold)
