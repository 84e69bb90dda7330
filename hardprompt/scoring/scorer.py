"""Class log-probabilities of prompts on a fixed list of texts."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from hardprompt.errors import HardpromptError
from hardprompt.models.base import Labels, PromptModel
from hardprompt.models.writer import Decoding
from hardprompt.scoring.compile import Renderer, compile_rows
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.plan import Group, Parts, Row, ending, examples_of, group_few, group_rows
from hardprompt.types import EMPTY, BoolArray, FloatArray, IntArray

# In the place of label words where texts are to be written: each row scores a single figure.
WRITTEN: Labels = ((),)
# So many prompts measured together fill batches with rows of one length.
FEW = 4


def score_texts(
    model: PromptModel,
    renderer: Renderer,
    prompts: Sequence[str],
    texts: Sequence[str],
    labels: Labels,
) -> FloatArray:
    """`(N, classes)` log-probabilities of the classes, each row rendered and read as a whole."""
    return score_rows(model, renderer.rows([prompts] * len(texts), texts), labels)


def score_rows(model: PromptModel, rows: Sequence[Row], labels: Labels) -> FloatArray:
    """`(N, classes)` log-probabilities of the classes in rows without slots; of texts to be
    written, `(N, 1)` means over their tokens."""
    out = np.empty((len(rows), len(labels)))
    for group in group_rows(rows, range(len(rows))):
        out[group.examples] = model.label_log_probs(group, labels, [])[0]
    return out if labels == WRITTEN else normalise(out)


class Scorer:
    """Ways to the same numbers: by token ids (fast, for the search), by text (the truth), and
    by points between tokens (soft prompts)."""

    def __init__(
        self,
        model: PromptModel,
        renderer: Renderer,
        texts: Sequence[str],
        labels: Labels,
        slots: tuple[int, ...],
        probes: tuple[int, int],
        targets: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        """`targets` are the tokens of the text to be written for each of the texts; then `labels`
        are `WRITTEN`."""
        self.model, self.renderer, self.labels, self.slots = model, renderer, labels, slots
        self.texts = list(texts)
        self.targets = targets
        self._probes = probes
        self._sample = min(self.texts, key=len)
        self._frames: dict[tuple[bool, ...], Row | None] = {}

    def on(self, model: PromptModel) -> Scorer:
        """The same rows on another model with the same tokenizer."""
        same = self.renderer, self.texts, self.labels, self.slots, self._probes, self.targets
        return Scorer(model, *same)

    def labelled(self, labels: Labels) -> Scorer:
        """The same rows in the same groups, with other label words."""
        _ = self.groups, self.few_groups  # made once: a model keeps what it knows by group
        twin = copy.copy(self)
        twin.labels = labels
        return twin

    def by_text(
        self,
        prompts: Sequence[str],
        labels: Labels | None = None,
        examples: Sequence[int] | None = None,
    ) -> FloatArray:
        """`(N, classes)` for one prompt given as the text of each slot; any text will do.
        `labels` None: the scorer's own; `examples` None: all."""
        labels = self.labels if labels is None else labels
        return score_rows(self.model, self.filled(prompts, examples), labels)

    def filled(self, prompts: Sequence[str], examples: Sequence[int] | None = None) -> list[Row]:
        """The rows of `by_text`."""
        numbers = range(len(self.texts)) if examples is None else examples
        rows = self.renderer.rows([prompts] * len(numbers), [self.texts[i] for i in numbers])
        return self._ended(rows, numbers)

    def after(self, beginnings: Sequence[str]) -> FloatArray:
        """`(N, classes)` of each text without a prompt, written after a beginning of its own."""
        return score_rows(self.model, self.without_prompt(beginnings), self.labels)

    def without_prompt(self, beginnings: Sequence[str]) -> list[Row]:
        """The rows of `after`."""
        empty = self.renderer.template.no_prompt
        rows = self.renderer.rows([empty] * len(self.texts), self.texts, beginnings)
        return self._ended(rows, range(len(rows)))

    def _ended(self, rows: list[Row], numbers: Sequence[int]) -> list[Row]:
        """The rows of these examples with the texts to be written."""
        if self.targets is None:
            return rows
        return [ending(row, self.targets[i]) for row, i in zip(rows, numbers, strict=True)]

    def formed(self, scores: FloatArray) -> FloatArray:
        """Log-probabilities from what a model tells."""
        return scores if self.targets is not None else normalise(scores)

    def by_points(self, points: FloatArray) -> FloatArray:
        """`(N, classes)` for one soft prompt, `(length, dim)` points, one slot after another."""
        found: FloatArray = self.by_many_points(points[None])[0]
        return found

    def by_many_points(self, points: FloatArray) -> FloatArray:
        """`(n, N, classes)` for n soft prompts, `(n, length, dim)`."""
        out = np.empty((len(points), len(self.rows), len(self.labels)))
        self.points_into(points, self.within(None, len(points)), out)
        return out

    def points_into(self, points: FloatArray, parts: Parts, out: FloatArray) -> None:
        """Fills `out[row, example]`, `(n, N, classes)`, for soft prompts `(n, length, dim)`."""
        slots = np.split(points.astype(np.float32), np.cumsum(self.slots)[:-1], axis=1)
        for group, members in parts:
            scores = self.model.label_log_probs(group, self.labels, slots, members)
            out[:, group.numbers(members)] = self.formed(scores)

    def written(self, prompts: Sequence[str], decoding: Decoding) -> list[str]:
        """What the model writes for each text after one prompt."""
        rows = self.renderer.encode(prompts, self.texts)
        return self.model.write([np.array(row, dtype=np.int64) for row in rows], decoding)

    def written_by_points(self, points: FloatArray, decoding: Decoding) -> list[str]:
        """The same after one soft prompt, `(length, dim)` points."""
        slots = np.split(points.astype(np.float32), np.cumsum(self.slots)[:-1])
        table = self.model.embeddings
        rows = []
        for row in self._open_rows:
            parts = [table[list(segment)] for segment in row.segments]
            for number, slot in enumerate(slots):
                parts.insert(2 * number + 1, slot)
            rows.append(np.concatenate(parts).astype(np.float32))
        return self.model.write(rows, decoding)

    def hidden(self, prompts: Sequence[str]) -> FloatArray:
        """`(N, dim)` what the model holds of each text where it would write the label word."""
        rows = self.renderer.rows([prompts] * len(self.texts), self.texts)
        found: dict[int, FloatArray] = {}
        for group in group_rows(rows, range(len(rows))):
            found |= zip(group.examples.tolist(), self.model.last_hidden(group), strict=True)
        return np.stack([found[number] for number in range(len(rows))])

    @cached_property
    def rows(self) -> list[Row]:
        return self._ended(self._open_rows, range(len(self.texts)))

    @cached_property
    def _open_rows(self) -> list[Row]:
        return compile_rows(self.renderer, self.texts, (True,) * len(self.slots), self._probes)

    @cached_property
    def groups(self) -> list[Group]:
        """All examples, in groups that share a batch."""
        return self.model.groups(self.rows, range(len(self.rows)))

    @cached_property
    def texts_first(self) -> bool:
        """Whether the model reads the texts once, for all prompts that follow them."""
        return any(group.first is not None for group in self.groups)

    @cached_property
    def few_groups(self) -> list[Group]:
        """All examples, for a prompt or two: larger groups, since none fills a batch by itself."""
        return self._few(range(len(self.rows)))

    def _few(self, examples: Sequence[int]) -> list[Group]:
        return group_few(self.rows, examples, self.model.batch_tokens)

    def within(
        self, examples: IntArray | None, n: int = FEW
    ) -> list[tuple[Group, IntArray | None]]:
        """Groups for `n` prompts and their members among these examples; the constant beginnings
        are shared."""
        if n < FEW and not self.texts_first:
            few = self.few_groups if examples is None else self._few(examples.tolist())
            return [(group, None) for group in few]
        if examples is None:
            return [(group, None) for group in self.groups]
        wanted = np.zeros(len(self.rows), dtype=bool)
        wanted[examples] = True
        found = [(group, np.flatnonzero(wanted[group.examples])) for group in self.groups]
        return [(group, members) for group, members in found if len(members)]

    def by_ids(self, ids: IntArray, parts: Parts, out: FloatArray) -> None:
        """Fills `out[row, example]`, `(n, N, classes)`, for canonical rows `(n, length)`."""
        for numbers, prompts in self.shapes(ids):
            if any(not prompt.shape[1] for prompt in prompts):
                self._by_text_into(ids, numbers, parts, out)
                continue
            for group, members in parts:
                scores = self.model.label_log_probs(group, self.labels, prompts, members)
                examples = group.numbers(members)
                out[numbers[:, None], examples] = self.formed(scores)

    def _by_text_into(
        self,
        ids: IntArray,
        numbers: IntArray,
        parts: Parts,
        out: FloatArray,
    ) -> None:
        # An empty slot takes its space along, so the constant parts do not hold.
        examples = examples_of(parts)
        for number in numbers:
            prompts = self.renderer.prompt_texts(ids[number], self.slots)
            out[number, examples] = self.by_text(prompts, examples=examples.tolist())

    def shapes(self, ids: IntArray) -> Iterator[tuple[IntArray, list[IntArray]]]:
        """Row numbers of equal slot lengths, with their tokens slot by slot, EMPTY left out."""
        ends = np.cumsum(self.slots)
        starts = ends - np.array(self.slots)
        bounds = list(zip(starts, ends, strict=True))
        lengths = np.stack([(ids[:, a:b] != EMPTY).sum(1) for a, b in bounds], axis=1)
        for shape in np.unique(lengths, axis=0):
            numbers = np.flatnonzero((lengths == shape).all(axis=1))
            prompts = [ids[numbers, a : a + k] for (a, _), k in zip(bounds, shape, strict=True)]
            yield numbers, prompts

    def survives(self, ids: IntArray) -> BoolArray:
        """`(n,)` whether each prompt, written out in the template, is read as these tokens."""
        prompts = [self.renderer.prompt_texts(row, self.slots) for row in ids]
        found = self.renderer.rows(prompts, [self._sample] * len(ids))
        alive = [self._as_written(row, got) for row, got in zip(ids, found, strict=True)]
        return np.array(alive, dtype=bool)

    def _as_written(self, row: IntArray, got: Row) -> bool:
        ends = np.cumsum(self.slots)
        parts = [row[end - width : end] for end, width in zip(ends, self.slots, strict=True)]
        tokens = [[int(t) for t in part if t != EMPTY] for part in parts]
        frame = self._frame(tuple(bool(slot) for slot in tokens))
        mark = (EMPTY,)  # a label's place counts as well
        return frame is not None and got.joined([], mark) == frame.joined(
            [slot for slot in tokens if slot], mark
        )

    def _frame(self, filled: tuple[bool, ...]) -> Row | None:
        """The sample row around its filled slots; an empty one takes its space along. None where
        no token is read as itself then."""
        if filled not in self._frames:
            self._frames[filled] = self._compile_frame(filled)
        return self._frames[filled]

    def _compile_frame(self, filled: tuple[bool, ...]) -> Row | None:
        if all(filled):
            return self._open_rows[self.texts.index(self._sample)]
        try:
            return compile_rows(self.renderer, [self._sample], filled, self._probes)[0]
        except HardpromptError:
            return None
