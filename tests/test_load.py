"""Models that cannot be loaded: one line that says why."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hardprompt.errors import HardpromptError, UsageError
from hardprompt.models.causal import CausalModel
from hardprompt.models.load import load_base, load_model
from hardprompt.models.source import source_of
from hardprompt.scoring.batching import Batcher

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1234\n"


@pytest.fixture(params=[load_model, load_base])
def refused(request, tiny_folder, tmp_path):
    """`refused(change)`: the line about a copy of a good model, changed."""

    def line(change):
        folder = tmp_path / "changed"
        shutil.copytree(tiny_folder, folder)
        change(folder)
        with pytest.raises(HardpromptError) as caught:
            request.param(str(folder), device="cpu")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return line


@pytest.mark.parametrize(
    "spoilt",
    [lambda whole: b"", lambda whole: POINTER, lambda whole: whole[: len(whole) // 2]],
    ids=["empty", "pointer", "truncated"],
)
def test_weights_that_did_not_arrive_whole(refused, spoilt):
    def change(folder):
        file = folder / "model.safetensors"
        file.write_bytes(spoilt(file.read_bytes()))

    message = refused(change)
    assert "cannot be read" in message
    assert "git-lfs" in message


def test_a_config_of_another_width(refused):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        changed = config | {"intermediate_size": 2 * config["intermediate_size"]}
        (folder / "config.json").write_text(json.dumps(changed))

    message = refused(change)
    assert "is 64 x 96 in its files, but 64 x 192 by its config.json" in message


def test_a_model_too_large_for_its_device(refused, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    message = refused(lambda _: None)
    assert "too little free memory" in message
    assert "--device cpu" in message


@pytest.mark.parametrize("tied", [True, False])
def test_weights_that_every_token_passes(tied):
    """Neither the table that tokens are looked up in, nor that of an output layer."""
    shape = {"hidden_size": 8, "intermediate_size": 12, "num_attention_heads": 2}
    sizes = {**shape, "num_hidden_layers": 1, "vocab_size": 99, "tie_word_embeddings": tied}
    model = LlamaForCausalLM(LlamaConfig(**sizes))
    codec = SimpleNamespace(special_ids=(), mask=None, prefix=(), suffix=())
    info = SimpleNamespace(parameters=model.num_parameters())
    found = CausalModel(model, codec, info, Batcher(64)).passed
    assert found == 4 * 8 * 8 + 3 * 8 * 12 + 3 * 8


@pytest.mark.parametrize("spelt", ["models/lama", "./models/llamma", "{here}/models/lama"])
def test_a_folder_that_is_nearly_named_is_no_model_of_the_hub(tmp_path, monkeypatch, spelt):
    monkeypatch.chdir(tmp_path)
    for name in ("llama", "other"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").touch()
    with pytest.raises(UsageError, match=r"Did you mean '.*models/llama'"):
        source_of(spelt.format(here=tmp_path), None)
    assert source_of("models/something", None) == "models/something"
