"""One forward pass of a causal model over new tokens, behind what was read before."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.activations import NewGELUActivation
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from hardprompt.models.batched import as_input, joined, logits_room
from hardprompt.models.cascade import (
    NAME,
    Context,
    Reading,
    at,
    last_layer_once,
    parts_after_attention,
)
from hardprompt.models.gelu import FusedMLP, TanhGelu
from hardprompt.models.labels import LabelTrie
from hardprompt.models.linear import linear
from hardprompt.models.targets import Targets


class Reader:
    """Rows `(rows, w)` of ids, or `(rows, w, dim)` of points between tokens, all of one width.

    A context stands before equally many rows each: those of its first beginning come first.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        n_layers = int(model.config.get_text_config().num_hidden_layers)
        self._last_layer = n_layers - 1
        _fuse(model)  # before its parts are looked for
        self._after_attention = parts_after_attention(model, n_layers)
        self._per_logits = logits_room(model)
        model.set_attn_implementation(NAME)

    def room_for(self, trie: LabelTrie) -> int:
        """Tokens that a batch must count for the label words of each row."""
        return len(trie.tokens) * (1 + self._per_logits)

    @cached_property
    def token_bytes(self) -> int:
        """What the keys and values of one token take, over all layers."""
        token = torch.zeros(1, 1, dtype=torch.int64, device=self._model.device)
        with torch.no_grad():
            kept = self.keys_and_values(token)
        return sum(part.numel() * part.element_size() for layer in kept for part in layer)

    def joined(self, parts: list[Tensor]) -> Tensor:
        """Parts of rows side by side; ids become points where one part is points."""
        return joined(self._model, parts)

    def keys_and_values(
        self, rows: Tensor, context: Context | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Of each layer: those of the new tokens, `(rows, kv_heads, w, head_dim)`."""
        kept: list[tuple[Tensor, Tensor]] = []
        self._states(rows, Reading(context, kept=kept, only=-1))
        return kept

    def next_log_probs(self, rows: Tensor, context: Context | None = None) -> Tensor:
        """`(rows, V)`: log p(token after the row)."""
        states = self._states(rows, Reading(context, only=-1))
        return self._logits(at(states, -1)[:, 0]).log_softmax(-1)

    def label_scores(
        self,
        rows: Tensor,
        trie: LabelTrie,
        context: Context | None = None,
        ends: Tensor | None = None,
    ) -> Tensor:
        """`(rows, classes)`: log p(label word | row), up to a constant of each row.

        `ends` are the true lengths of the rows, the rest of which is padding; None: w. What all
        classes have in common, the first token's normalisation over the vocabulary, is left out.
        """
        if not trie.tokens:
            only: Tensor | int = -1 if ends is None else ends - 1
            states = at(self._states(rows, Reading(context, only=only), _counted(rows, ends)), only)
            return self._word_scores(states, trie)
        n, w = rows.shape[:2]
        last = torch.full((n, 1), w, device=rows.device) if ends is None else ends[:, None]
        nodes = torch.tensor(trie.tokens, device=rows.device).expand(n, -1)
        depths = torch.tensor(trie.depths, device=rows.device)
        places = torch.cat([_counted(rows, ends), last + depths - 1], 1)
        reading = Reading(context, own=trie.mask(w, ends, rows.device))
        states = self._states(self.joined([rows, nodes]), reading, places)
        ends_of_rows = states.gather(1, (last - 1)[..., None].expand(-1, -1, states.shape[-1]))
        return self._word_scores(torch.cat([ends_of_rows, states[:, w:]], 1), trie)

    def target_scores(
        self,
        rows: Tensor,
        targets: Targets,
        context: Context | None = None,
        ends: Tensor | None = None,
    ) -> Tensor:
        """`(rows,)`: the mean log-probability of a token of what each row ends in; `ends` as of
        `label_scores`."""
        states = self._states(rows, Reading(context))
        last = torch.full((len(rows),), rows.shape[1], device=rows.device) if ends is None else ends
        places = targets.places(last)[..., None].expand(-1, -1, states.shape[-1])
        return targets.mean(self._logits(states.gather(1, places)))

    def _word_scores(self, states: Tensor, trie: LabelTrie) -> Tensor:
        """`states` (rows, 1 + M, dim) at the row's end and the nodes."""
        firsts = sorted({word[0][1] for word in trie.words})
        first = self._logits(states[:, 0], firsts)
        later = self._logits(states[:, 1:]).log_softmax(-1) if trie.tokens else None
        scores = []
        for (_, token), *rest in trie.words:
            score = first[:, firsts.index(token)]
            for place, following in rest:
                assert later is not None
                score = score + later[:, place - 1, following]
            scores.append(score)
        return torch.stack(scores, 1)

    def _logits(self, states: Tensor, tokens: list[int] | None = None) -> Tensor:
        """Float32 logits of these tokens, or of all."""
        head = self._model.get_output_embeddings()
        weight, bias = head.weight, getattr(head, "bias", None)
        if tokens is None:
            return linear(states, weight, bias).float()
        # Of so few, not rounded to the model's precision: half has no digits after -95.
        bias = None if bias is None else bias[tokens].float()
        return functional.linear(states.float(), weight[tokens].float(), bias)

    def _states(self, rows: Tensor, reading: Reading, places: Tensor | None = None) -> Tensor:
        """`(rows, w, dim)` last hidden states; `places` of each token counted from the row's
        beginning, None: one after the other."""
        places = _counted(rows) if places is None else places
        if reading.context is not None:
            before = torch.from_numpy(reading.context.lengths).to(rows.device)
            each = len(rows) // len(before)
            places = places + before.repeat_interleave(each)[:, None]
        reading.last_layer = self._last_layer
        with last_layer_once(self._after_attention, reading):
            output = self._model.base_model(
                **as_input(rows), position_ids=places, reading=reading, use_cache=False
            )
        states: Tensor = output.last_hidden_state
        return states


def _counted(rows: Tensor, ends: Tensor | None = None) -> Tensor:
    """`(rows, w)` places of the tokens. Padding behind the true `ends` stays at the last one:
    behind a context, it might lie beyond a model's table."""
    places = torch.arange(rows.shape[1], device=rows.device).expand(len(rows), -1)
    return places if ends is None else places.minimum(ends[:, None] - 1)


def _fuse(model: Any) -> None:
    """GPT-2's activation, seven steps in transformers, is the tanh approximation of GELU, which
    torch has as one (Hendrycks & Gimpel, 2016)."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, TanhGelu())
            elif isinstance(child, GPT2MLP) and isinstance(child.act, NewGELUActivation):
                child.act = TanhGelu()
                setattr(module, name, FusedMLP(child))
