"""Loads a model by hub id or local folder: safetensors only, and never code from a repository."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from hardprompt.errors import HardpromptError, UsageError, unknown
from hardprompt.models import mini
from hardprompt.models.base import ModelInfo, PromptModel
from hardprompt.models.batched import BatchedModel
from hardprompt.models.choose import causal_model
from hardprompt.models.codec import Codec
from hardprompt.models.masked import MaskedModel
from hardprompt.models.memory import tokens_that_fit
from hardprompt.models.tokenizer import load_tokenizer
from hardprompt.scoring.batching import Batcher

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel")
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
    source = _source(name, revision)
    place = choose_device(device)
    wanted = _choose_dtype(dtype, place)
    config = _read_config(source, name, revision)
    masked = _check_config(config, name)
    try:
        tokenizer = load_tokenizer(source, name, revision)
        model = _load_weights(source, name, revision, wanted, masked)
    except (OSError, ValueError, ImportError) as error:
        raise _explain(name, error) from error
    if masked:
        _check_masked(model, tokenizer, name)
    codec = Codec(tokenizer, masked=masked)
    model = model.to(place)
    if dtype == "auto" and _has_room_for_float32(model, place):
        model = model.float()
    info = _info(name, model, tokenizer, "masked" if masked else "causal")
    make = MaskedModel if masked else causal_model
    return make(model, codec, info, Batcher(tokens_that_fit(model, place), batch_size))


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
    model, loaded = auto.from_pretrained(
        source,
        revision=revision,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=dtype,
        output_loading_info=True,
    )
    missing = sorted(loaded["missing_keys"])
    if missing:
        kind = "masked" if masked else "causal"
        raise HardpromptError(
            f"'{name}' is no whole {kind} language model: {len(missing)} of its weights, such as "
            f"{missing[0]}, are not in the files and would be random; take the checkpoint that "
            "was trained to predict words (of ELECTRA the generator)"
        )
    return model


def choose_device(device: str) -> torch.device:
    """`auto` takes a GPU where there is one."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device} cannot be used here: {reason}") from error
    return place


def _choose_dtype(dtype: str, place: torch.device) -> torch.dtype | str:
    if dtype == "auto":
        return torch.float32 if place.type == "cpu" else "auto"
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, ["auto", *DTYPES])
    return DTYPES[dtype]


def _source(name: str, revision: str | None) -> str:
    """The folder or hub id to read; checks what can be checked without a network."""
    if name == "mini":
        return str(mini.verified_folder())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise HardpromptError(
                f"'{name}' is no model: the folder has no config.json; "
                "--model takes a hub id or a folder saved with save_pretrained"
            )
        if not list(path.glob("*.safetensors")):
            raise HardpromptError(
                f"'{name}' has no safetensors weights, and pickled ones can run code when loaded; "
                "load it where you trust it and save it with save_pretrained"
            )
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UsageError(f"no model folder '{name}'")
    if "/" not in name and len(name) <= 6:  # near misses of the one built-in name
        close = unknown("model", name, ["mini"])
        if "Did you mean" in str(close):
            raise close
    return name


def _read_config(source: str, name: str, revision: str | None) -> dict[str, Any]:
    try:
        config, _ = PreTrainedConfig.get_config_dict(
            source, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise _explain(name, error) from error
    return dict(config)


def _check_config(config: dict[str, Any], name: str) -> bool:
    """Whether the model is a masked one; refuses what would run foreign code or is neither."""
    if "auto_map" in config:
        raise HardpromptError(
            f"'{name}' needs code from its own repository (auto_map in config.json), "
            "which is never run; use a model that transformers knows"
        )
    for key in config:
        if key.lstrip("_").startswith("attn_implementation"):
            raise HardpromptError(
                f"config.json of '{name}' sets {key}, which can fetch foreign code; remove the line"
            )
    if "quantization_config" in config:
        raise HardpromptError(
            f"'{name}' is quantised, which is not supported yet; take the plain checkpoint"
        )
    if config.get("is_encoder_decoder"):
        raise HardpromptError(
            f"'{name}' is an encoder-decoder model; only causal and masked models are supported yet"
        )
    kind, heads = config.get("model_type"), config.get("architectures") or []
    # BERT and its like are known as causal models too: as the decoders that few of them are.
    decodes = config.get("is_decoder") or any(head.endswith(CAUSAL_HEADS) for head in heads)
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not decodes:
        return True
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise HardpromptError(
            f"'{name}' is of type '{kind}', "
            "which transformers does not know as a causal model or a masked one"
        )
    return False


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


def _explain(name: str, error: Exception) -> HardpromptError:
    text = str(error)
    lower = text.lower()
    if "gated" in lower or "401" in text or "403" in text:
        return HardpromptError(
            f"'{name}' is gated or private; accept its terms on its page, then run 'hf auth login'"
        )
    if "safetensors" in lower and "no file named" in lower:
        return HardpromptError(
            f"'{name}' has no safetensors weights, and pickled ones can run code when loaded; "
            "load it where you trust it and save it with save_pretrained"
        )
    if "couldn't connect" in lower or "offline" in lower or "cached files" in lower:
        return HardpromptError(
            f"'{name}' is not a folder here, not in the cache, and the hub cannot be reached; "
            "check the name and the network, or give a local folder"
        )
    if "not a valid model identifier" in lower or "404" in text:
        return HardpromptError(f"no model '{name}' on the hub, and no folder of that name here")
    return HardpromptError(f"cannot load '{name}': {text.strip().splitlines()[0]}")


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
