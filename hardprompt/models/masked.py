"""Masked language models: the label word is what the model would write in a mask's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hardprompt.errors import HardpromptError, UnfitModel
from hardprompt.models.base import Labels
from hardprompt.models.batched import BatchedModel
from hardprompt.models.mixed import pick, reading_only
from hardprompt.models.writer import Decoding
from hardprompt.scoring.mixed import MixedRow
from hardprompt.scoring.plan import Group
from hardprompt.types import FloatArray, IntArray


class MaskedModel(BatchedModel):
    """Reads whole rows in both directions, what follows the label and closing tokens included.

    A label word of several tokens takes as many masks; its score is the sum of the
    log-probabilities of its tokens, each at its own mask, from one forward pass (as PET does in
    training, Schick & Schuetze, 2021). There is one pass for each distinct number of masks.
    """

    def write(self, rows: Sequence[IntArray | FloatArray], decoding: Decoding) -> list[str]:
        raise HardpromptError(
            f"'{self.info.name}' is a masked model: it fills gaps and cannot write a text; "
            "take a causal one"
        )

    def _labels(self, group: Group, labels: Labels, parts: list[Tensor], example: Tensor) -> Tensor:
        out = torch.empty(len(example), len(labels), device=self._device)
        for m in sorted({len(label) for label in labels}):
            rows, where = self._with_masks(group, parts, example, m)
            log_probs = self._log_probs(rows, where, self._padding(group, example))
            for c, label in enumerate(labels):
                if len(label) == m:
                    ids = torch.tensor(label, device=self._device)
                    out[:, c] = log_probs[:, torch.arange(m, device=self._device), ids].sum(1)
        return out

    def _next(self, group: Group, slots: int, parts: list[Tensor], example: Tensor) -> Tensor:
        """At a mask put after the last filled slot; what follows it in the row stays there."""
        rows, _ = self._with_masks(group, parts, example, 1)
        end = 2 * slots  # segments and slots alternate up to here
        mask = torch.full((len(example), 1), self.codec.mask_id, device=self._device)
        where = torch.full_like(mask, sum(part.shape[1] for part in rows[:end]))
        rows = [*rows[:end], mask, *rows[end:]]
        return self._log_probs(rows, where, self._padding(group, example))[:, 0]

    def _hidden(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        rows, where = self._with_masks(group, parts, example, 1)
        options = self._options(rows, self._padding(group, example))
        states: Tensor = self._model.base_model(**options).last_hidden_state
        return pick(states, where)[:, 0]

    def _words(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        rows, where = self._with_masks(group, parts, example, 1)
        return self._log_probs(rows, where, self._padding(group, example))[:, 0]

    def _output_states(self, group: Group, parts: list[Tensor], example: Tensor) -> Tensor:
        """Between the last hidden state and the output layer a masked model has one layer more."""
        read: list[Tensor] = []
        layer = self._output_layer()
        handle = layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        rows, where = self._with_masks(group, parts, example, 1)
        try:
            self._log_probs(rows, where, self._padding(group, example))
        finally:
            handle.remove()
        if not read:
            raise HardpromptError(
                f"'{self.info.name}' is of type '{self._model.config.model_type}', whose output "
                "layer is not called as a layer, so no words can be proposed; name label words "
                "with --labels, or take BERT, RoBERTa or their like"
            )
        (states,) = read
        return (states if states.shape[1] == 1 else pick(states, where))[:, 0]

    def _looks(self, k: int) -> int:
        return k

    def _alone(self, prompts: Tensor, look: Tensor) -> tuple[Tensor, Tensor]:
        """One place at a time, masked and read from all others (Salazar et al., 2020, eq. 1)."""
        n, k = prompts.shape[:2]
        masked = torch.arange(k, device=self._device) == look[:, None]
        mask = self._repeated((self.codec.mask_id,), n)
        if prompts.is_floating_point():
            mask = self._model.get_input_embeddings()(mask).to(prompts.dtype)
            masked = masked[..., None]
        before, after = (self._repeated(ids, n) for ids in (self.codec.prefix, self.codec.suffix))
        parts = [before, torch.where(masked, mask, prompts), after]
        return self._log_probs(parts, before.shape[1] + look[:, None], None), look[:, None]

    def _padding(self, group: Group, example: Tensor) -> Tensor | None:
        """`(rows,)` tokens of padding at each row's end; None where no row has any."""
        if not group.spread:
            return None
        padding: IntArray = group.last.max() - group.last
        return self._tensor(padding)[example]

    def _with_masks(
        self, group: Group, parts: list[Tensor], example: Tensor, m: int
    ) -> tuple[list[Tensor], Tensor]:
        """The parts with m masks in the label's place, and where these stand, `(rows, m)`."""
        assert group.label is not None
        number, offsets = group.label
        slots = len(parts) - len(group.segments)
        number += min(number, slots)
        at = self._tensor(offsets)[example][:, None]
        part = parts[number]
        tokens = torch.arange(part.shape[1], device=self._device)
        filled = part.new_full((len(part), len(tokens) + m), self.codec.mask_id)
        filled.scatter_(1, tokens + m * (tokens >= at), part)
        start = sum(before.shape[1] for before in parts[:number])
        where = start + at + torch.arange(m, device=self._device)
        return [*parts[:number], filled, *parts[number + 1 :]], where

    def _log_probs(self, parts: list[Tensor], where: Tensor, padding: Tensor | None) -> Tensor:
        """`(rows, m, V)`: log p(token at the positions `where` | row)."""
        with reading_only(self._model, where):
            logits: Tensor = self._model(**self._options(parts, padding)).logits
        if logits.shape[1] != where.shape[1]:
            logits = pick(logits, where)
        return logits.float().log_softmax(-1)

    def _options(self, parts: list[Tensor], padding: Tensor | None) -> dict[str, Any]:
        """What the model is called with; padding is hidden from it."""
        options: dict[str, Any] = self._inputs(parts)
        if padding is not None:
            width = sum(part.shape[1] for part in parts)
            places = torch.arange(width, device=self._device)
            options["attention_mask"] = (places < width - padding[:, None]).long()
        return options

    def _stand_in(self, label: tuple[int, ...]) -> tuple[int, ...]:
        return (self.codec.mask_id,) * len(label)

    def _told_at(self, row: MixedRow) -> int:
        return row.place

    def _read(self, rows: Sequence[MixedRow], where: Tensor) -> Tensor:
        tokens, ends = self._padded(rows)
        padding = tokens.shape[1] - ends
        return self._log_probs([tokens], where, padding if padding.any() else None)

    @property
    def prefix_shape(self) -> tuple[int, int, int, int]:
        raise UnfitModel(
            f"'{self.info.name}' is a masked model, and a prefix needs a causal one: what stands "
            "before its tokens would have to read them"
        )
