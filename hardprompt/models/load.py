"""Loads a model by hub id or local folder: safetensors only, and never code from a repository."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.models.base import ModelInfo, PromptModel
from hardprompt.models.batched import BatchedModel
from hardprompt.models.choose import causal_model
from hardprompt.models.codec import Codec
from hardprompt.models.masked import MaskedModel
from hardprompt.models.memory import keep_freed_memory, tokens_that_fit
from hardprompt.models.source import check_config, explained, read_config, source_of
from hardprompt.models.tokenizer import load_tokenizer
from hardprompt.models.trial import check_padding
from hardprompt.scoring.batching import Batcher, out_of_memory

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Of files that do not load; a KeyError where a name in config.json says nothing to transformers.
FAULTS = (OSError, ValueError, ImportError, KeyError, SafetensorError, StrictDataclassError)
KNOWN_CONTEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def load_model(
    name: str = "mini",
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    batch_size: int | None = None,
) -> PromptModel:
    """A frozen language model, causal or masked, ready to score.

    `name` is `mini` (inside the package), a hub id or a folder. `dtype` auto is float32, but the
    checkpoint's own on a GPU without room for that; `batch_size` None is as many rows as memory
    allows.
    Raises `HardpromptError` with one line for what cannot be loaded.
    """
    source = source_of(name, revision)
    place = choose_device(device)
    keep_freed_memory(place)
    wanted = _choose_dtype(dtype, place)
    config = read_config(source, name, revision)
    masked = check_config(config, name)
    try:
        tokenizer = load_tokenizer(source, name, revision)
        model = _load_weights(source, name, revision, wanted, masked)
    except FAULTS as error:
        raise explained(name, error) from error
    if masked:
        _check_masked(model, tokenizer, name)
    codec = Codec(tokenizer, masked=masked)
    with _fitting(name, model, place, "a smaller model, --dtype bfloat16 or --device cpu"):
        model = model.to(place)
        if dtype == "auto" and _has_room_for_float32(model, place):
            model = model.float()
        tokens = tokens_that_fit(model, place)
        check_padding(model.eval(), codec, name, masked)
    info = _info(name, model, tokenizer, "masked" if masked else "causal")
    make = MaskedModel if masked else causal_model
    return make(model, codec, info, Batcher(tokens, batch_size))


def load_base(
    name: str, *, revision: str | None = None, device: str = "auto"
) -> tuple[Any, Any, ModelInfo]:
    """A model without its head, in float32, its tokenizer and what is known of it: texts are only
    read, so that one trained for any purpose will do. Raises as `load_model`."""
    source = source_of(name, revision)
    place = choose_device(device)
    keep_freed_memory(place)
    check_config(read_config(source, name, revision), name)
    try:
        tokenizer = load_tokenizer(source, name, revision)
        model, lacking = _read_weights(AutoModel, source, name, revision, torch.float32)
    except FAULTS as error:
        raise explained(name, error) from error
    missing = [key for key in lacking if "pooler" not in key]
    if missing:
        raise HardpromptError(
            f"'{name}' is no whole model: {len(missing)} of its weights, such as {missing[0]}, are "
            "not in the files and would be random; save it again with save_pretrained"
        )
    for key in lacking:  # unused; random, they would make each load another model
        model.state_dict()[key].zero_()
    with _fitting(name, model, place, "a smaller model or --device cpu"):
        model = model.eval().to(place)
    return model, tokenizer, _info(name, model, tokenizer)


def screening_model(model: PromptModel) -> PromptModel:
    """The model in bfloat16, to search with.

    A search needs the order of prompts, which half precision hardly changes, at about twice the
    speed; what is reported is measured in float32 all the same.
    """
    assert isinstance(model, BatchedModel), "all families are"
    return type(model)(*model.copied(torch.bfloat16))


def screens(model: PromptModel, dtype: str) -> bool:
    """Whether a search on this model is to run in bfloat16: not where `dtype` was asked for, nor
    where nothing is won."""
    place = torch.device(model.info.device)
    if dtype != "auto" or model.info.dtype != "float32" or not has_fast_bfloat16(place):
        return False
    # Copied in full, then halved; and as much again for the work.
    return place.type == "cpu" or 8 * model.info.parameters < torch.cuda.mem_get_info(place)[0]


def has_fast_bfloat16(place: torch.device) -> bool:
    """Whether matrix products are faster in bfloat16 than in float32."""
    if place.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if place.type != "cpu":
        return False
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in known)


def _has_room_for_float32(model: Any, place: torch.device) -> bool:
    """On a GPU, room for the weights in float32 beside a copy in half precision."""
    if place.type != "cuda" or model.dtype == torch.float32:
        return False
    free, _ = torch.cuda.mem_get_info(place)
    # 4 + 2 bytes a weight, the half-precision ones while they are turned, and half for the work.
    return bool(16 * sum(p.numel() for p in model.parameters()) < free)


def _load_weights(
    source: str, name: str, revision: str | None, dtype: torch.dtype | str, masked: bool
) -> Any:
    auto: Any = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model, missing = _read_weights(auto, source, name, revision, dtype)
    if missing:
        kind = "masked" if masked else "causal"
        raise HardpromptError(
            f"'{name}' is no whole {kind} language model: {len(missing)} of its weights, such as "
            f"{missing[0]}, are not in the files and would be random; take the checkpoint that "
            "was trained to predict words (of ELECTRA the generator)"
        )
    return model


def _read_weights(
    auto: Any, source: str, name: str, revision: str | None, dtype: torch.dtype | str
) -> tuple[Any, list[str]]:
    """A model of the kind `auto`, and the names of its weights that are not in the files."""
    model, loaded = auto.from_pretrained(
        source,
        revision=revision,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # refused here, in one line
    )
    for key, found, wanted in sorted(loaded["mismatched_keys"]):
        raise HardpromptError(
            f"'{name}' contradicts itself: {key} is {_sizes(found)} in its files, but "
            f"{_sizes(wanted)} by its config.json; take both from the same checkpoint"
        )
    return model, sorted(loaded["missing_keys"])


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


@contextmanager
def _fitting(name: str, model: Any, place: torch.device, way_out: str) -> Iterator[None]:
    """One line where the model does not fit on the device."""
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1024**3
        raise HardpromptError(
            f"'{name}' has {size:.1f} GB of weights, for which {place} has too little free memory; "
            f"take {way_out}"
        ) from error


def choose_device(device: str) -> torch.device:
    """`auto` takes a GPU where there is one."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.zeros(1, device=place).item()  # `meta` makes tensors, but they hold nothing
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UsageError(f"--device {device} cannot be used here: {reason}") from error
    return place


def _choose_dtype(dtype: str, place: torch.device) -> torch.dtype | str:
    if dtype == "auto":
        return torch.float32 if place.type == "cpu" else "auto"
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, ["auto", *DTYPES])
    return DTYPES[dtype]


def _check_masked(model: Any, tokenizer: Any, name: str) -> None:
    if tokenizer.mask_token is None:
        raise HardpromptError(
            f"the tokenizer of '{name}' has no mask token; set mask_token in tokenizer_config.json"
        )
    lacks = {"attention_mask", "inputs_embeds"} - set(inspect.signature(model.forward).parameters)
    if lacks:
        raise HardpromptError(
            f"'{name}' is of type '{model.config.model_type}', which takes no "
            f"{' and no '.join(sorted(lacks))}; take BERT, RoBERTa or their like"
        )


def _info(name: str, model: Any, tokenizer: Any, kind: str = "causal") -> ModelInfo:
    config = model.config.get_text_config()
    limits = [getattr(config, key, None) for key in KNOWN_CONTEXTS]
    limits.append(_positions(model))
    limits.append(getattr(tokenizer, "model_max_length", None))
    known = [int(limit) for limit in limits if limit and limit < 10**7]
    weight = next(model.parameters())
    both, weights, words = fingerprints(model, tokenizer)
    return ModelInfo(
        name=name,
        family=str(config.model_type),
        kind=kind,
        parameters=sum(p.numel() for p in model.parameters()),
        dtype=str(weight.dtype).removeprefix("torch."),
        device=str(weight.device),
        context=min(known, default=2048),
        fingerprint=both,
        weights=weights,
        tokenizer=words,
        revision=getattr(model.config, "_commit_hash", None),
    )


def _positions(model: Any) -> int | None:
    """Places of a learnt table of positions; RoBERTa counts them from behind its padding id."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    return None


def fingerprints(model: Any, tokenizer: Any) -> tuple[str, str, str]:
    """sha256 of weights and tokenizer together, of the weights as loaded, of the tokenizer."""
    digest = hashlib.sha256()
    for key, weight in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    weights = digest.hexdigest()
    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab()))
    digest.update(text.encode())
    return digest.hexdigest(), weights, hashlib.sha256(text.encode()).hexdigest()
