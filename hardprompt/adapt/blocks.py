"""Where a transformer's parts are, whatever its family calls them."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from hardprompt.errors import UnfitModel

ATTENTION = "att"  # in the name of every family's attention
FINAL_NORMS = ("norm", "ln_f", "norm_f", "final_layer_norm", "final_layernorm")


def blocks_of(model: Any) -> list[nn.Module]:
    """The blocks of attention and MLP, from the input to the output; shared ones once."""
    return list(_block_list(model)[1])


def final_norm_of(model: Any) -> nn.Module | None:
    """What normalises the last block's output; None where each block does so itself."""
    parent, _ = _block_list(model)
    found = (getattr(parent, name, None) for name in FINAL_NORMS)
    return next((norm for norm in found if isinstance(norm, nn.Module)), None)


def outputs_of(block: nn.Module, width: int) -> tuple[nn.Module, nn.Module]:
    """The linear layers that attention and MLP end with, before the residual is added; `width`
    is that of the hidden states."""
    attention: list[nn.Module] = []
    other: list[nn.Module] = []
    for name, child in block.named_children():
        part = attention if ATTENTION in name.lower() and not _is_norm(name) else other
        part += [layer for layer in child.modules() if _out_features(layer) == width]
    if not attention or not other:
        raise UnfitModel("no linear layers that attention and MLP end with in its blocks")
    return attention[-1], other[-1]


def _block_list(model: Any) -> tuple[nn.Module, nn.ModuleList]:
    """The first list of modules that each have an attention, and the module that it is in."""
    for parent in model.base_model.modules():
        for child in parent.children():
            if isinstance(child, nn.ModuleList) and len(child) and all(map(_attends, child)):
                return parent, child
    raise UnfitModel(f"no blocks with attention in a model of type '{model.config.model_type}'")


def _attends(block: nn.Module) -> bool:
    return any(ATTENTION in name.lower() for name, _ in block.named_children())


def _is_norm(name: str) -> bool:
    """Llama has a `post_attention_layernorm`."""
    return "norm" in name.lower()


def _out_features(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return int(layer.nf) if isinstance(layer, Conv1D) else None
