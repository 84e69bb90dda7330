"""What the rest of the package knows about a model, whatever its family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hardprompt.models.codec import Codec
from hardprompt.scoring.mixed import MixedRow
from hardprompt.scoring.plan import Group, Row
from hardprompt.types import FloatArray, IntArray

if TYPE_CHECKING:
    from hardprompt.models.writer import Decoding

Labels = tuple[tuple[int, ...], ...]  # token ids of each class' label word


@dataclass(frozen=True)
class ModelInfo:
    """What a report says about a model, and what tells two models apart."""

    name: str
    family: str
    kind: str  # causal or masked
    parameters: int
    dtype: str
    device: str
    context: int  # most tokens of one row
    fingerprint: str  # sha256 of the weights' bytes and of the tokenizer
    weights: str  # sha256 of the weights' bytes alone, as loaded
    tokenizer: str  # sha256 of the tokenizer alone
    revision: str | None = None  # the commit on the hub that was loaded; None: a folder


class PromptModel(Protocol):
    """A frozen model that tells the log-probability of label words after a prompt."""

    codec: Codec
    info: ModelInfo
    way: str  # how pairs are scored, for reports
    batch_tokens: int  # read together; halved where they do not fit

    def groups(self, rows: Sequence[Row], examples: Sequence[int]) -> list[Group]:
        """The examples among `rows` in groups that this model scores together."""
        ...

    @property
    def embeddings(self) -> FloatArray:
        """`(V, dim)` what each token id becomes at the model's input, float32."""
        ...

    @property
    def passed(self) -> int:
        """Weights that every token passes: not the table that it is looked up in, nor an output
        layer of its own, of which only a few rows are asked for."""
        ...

    def label_log_probs(
        self,
        group: Group,
        labels: Labels,
        prompts: Sequence[IntArray | FloatArray],
        members: IntArray | None = None,
    ) -> FloatArray:
        """`(n, g, classes)`: log p(label word | row) up to a constant of each row, for n prompts,
        given slot by slot as `(n, k)` ids or `(n, k, dim)` points. `members` are the g rows of
        the group to score; None: all. Of a group with `targets` it is `(n, g, 1)`: the mean
        log-probability of a token of what each row ends in, and `labels` say nothing."""
        ...

    def mixed_log_probs(self, rows: Sequence[MixedRow]) -> list[FloatArray]:
        """For each row `(classes,)`: log p(label word | row) up to a constant of the row. Rows of
        unlike lengths, label words, points and prefixes share a batch."""
        ...

    @property
    def prefix_shape(self) -> tuple[int, int, int, int]:
        """Of one place of a prefix: layers, 2 (keys and values), heads of the keys, numbers of a
        head. Raises `UnfitModel` where no prefix can stand before this model's rows."""
        ...

    def gradient(
        self,
        group: Group,
        labels: Labels,
        gold: IntArray,
        points: Sequence[FloatArray],
        members: IntArray | None = None,
    ) -> tuple[FloatArray, list[FloatArray]]:
        """`(n, g, classes)` log-probabilities, and per slot `(n, k, dim)` the gradient of the
        negative log-likelihood, summed over the g rows: softmax over the classes against
        `gold`, the right class of each row of the group; of `targets`, the mean of their tokens."""
        ...

    def next_token_log_probs(self, group: Group, prompts: Sequence[IntArray]) -> FloatArray:
        """`(n, V)`: log p(token after the last of `prompts` | row), averaged over the group's
        rows. `prompts` may be fewer than the slots of the group: later ones are empty."""
        ...

    def prompt_log_probs(self, ids: IntArray) -> FloatArray:
        """`(n,)`: mean log-probability of a token of each prompt, `(n, k)` ids without special
        tokens, EMPTY left out. It stands alone, after the model's own beginning; NaN where no
        token can be told. A masked model's is a pseudo-log-likelihood."""
        ...

    def prompt_gradient(
        self, ids: IntArray, points: FloatArray, tokens: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """`prompt_log_probs` of the same ids, but read from `points`, `(n, k, dim)`: `(n,)`; its
        gradient at these points, `(n, k, dim)`; and `(n, k, v)` log p(token | the others) of each
        of `tokens` in each place, over the number of places: what the mean gains by it there.
        Both are 0 at EMPTY."""
        ...

    def write(self, rows: Sequence[IntArray | FloatArray], decoding: Decoding) -> list[str]:
        """What the model goes on with after each row, `(t,)` ids or `(t, dim)` points, as one
        line of text. Raises `HardpromptError` where it fills gaps instead."""
        ...

    def last_hidden(self, group: Group) -> FloatArray:
        """`(g, dim)` the last hidden state where the label word is predicted, for a group
        without slots."""
        ...

    def word_log_probs(
        self, group: Group, tokens: IntArray
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Batch by batch of a group without slots: the numbers of its rows, and `(rows, v)`
        log p(token in the label word's place | row) of these v tokens."""
        ...

    def output_states(self, group: Group) -> FloatArray:
        """`(g, dim)` what the output layer reads in the label word's place, for a group without
        slots: its product with a token's output embedding is the token's logit, biases aside."""
        ...

    def output_embeddings(self, tokens: IntArray) -> FloatArray:
        """`(v, dim)` rows of the output layer."""
        ...
