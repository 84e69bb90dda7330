"""Where a model's files are, and what is refused before any of them is read."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models import mini

CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel")


def source_of(name: str, revision: str | None) -> str:
    """The folder or hub id to read; checks what can be checked without a network."""
    path = Path(name).expanduser()
    if revision is not None and (name == "mini" or path.is_dir()):
        raise UsageError(
            f"--revision names a commit of a model on the hub; '{name}' is none, leave it out"
        )
    if name == "mini":
        return str(mini.verified_folder())
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
    _check_near_misses(name, path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UsageError(f"no model folder '{name}'")
    return name


def _check_near_misses(name: str, path: Path) -> None:
    """What is nearly named like a model that is here is no id of the hub."""
    if "/" in name:
        beside = [config.parent for config in path.parent.glob("*/config.json")]
    else:
        beside = [Path("mini")] if len(name) <= len("mini") + 2 else []
    near = get_close_matches(path.name, [folder.name for folder in beside], n=1, cutoff=0.7)
    if near:
        raise UsageError(f"no model '{name}'. Did you mean '{path.with_name(near[0])}'?")


def read_config(source: str, name: str, revision: str | None) -> dict[str, Any]:
    try:
        config, _ = PreTrainedConfig.get_config_dict(
            source, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise explained(name, error) from error
    return dict(config)


def check_config(config: dict[str, Any], name: str) -> bool:
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


def explained(name: str, error: Exception) -> HardpromptError:
    text = str(error)
    lower = text.lower()
    if isinstance(error, SafetensorError):
        return HardpromptError(
            f"the safetensors weights of '{name}' cannot be read ({text.splitlines()[0]}): the "
            "download is incomplete, or git-lfs left a pointer in a file's place; fetch them again"
        )
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
    if isinstance(error, KeyError):
        return HardpromptError(
            f"cannot load '{name}': its config.json names {text}, unknown to transformers; "
            "mend it, or take a newer transformers"
        )
    lines = [line.strip() for line in text.strip().splitlines()]
    return HardpromptError(f"cannot load '{name}': {' '.join(lines[:2])}")
