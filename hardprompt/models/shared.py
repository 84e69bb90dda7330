"""The fast way of causal models: what several rows begin with is computed once for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from hardprompt.models.base import Labels, ModelInfo
from hardprompt.models.batched import surprise
from hardprompt.models.cascade import Context
from hardprompt.models.causal import CausalModel
from hardprompt.models.codec import Codec
from hardprompt.models.labels import LabelTrie
from hardprompt.models.layout import behind, sharing, steps_of, varying_segment
from hardprompt.models.memory import gathered
from hardprompt.models.reader import Reader
from hardprompt.models.targets import Targets
from hardprompt.models.texts import Texts
from hardprompt.scoring.batching import Batcher, out_of_memory
from hardprompt.scoring.mixed import MixedRow
from hardprompt.scoring.plan import Group, Row, batch_cost, group_beginnings
from hardprompt.scoring.walk import Extend
from hardprompt.types import FloatArray, IntArray

TEXTS = 8  # read together at least: the fewer, the less unlike in length
ROOM = 16  # tokens: prompts of several lengths find room behind the same texts
PARTS = 4  # no group's texts take more than such a part of what may be kept


class SharedCausalModel(CausalModel):
    """Behind a text that comes first, prompts are read as a trie: no token twice. Where the
    prompt comes first, its keys and values serve all texts. Of the last layer and of the
    vocabulary, only what the label words need is computed."""

    way = "what rows begin with is read once for all"

    def __init__(self, model: Any, codec: Codec, info: ModelInfo, batcher: Batcher) -> None:
        super().__init__(model, codec, info, batcher)
        self._reader = Reader(model)
        self._texts: WeakKeyDictionary[Group, Texts] = WeakKeyDictionary()
        self._prompts: tuple[tuple[tuple[int, ...], bytes], Context] | None = None

    def groups(self, rows: Sequence[Row], examples: Sequence[int]) -> list[Group]:
        room = self._kept_bytes // (PARTS * self._reader.token_bytes)
        return group_beginnings(rows, examples, room, ROOM)

    @torch.no_grad()
    def label_log_probs(
        self,
        group: Group,
        labels: Labels,
        prompts: Sequence[IntArray | FloatArray],
        members: IntArray | None = None,
    ) -> FloatArray:
        trie, chosen = LabelTrie.of(labels), self._members(group, members)
        slots = [self._tensor(given) for given in prompts]
        n = len(slots[0]) if slots else 1
        out = torch.empty(n, len(chosen), len(labels), device=self._device)
        if group.first is None:
            self._behind_prompts(group, trie, slots, chosen, out)
        elif group.targets is not None:
            self._written_behind_texts(group, slots, chosen, out)
        else:
            self._behind_texts(group, trie, slots, chosen, out)
        scores: FloatArray = out.cpu().double().numpy()
        return scores

    def gradient(
        self,
        group: Group,
        labels: Labels,
        gold: IntArray,
        points: Sequence[FloatArray],
        members: IntArray | None = None,
    ) -> tuple[FloatArray, list[FloatArray]]:
        trie, chosen = LabelTrie.of(labels), self._members(group, members)
        slots = [torch.from_numpy(np.array(p, np.float32)).to(self._device) for p in points]
        targets = self._tensor(gold)[chosen]
        out = torch.empty(len(slots[0]), len(chosen), len(labels), device=self._device)
        totals = [torch.zeros_like(slot) for slot in slots]
        scores_of, width = self._differentiable(group, trie, chosen, slots)

        def run(low: int, high: int, start: int, stop: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            leaves = [slot[low:high].clone().requires_grad_() for slot in slots]
            with torch.enable_grad():
                scores = scores_of(leaves, start, stop)
                told = group.targets is not None
                nll = surprise(scores, None if told else targets[start:stop].expand(high - low, -1))
                slopes = torch.autograd.grad(nll, leaves)
            return scores.detach(), slopes

        # A backward pass holds the activations of every layer: twice the room.
        tiles = self._batcher.tiles(len(slots[0]), len(chosen), 2 * width, run)
        for (low, high, start, stop), (scores, slopes) in tiles:
            out[low:high, start:stop] = scores
            for total, slope in zip(totals, slopes, strict=True):
                total[low:high] += slope
        return out.cpu().double().numpy(), [total.cpu().numpy() for total in totals]

    def _differentiable(
        self, group: Group, trie: LabelTrie, chosen: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Callable[[list[Tensor], int, int], Tensor], int]:
        """`scores(leaves, start, stop)` of points in the slots on these members, and the tokens of
        each row that are read for it. What the texts before the slots say is constant."""
        if group.first is not None:
            texts = self._texts_of(group, chosen, 0).up_to(0)

            def after_texts(leaves: list[Tensor], start: int, stop: int) -> Tensor:
                context = texts.cut(start, stop)
                if group.targets is not None:
                    return self._written(group, leaves, context, chosen[start:stop])
                return self._scores(self._tails(group, leaves), trie, context)

            width = self._width(group, slots) - group.segments[0].shape[1]
            return after_texts, width + self._target_room(group)

        varying = varying_segment(group)

        def whole(leaves: list[Tensor], start: int, stop: int) -> Tensor:
            heads = self._before_texts(group, leaves, varying)
            n, mine = len(heads), chosen[start:stop]
            cand = torch.arange(n, device=self._device).repeat_interleave(len(mine))
            context = self._context(heads)
            found = self._through(group, trie, leaves, varying, context, cand, mine.repeat(n))
            return found.view(n, len(mine), -1)

        return whole, self._width(group, slots) + self._target_room(group)

    def _mixed_width(self, rows: Sequence[MixedRow]) -> int:
        trie = LabelTrie.of(_words_of(rows))
        return super()._mixed_width(rows) + self._reader.room_for(trie)

    def _mixed(self, rows: Sequence[MixedRow]) -> list[FloatArray]:
        """One forward pass: behind each row, the label words of all of them."""
        words = _words_of(rows)
        tokens, ends = self._padded(rows)
        prefixes = self._prefixes(rows)
        context = None if prefixes is None else Context.of_prefixes(*prefixes)
        found = self._reader.label_scores(tokens, LabelTrie.of(words), context, ends)
        scores = found.cpu().double().numpy()
        number = {word: i for i, word in enumerate(words)}
        return [
            mine[[number[label] for label in row.labels]]
            for mine, row in zip(scores, rows, strict=True)
        ]

    @torch.no_grad()
    def next_token_log_probs(self, group: Group, prompts: Sequence[IntArray]) -> FloatArray:
        alike = all((part == part[0]).all() for part in group.segments[1:])
        nothing = not group.segments[0].shape[1] or not any(part.shape[1] for part in prompts)
        if not alike or nothing:
            return super().next_token_log_probs(group, prompts)
        tails = self._tails(group, [self._tensor(prompt) for prompt in prompts])
        texts = self._texts_of(group, self._members(group, None), 0).up_to(0)

        def run(low: int, high: int, start: int, stop: int) -> FloatArray:
            part = texts.cut(start, stop)
            found = self._reader.next_log_probs(behind(tails[low:high], part), part)
            total: FloatArray = found.view(stop - start, high - low, -1).sum(0).cpu().numpy()
            return total

        tiles = self._batcher.tiles(len(tails), len(group), tails.shape[1], run)
        totals: dict[int, FloatArray] = {}
        for (low, *_), found in tiles:
            totals[low] = totals[low] + found if low in totals else found
        return np.concatenate([totals[low] for low in sorted(totals)]) / len(group)

    def _head(self, group: Group) -> Any:
        return None  # a cache of its own is for the way without shared beginnings

    # Texts first

    def _behind_texts(
        self, group: Group, trie: LabelTrie, slots: list[Tensor], chosen: Tensor, out: Tensor
    ) -> None:
        tails = self._tails(group, slots)
        texts = self._texts_of(group, chosen, tails.shape[1] - 1)
        for step in steps_of(tails, batch_cost(self._batcher.tokens) / len(chosen)):
            if isinstance(step, Extend):
                tokens = self._tensor(step.tokens)
                texts.extend(self._reader, self._batcher, step.depth, tokens)
            else:
                rows = self._tensor(step.rows)
                part = tails[rows, step.depth :]
                self._fill(out, rows, part, trie, texts.up_to(step.depth))

    def _written_behind_texts(
        self, group: Group, slots: list[Tensor], chosen: Tensor, out: Tensor
    ) -> None:
        """Each text goes on with an end of its own, so that only the texts are shared."""
        texts = self._texts_of(group, chosen, 0).up_to(0)

        def run(low: int, high: int, start: int, stop: int) -> Tensor:
            prompts = [slot[low:high] for slot in slots]
            return self._written(group, prompts, texts.cut(start, stop), chosen[start:stop])

        width = self._width(group, slots) - group.segments[0].shape[1] + self._target_room(group)
        for (low, high, start, stop), scores in self._batcher.tiles(
            len(slots[0]), len(chosen), width, run, fewest=TEXTS
        ):
            out[low:high, start:stop] = scores

    def _written(
        self, group: Group, prompts: Sequence[Tensor], context: Context, members: Tensor
    ) -> Tensor:
        """`(n, g, 1)`: what is to be written behind each of the texts and prompts."""
        n = len(prompts[0])
        cand = torch.arange(n, device=self._device).repeat(len(members))
        example = members.repeat_interleave(n)
        tokens = self._reader.joined(self._parts(group, prompts, cand, example)[1:])
        found = self._endings(group, example, tokens, context)
        return found.view(len(members), n, 1).transpose(0, 1)

    def _endings(
        self, group: Group, example: Tensor, tokens: Tensor, context: Context | None
    ) -> Tensor:
        targets = Targets.of(group, example)
        return self._reader.target_scores(
            tokens, targets, context, self._ends(group, example, tokens)
        )

    def _ends(self, group: Group, example: Tensor, tokens: Tensor) -> Tensor | None:
        """`(rows,)` true lengths of rows of tokens; None: none is padded."""
        if not group.spread:
            return None
        return tokens.shape[1] - int(group.last.max()) + self._tensor(group.last)[example]

    def _fill(
        self, out: Tensor, rows: Tensor, tails: Tensor, trie: LabelTrie, context: Context
    ) -> None:
        def run(low: int, high: int, start: int, stop: int) -> Tensor:
            return self._scores(tails[low:high], trie, context.cut(start, stop))

        width = tails.shape[1] + self._reader.room_for(trie)
        tiles = self._batcher.tiles(len(tails), len(context), width, run, fewest=TEXTS)
        for (low, high, start, stop), scores in tiles:
            out[rows[low:high], start:stop] = scores

    def _scores(self, tails: Tensor, trie: LabelTrie, context: Context) -> Tensor:
        """`(n, g, classes)`: each of the tails behind each beginning."""
        found = self._reader.label_scores(behind(tails, context), trie, context)
        return found.view(len(context), len(tails), -1).transpose(0, 1)

    def _tails(self, group: Group, slots: Sequence[Tensor]) -> Tensor:
        """`(n, w)` ids or `(n, w, dim)` points: what follows the texts, which is alike for all."""
        parts = []
        for slot, segment in zip(slots, group.segments[1:], strict=True):
            parts += [slot, self._tensor(segment[0]).expand(len(slot), -1)]
        return self._reader.joined(parts)

    def _texts_of(self, group: Group, chosen: Tensor, room: int) -> Texts:
        """The texts of these members, with room for so many tokens behind them."""
        texts = self._texts.get(group)
        if texts is None or texts.room < room:
            self._texts.pop(group, None)
            room = ROOM * (room // ROOM + 1)
            texts = self._kept(group, room)
        if texts is None:
            return Texts.read(self._reader, self._batcher, group, room, chosen)
        return texts if len(chosen) == len(group) else texts.of(chosen.cpu().numpy())

    def _kept(self, group: Group, room: int) -> Texts | None:
        """All texts of a group, read to be kept; None where there is no room for them."""
        tokens = len(group) * (group.segments[0].shape[1] + room)
        held = sum(texts.n_bytes for texts in self._texts.values())
        if held + tokens * self._reader.token_bytes > self._kept_bytes:
            return None
        everyone = self._members(group, None)
        try:
            texts = Texts.read(self._reader, self._batcher, group, room, everyone)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            # There is less memory than was thought: what is kept must make room, now and later.
            self._texts.clear()
            self._kept_bytes //= 2
            return None
        self._texts[group] = texts
        return texts

    # Prompts first

    def _behind_prompts(
        self, group: Group, trie: LabelTrie, slots: list[Tensor], chosen: Tensor, out: Tensor
    ) -> None:
        varying = varying_segment(group) if slots else 0
        heads = self._before_texts(group, slots, varying)
        width = self._width(group, slots) - heads.shape[1]
        width += self._reader.room_for(trie) + self._target_room(group)
        # Keys and values of all heads that are read together are held.
        most = max(1, self._kept_bytes // max(1, heads.shape[1] * self._reader.token_bytes))
        for numbers, rows in sharing(heads, alone=len(slots) == varying):
            pieces = zip(torch.split(numbers, most), torch.split(rows, most), strict=True)
            for some, candidates in pieces:
                context = self._known_context(heads[some])

                def score(
                    low: int,
                    high: int,
                    cand: Tensor,
                    member: Tensor,
                    context: Context | None = context,
                ) -> Tensor:
                    part = None if context is None else context.cut(low, high)
                    return self._through(group, trie, slots, varying, part, cand, chosen[member])

                for cand, member, found in self._tiled(candidates, len(chosen), width, score):
                    out[cand, member] = found

    def _tiled(
        self,
        candidates: Tensor,
        g: int,
        width: int,
        score: Callable[[int, int, Tensor, Tensor], Tensor],
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """`candidates` (X, k), those behind each of X heads, on each of g members: numbers of
        candidates and of members, `(pairs,)`, and `score(low, high, candidates, members)` of these
        pairs, equally many behind each of the heads `low..high`. What stands behind one head is
        cut where it does not fit."""

        def pairs(low: int, high: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
            behind = torch.arange(start, stop, device=self._device)
            return candidates[low:high, behind // g].flatten(), (behind % g).repeat(high - low)

        def run(low: int, high: int, start: int, stop: int) -> Tensor:
            return score(low, high, *pairs(low, high, start, stop))

        n, k = candidates.shape
        for tile, found in self._batcher.tiles(n, k * g, width, run):
            yield *pairs(*tile), found

    def _through(
        self,
        group: Group,
        trie: LabelTrie,
        slots: Sequence[Tensor],
        varying: int,
        context: Context | None,
        cand: Tensor,
        example: Tensor,
    ) -> Tensor:
        """`(rows, classes)`: pairs of a candidate and a member, `(rows,)` each, behind the heads
        of the context, equally many behind each."""
        parts = self._parts(group, slots, cand, example)[2 * varying :]
        tokens = self._reader.joined(parts)
        if group.targets is not None:
            return self._endings(group, example, tokens, context)[:, None]
        ends = self._ends(group, example, tokens)
        return self._reader.label_scores(tokens, trie, context, ends)

    def _before_texts(self, group: Group, slots: Sequence[Tensor], varying: int) -> Tensor:
        """`(n, h)` ids or `(n, h, dim)` points of all before the segment that varies."""
        n = len(slots[0]) if slots else 1
        parts = [torch.empty(n, 0, dtype=torch.int64, device=self._device)]
        for slot, segment in zip(slots[:varying], group.segments, strict=False):
            parts += [self._tensor(segment[0]).expand(n, -1), slot]
        return self._reader.joined(parts)

    def _known_context(self, heads: Tensor) -> Context | None:
        """That of the last call is remembered: it asked for the same prompts on other texts."""
        if heads.is_floating_point():
            return self._context(heads)
        key = tuple(heads.shape), heads.cpu().numpy().tobytes()
        if self._prompts is None or self._prompts[0] != key:
            self._prompts = None  # two at a time would need twice the room
            context = self._context(heads)
            self._prompts = None if context is None else (key, context)
            return context
        return self._prompts[1]

    def _context(self, heads: Tensor) -> Context | None:
        """Keys and values of each head; None where nothing stands before the texts."""
        n, h = heads.shape[:2]
        if not h:
            return None

        def run(low: int, high: int) -> list[Tensor]:
            return list(itertools.chain(*self._reader.keys_and_values(heads[low:high])))

        parts = gathered(self._batcher.split(n, h, run), n)
        return Context(tuple(parts[::2]), tuple(parts[1::2]), np.full(n, h))


def _words_of(rows: Sequence[MixedRow]) -> Labels:
    """The label words of all rows, each once."""
    return tuple(dict.fromkeys(label for row in rows for label in row.labels))
