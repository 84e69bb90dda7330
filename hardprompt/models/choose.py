"""The fastest way of scoring that gives a model's own numbers, found by trying."""

from __future__ import annotations

from typing import Any

import numpy as np

from hardprompt.models.base import ModelInfo, PromptModel
from hardprompt.models.cascade import NAME, usual_attention
from hardprompt.models.causal import CausalModel
from hardprompt.models.codec import Codec
from hardprompt.models.shared import SharedCausalModel
from hardprompt.models.trial import bound
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.losses import normalise
from hardprompt.scoring.plan import Row
from hardprompt.types import FloatArray

# What a trial of short rows, or one in half precision, would not show.
SCALED = ("final_logit_softcapping", "logits_scaling", "logit_scale")
LONG = {"dynamic", "longrope"}  # rotary frequencies that change with a row's length
TEXTS = (9, 6, 7, 6)  # lengths of the texts that are tried


def causal_model(model: Any, codec: Codec, info: ModelInfo, batcher: Batcher) -> CausalModel:
    """Beginnings shared between rows where that is exact, else rows of like length.

    Sliding windows, soft caps, biases by distance and the like are not plain attention: a few
    random rows, with texts first and last and label words of one and two tokens, must come out
    the same both ways.
    """
    before = model.config._attn_implementation
    if before == NAME:  # a copy of a model that shares already
        before = usual_attention(model)
        model.set_attn_implementation(before)
    plain = CausalModel(model, codec, info, batcher)
    if unusual(model.config.get_text_config()):
        return plain
    n_ids = int(model.get_input_embeddings().weight.shape[0])
    expected = _trial(plain, n_ids)
    try:
        shared = SharedCausalModel(model, codec, info, batcher)
        found = _trial(shared, n_ids)
    except Exception:  # of whatever kind: models are many, and all have the other way
        found = None
    if found is not None and np.abs(found - expected).max() <= bound(info.dtype, expected):
        return shared
    model.set_attn_implementation(before)
    return plain


def unusual(config: Any) -> bool:
    """Whether logits are scaled, or rows are read otherwise from some length on."""
    if any(getattr(config, name, None) not in (None, 1) for name in SCALED):
        return True
    if getattr(config, "attention_chunk_size", None) is not None:
        return True
    kinds = getattr(config, "layer_types", None) or ()
    if any(kind != "full_attention" for kind in kinds):
        return True
    rope = getattr(config, "rope_parameters", None) or {}
    each = [rope, *(part for part in rope.values() if isinstance(part, dict))]
    return any(part.get("rope_type") in LONG for part in each)


def _trial(model: PromptModel, n_ids: int) -> FloatArray:
    """Class log-probabilities of a few random prompts, labels and templates, side by side."""
    rng = np.random.default_rng(0)
    ids = np.setdiff1d(np.arange(n_ids), list(model.codec.special_ids))

    def draw(n: int) -> tuple[int, ...]:
        return tuple(rng.choice(ids, n).tolist())

    texts = [draw(n) for n in TEXTS]
    start, middle = draw(1), draw(2)
    found = []
    for rows in (
        [Row((text, ())) for text in texts],
        [Row((start, text)) for text in texts],
        [Row((start, text, middle)) for text in texts],
    ):
        slots = len(rows[0].segments) - 1
        prompts = [rng.choice(ids, (4, 3)) for _ in range(slots)]
        prompts[0][1:, :2] = prompts[0][0, :2]  # what they begin with is shared
        for labels in ((draw(1), draw(1)), (draw(2), draw(1))):
            out = np.empty((4, len(texts), 2))
            for group in model.groups(rows, range(len(texts))):
                out[:, group.examples] = normalise(model.label_log_probs(group, labels, prompts))
            found.append(out)
    return np.stack(found)
