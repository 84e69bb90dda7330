"""Texts that a model is to write, as the ends of rows: where they stand and what they score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hardprompt.scoring.plan import Group


@dataclass(frozen=True)
class Targets:
    """What some rows of a group end in, padded to the right."""

    tokens: Tensor  # (rows, T)
    lengths: Tensor  # (rows,)

    @classmethod
    def of(cls, group: Group, example: Tensor) -> Targets:
        """Of the members `example` (rows,) of the group."""
        assert group.targets is not None, "a group that ends in texts"
        device = example.device
        lengths = torch.from_numpy(group.targets).to(device)[example]
        last = torch.from_numpy(group.last).to(device)[example]
        ids = torch.from_numpy(group.segments[-1]).to(device)[example]
        places = (last - lengths)[:, None] + _counted(int(group.targets.max()), device)
        return cls(ids.gather(1, places.clamp(max=ids.shape[1] - 1)), lengths)

    def places(self, ends: Tensor) -> Tensor:
        """`(rows, T)`: where each token is predicted in rows that end at `ends` (rows,), which is
        one place before it stands; the last place again where there is padding."""
        first = ends - self.lengths - 1
        found = first[:, None] + _counted(self.tokens.shape[1], ends.device)
        return found.clamp(max=int(ends.max()) - 1)

    def mean(self, logits: Tensor) -> Tensor:
        """`(rows,)` from `(rows, T, V)` logits at these places."""
        told = logits.gather(2, self.tokens[..., None])[..., 0] - logits.logsumexp(2)
        real = _counted(self.tokens.shape[1], logits.device) < self.lengths[:, None]
        return (told * real).sum(1) / self.lengths


def _counted(n: int, device: torch.device) -> Tensor:
    return torch.arange(n, device=device)
