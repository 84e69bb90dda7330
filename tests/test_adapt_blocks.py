"""Bottleneck adapters and fine-tuning on models of every family, against known answers."""

import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, MambaConfig

from hardprompt.adapt.blocks import blocks_of, final_norm_of, outputs_of
from hardprompt.adapt.bottleneck import Bottleneck
from hardprompt.adapt.finetune import FineTuning
from hardprompt.errors import HardpromptError, UnfitModel, UsageError
from tests.conftest import FAMILIES, configs
from tests.families import MASKED, louder, masked_configs

SIZE, WIDTH, BLOCKS = 300, 64, 2  # of the vocabulary, of the hidden states, of the model
IDS = torch.arange(20).reshape(2, 10) + 5
ADAPTATIONS = (Bottleneck(0.03), FineTuning(), FineTuning(top=1))
# The layers that attention and MLP end with.
OUTPUTS = {
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
    "llama": ("self_attn.o_proj", "mlp.down_proj"),
    "qwen2": ("self_attn.o_proj", "mlp.down_proj"),
    "gemma": ("self_attn.o_proj", "mlp.down_proj"),
    "gemma2": ("self_attn.o_proj", "mlp.down_proj"),
    "opt": ("self_attn.out_proj", "fc2"),
    "gpt_neox": ("attention.dense", "mlp.dense_4h_to_h"),
    "bert": ("attention.output.dense", "output.dense"),
    "roberta": ("attention.output.dense", "output.dense"),
    "distilbert": ("attention.out_lin", "ffn.lin2"),
    "albert": ("attention.dense", "ffn_output"),
    "electra": ("attention.output.dense", "output.dense"),
}


def model_of(family):
    torch.manual_seed(0)
    if family in MASKED:
        return louder(AutoModelForMaskedLM.from_config(masked_configs(SIZE)[family][1]), 3)
    return louder(AutoModelForCausalLM.from_config(configs(SIZE)[family]), 3)


@torch.no_grad()
def logits_of(model):
    return model(input_ids=IDS).logits


def train(adapted, steps=3):
    """A few steps towards random tokens, in the middle of which a masked model looks too."""
    optimizer = torch.optim.AdamW(adapted.trained, lr=0.01, weight_decay=0.0)
    for step in range(steps):
        optimizer.zero_grad()
        log_probs = adapted.model(input_ids=IDS + step).logits.log_softmax(-1)
        (-log_probs[:, :, 7].mean()).backward()
        optimizer.step()


@pytest.mark.parametrize("family", OUTPUTS)
def test_the_parts_of_a_block_are_found_in_every_family(family):
    model = model_of(family)
    blocks = blocks_of(model)
    assert len(blocks) == (1 if family == "albert" else BLOCKS)  # which reads one block twice
    for block in blocks:
        names = {id(layer): name for name, layer in block.named_modules()}
        assert tuple(names[id(layer)] for layer in outputs_of(block, WIDTH)) == OUTPUTS[family]
    assert (final_norm_of(model) is None) == (family in MASKED)


@pytest.mark.parametrize("family", OUTPUTS)
def test_an_adapter_changes_nothing_before_it_is_trained(family):
    model = model_of(family)
    before = logits_of(model)
    adapted = Bottleneck(0.03).attach(model, np.random.default_rng(0))
    assert torch.equal(logits_of(adapted.model), before)  # what is added is exactly zero
    train(adapted)
    assert not torch.equal(logits_of(adapted.model), before)


@pytest.mark.parametrize("family", OUTPUTS)
def test_an_adapters_numbers_are_those_that_training_changes(family):
    adapted = Bottleneck(0.03).attach(model_of(family), np.random.default_rng(0))
    before = {name: weight.clone() for name, weight in adapted.model.named_parameters()}
    train(adapted)
    changed = sum(int((w != before[n]).sum()) for n, w in adapted.model.named_parameters())
    assert changed == sum(weight.numel() for weight in adapted.trained) == adapted.stored


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=str)
@pytest.mark.parametrize("family", OUTPUTS)
def test_what_is_saved_predicts_identically_when_loaded(family, adaptation, tmp_path):
    plain = model_of(family)
    adapted = adaptation.attach(copy.deepcopy(plain), np.random.default_rng(0))
    train(adapted)
    names = adaptation.save(adapted, tmp_path / "kept")
    assert {path.name for path in (tmp_path / "kept").iterdir()} == set(names)
    loaded = adaptation.load(tmp_path / "kept", copy.deepcopy(plain))
    assert torch.equal(logits_of(loaded), logits_of(adapted.model))
    assert not any(weight.requires_grad for weight in loaded.parameters())
    # Bytes beside the numbers: names and shapes in front, settings in another file.
    size = sum(path.stat().st_size for path in (tmp_path / "kept").iterdir())
    assert 0 < size - 4 * adapted.stored < 8192


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("family", ["llama", "gpt2", "albert"])
def test_an_adapter_has_the_share_that_was_asked_for(family, share):
    model = model_of(family)
    total = sum(weight.numel() for weight in model.parameters())
    places = 2 * len(blocks_of(model))
    adapted = Bottleneck(share).attach(model, np.random.default_rng(0))
    size = sum(weight.numel() for weight in adapted.trained)
    assert abs(size - share * total) <= places * (2 * WIDTH + 1) / 2  # half a unit in each place
    assert adapted.details["share"] == pytest.approx(size / total, abs=1e-6)  # six digits
    assert not adapted.details["fewest_units"]


def test_a_share_of_less_than_one_unit_gets_one_and_says_so():
    adapted = Bottleneck(0.0001).attach(model_of("llama"), np.random.default_rng(0))
    assert adapted.details["units"] == 1
    assert adapted.details["fewest_units"]
    assert adapted.details["share"] > adapted.details["share_wanted"] == 0.0001
    assert adapted.stored == 2 * BLOCKS * (2 * WIDTH + 1 + WIDTH)


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_shares_are_between_none_and_all(share):
    with pytest.raises(UsageError, match="has a share in 0 to 1"):
        Bottleneck(share)


@pytest.mark.parametrize("family", FAMILIES)
def test_top_blocks_leave_all_below_and_the_words_alone(family):
    adapted = FineTuning(top=1).attach(model_of(family), np.random.default_rng(0))
    before = {name: weight.clone() for name, weight in adapted.model.named_parameters()}
    train(adapted)
    changed = {n for n, weight in adapted.model.named_parameters() if (weight != before[n]).any()}
    own = {id(weight) for weight in adapted.trained}
    expected = {name for name, weight in adapted.model.named_parameters() if id(weight) in own}
    norm = {id(weight) for weight in final_norm_of(adapted.model).parameters()}
    assert norm < own
    assert changed == expected
    assert not any("embed" in name or "lm_head" in name for name in changed)


def test_top_blocks_count_the_numbers_that_change():
    """On Llama: a key's bias, which others have, is without effect and hardly moves."""
    adapted = FineTuning(top=1).attach(model_of("llama"), np.random.default_rng(0))
    before = [weight.clone() for weight in adapted.trained]
    train(adapted)
    pairs = zip(before, adapted.trained, strict=True)
    assert sum(int((old != new).sum()) for old, new in pairs) == adapted.stored


@pytest.mark.parametrize("family", OUTPUTS)
def test_fine_tuning_trains_every_weight_once(family):
    model = model_of(family)
    adapted = FineTuning().attach(model, np.random.default_rng(0))
    assert adapted.stored == sum(weight.numel() for weight in model.parameters())
    before = [weight.clone() for weight in adapted.trained]
    train(adapted)
    pairs = zip(before, adapted.trained, strict=True)
    assert not any(torch.equal(old, new) for old, new in pairs)


def test_a_model_without_attention_is_refused_with_the_reason():
    config = MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
    with pytest.raises(UnfitModel, match="no blocks with attention in a model of type 'mamba'"):
        Bottleneck().attach(AutoModelForCausalLM.from_config(config), np.random.default_rng(0))


def test_files_of_another_model_are_refused(tmp_path):
    adapted = Bottleneck().attach(model_of("llama"), np.random.default_rng(0))
    Bottleneck().save(adapted, tmp_path)
    with pytest.raises(HardpromptError, match="is of another model: it has no "):
        Bottleneck.load(tmp_path, model_of("gpt2"))
    (tmp_path / "adapter.json").write_text('{"schema": "else"}', encoding="utf8")
    with pytest.raises(HardpromptError, match=r"schema hardprompt.adapter/1, it has else"):
        Bottleneck.load(tmp_path, model_of("llama"))
    with pytest.raises(HardpromptError, match="cannot read"):
        FineTuning.load(tmp_path, model_of("llama"))
