"""LoRA and LLaMA-Adapter: where they begin, what training touches, what is kept."""

import copy
import sys

import numpy as np
import pytest
import torch

from hardprompt.adapt.llama_adapter import LlamaAdapter
from hardprompt.adapt.lora import Lora
from hardprompt.errors import HardpromptError, UnfitModel
from tests.families import masked_configs
from tests.training import TEXT, train

EXACT = {"atol": 1e-5, "rtol": 1e-5}  # rounding in float32, of logits of up to 10
CASES = [
    *((Lora(), family) for family in ("gpt2", "llama", "qwen2", "gemma", "opt", "gpt_neox")),
    *((LlamaAdapter(length=4), family) for family in ("gpt2", "llama", "mistral")),
]
EACH = pytest.mark.parametrize(
    ("way", "family"), CASES, ids=[f"{way.name}-{family}" for way, family in CASES]
)


@pytest.fixture(scope="module")
def peft():
    return pytest.importorskip("peft", reason="peft makes these: pip install '.[compare]'")


@pytest.fixture
def build(make_model):
    """`build(family)` -> a plain model with large random weights."""

    def made(family):
        if family != "mistral":
            return make_model(family, plain=True)[0]
        import transformers

        llama = make_model("llama", plain=True)[0]
        options = llama.config.to_dict() | {"sliding_window": None}
        model = transformers.MistralForCausalLM(transformers.MistralConfig(**options)).eval()
        model.load_state_dict(llama.state_dict())
        return model

    return made


def attach(way, model, seed=0):
    return way.attach(copy.deepcopy(model), np.random.default_rng(seed))


@torch.no_grad()
def logits(model):
    return model(input_ids=torch.tensor(TEXT)).logits


@EACH
def test_untrained_it_is_the_model_itself(peft, build, way, family):
    model = build(family)
    torch.testing.assert_close(logits(attach(way, model).model), logits(model), **EXACT)


@EACH
def test_training_lowers_the_loss_and_moves_nothing_else(peft, build, way, family):
    adapted = attach(way, build(family))
    trained = {id(weight) for weight in adapted.trained}
    before = {name: weight.clone() for name, weight in adapted.model.named_parameters()}
    losses = train(adapted)
    assert losses[-1] < losses[0] - 0.1
    assert all(weight.grad.any() for weight in adapted.trained)  # prompts too, once gates are open
    for name, weight in adapted.model.named_parameters():
        assert weight.requires_grad == (id(weight) in trained)
        assert torch.equal(weight, before[name]) == (id(weight) not in trained), name


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")  # peft to transformers
@EACH
def test_what_is_saved_predicts_as_before(peft, build, way, family, tmp_path):
    model = build(family)
    adapted = attach(way, model)
    train(adapted, 3)
    names = way.save(adapted, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    expected = logits(adapted.model)
    assert (expected - logits(model)).abs().max() > 0.01, "training must matter"
    assert torch.equal(logits(type(way).load(tmp_path, copy.deepcopy(model))), expected)
    theirs = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    assert torch.equal(logits(theirs), expected)


def test_numbers_are_counted(peft, build):
    adapted = attach(Lora(rank=3), build("llama"))
    # Of each layer the queries, 64 to 64, and the values, 64 to 32.
    assert adapted.stored == 2 * 3 * ((64 + 64) + (64 + 32))
    assert sum(weight.numel() for weight in adapted.trained) == adapted.stored
    adapted = attach(LlamaAdapter(length=4, layers=9), build("llama"))
    assert adapted.stored == 2 * (4 * 64 + 1)  # layers; prompts and a gate


def test_the_lowest_two_layers_are_spared(peft):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 16}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=5, num_attention_heads=2))
    adapted = attach(LlamaAdapter(), model)
    assert adapted.details["layers"] == 3
    layers = adapted.model.model.layers
    assert [hasattr(layer.self_attn, "adaption_gate") for layer in layers] == [False] * 2 + [
        True
    ] * 3


@pytest.mark.parametrize("way", [Lora(), LlamaAdapter()], ids=["lora", "llama-adapter"])
def test_a_start_is_the_seeds_own(peft, build, way):
    model, state = build("llama"), torch.get_rng_state()
    first, second, other = (attach(way, model, seed).trained for seed in (1, 1, 2))
    assert all(map(torch.equal, first, second))
    assert not all(map(torch.equal, first, other))
    assert torch.equal(state, torch.get_rng_state())


def test_lora_adapts_masked_models(peft, tokenizer, tmp_path):
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    _, config = masked_configs(len(tokenizer))["bert"]
    model = AutoModelForMaskedLM.from_config(config).eval()
    adapted = attach(Lora(), model)
    torch.testing.assert_close(logits(adapted.model), logits(model), **EXACT)
    train(adapted, 3)
    Lora().save(adapted, tmp_path)
    assert torch.equal(logits(Lora.load(tmp_path, model)), logits(adapted.model))


def test_families_without_a_way_are_named(peft, build, tokenizer):
    from transformers import AutoModelForMaskedLM

    with pytest.raises(UnfitModel, match="for gpt2, llama, mistral; not for 'opt'"):
        attach(LlamaAdapter(), build("opt"))
    _, config = masked_configs(len(tokenizer))["albert"]
    albert = AutoModelForMaskedLM.from_config(config)
    with pytest.raises(UnfitModel, match="no weights for lora in a model of type 'albert'"):
        attach(Lora(), albert)
    assert attach(Lora(targets=("query",)), albert).stored > 0


@pytest.mark.parametrize(
    "odd", [{"attention_bias": True}, {"head_dim": 32}], ids=lambda odd: str(odd)
)
def test_a_model_that_pefts_adapter_changes_is_unfit(peft, build, odd):
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**(build("llama").config.to_dict() | odd)))
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            weight.data.fill_(0.3)
    with pytest.raises(UnfitModel, match="changes this model of type 'llama' untrained"):
        attach(LlamaAdapter(layers=2), model)


def test_an_adapter_of_another_kind_or_model_is_refused(peft, build, tmp_path):
    llama = build("llama")
    Lora().save(attach(Lora(), llama), tmp_path)
    with pytest.raises(HardpromptError, match="must have peft_type ADAPTION_PROMPT, it has LORA"):
        LlamaAdapter.load(tmp_path, copy.deepcopy(llama))
    with pytest.raises(HardpromptError, match="does not belong to this model"):
        Lora.load(tmp_path, build("gpt2"))


@pytest.mark.parametrize("way", [Lora(), LlamaAdapter()], ids=["lora", "llama-adapter"])
def test_without_peft_it_says_what_to_install(build, way, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UnfitModel, match=rf"^{way.name} needs peft: pip install peft$"):
        attach(way, build("llama"))
