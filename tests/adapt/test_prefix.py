"""Prefix tuning: known answers, what is kept, and what training touches."""

import copy

import numpy as np
import pytest
import torch

from hardprompt.adapt.prefix import Prefix, read_prefix, write_prefix
from hardprompt.errors import HardpromptError, UnfitModel, UsageError
from hardprompt.models.causal import CausalModel
from hardprompt.models.prefixed import PrefixModel, keys_and_values_of
from hardprompt.scoring.batching import Batcher
from hardprompt.scoring.plan import Row
from tests.families import masked_configs
from tests.training import TEXT, train

PLAIN = ["gpt2", "llama", "qwen2", "gemma", "opt", "gpt_neox"]  # of conftest's families
PROMPT = [5, 6, 7, 8]
EXACT = {"atol": 1e-5, "rtol": 1e-5}  # rounding in float32, of logits of up to 10
WAYS = pytest.mark.parametrize("projection", [True, False], ids=["network", "direct"])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def make(make_model, rng):
    """`make(family, **settings)` -> the plain model, and an adapted copy of it."""

    def attached(family, **settings):
        model, _ = make_model(family, plain=True)
        given = {"length": len(PROMPT), "words": tuple(PROMPT), "hidden": 16}
        return model, Prefix(**(given | settings)).attach(copy.deepcopy(model), rng)

    return attached


@torch.no_grad()
def logits(model, ids=TEXT, **options):
    return model(input_ids=torch.tensor(ids), **options).logits


def behind(prompt, rows=TEXT):
    return [prompt + row for row in rows]


@WAYS
@pytest.mark.parametrize("family", PLAIN)
def test_a_prefix_of_a_prompts_own_keys_and_values_reads_as_the_prompt(make, family, projection):
    model, adapted = make(family, projection=projection)
    hard = logits(model, behind(PROMPT))[:, len(PROMPT) :]
    torch.testing.assert_close(logits(adapted.model), hard, **EXACT)
    assert (hard - logits(model)).abs().max() > 0.1, "the prompt must matter"


@pytest.mark.parametrize("family", PLAIN)
def test_it_scores_label_words_as_the_prompt(make_model, make, family):
    _, plain = make_model(family, plain=True)
    _, adapted = make(family)
    behind_it = CausalModel(adapted.model, plain.codec, plain.info, Batcher(2048, None))
    labels = ((40,), (41, 42))
    scores = {}
    for name, model, start in (("hard", plain, PROMPT), ("prefix", behind_it, [])):
        rows = [Row((tuple(start + text),)) for text in (*TEXT, TEXT[0][:3])]
        found = np.empty((len(rows), len(labels)))
        for group in model.groups(rows, range(len(rows))):
            found[group.examples] = model.label_log_probs(group, labels, [])[0]
        scores[name] = found
    np.testing.assert_allclose(scores["prefix"], scores["hard"], atol=1e-4)  # sums of two tokens


@pytest.mark.parametrize("family", PLAIN)
def test_masks_positions_and_what_is_kept_are_those_of_the_text(make, family):
    _, adapted = make(family)
    whole = logits(adapted.model)
    mask, positions = torch.ones(2, 5, dtype=torch.long), torch.arange(5).expand(2, -1)
    masked = logits(adapted.model, attention_mask=mask, position_ids=positions, logits_to_keep=2)
    torch.testing.assert_close(masked, whole[:, -2:], **EXACT)
    padded = [[*row[:3], 0, 0] for row in TEXT]
    mask[:, 3:] = 0
    padded = logits(adapted.model, padded, attention_mask=mask)
    torch.testing.assert_close(padded[:, :3], whole[:, :3], **EXACT)


def test_points_are_read_as_the_tokens_they_stand_for(make):
    _, adapted = make("llama")
    with torch.no_grad():
        points = adapted.model.get_input_embeddings()(torch.tensor(TEXT))
        torch.testing.assert_close(
            adapted.model(inputs_embeds=points).logits, logits(adapted.model)
        )


@pytest.mark.parametrize("family", PLAIN)
def test_a_decoder_reads_on_from_the_prefix(make, family):
    _, adapted = make(family)
    whole, cache = logits(adapted.model), adapted.model.cache(len(TEXT))
    steps = [
        logits(adapted.model, [row[i : i + 1] for row in TEXT], past_key_values=cache)
        for i in range(5)
    ]
    torch.testing.assert_close(torch.cat(steps, 1), whole, **EXACT)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_generation_goes_on_as_behind_the_prompt(make, family, beams):
    model, adapted = make(family)
    options = {"max_new_tokens": 5, "do_sample": False, "num_beams": beams, "pad_token_id": 0,
               "eos_token_id": None}  # fmt: skip
    hard = model.generate(torch.tensor(behind(PROMPT)), **options)
    assert adapted.model.generate(torch.tensor(TEXT), **options).tolist() == (
        hard[:, len(PROMPT) :].tolist()
    )


def test_a_cache_without_the_prefix_is_refused(make):
    model, adapted = make("llama")
    foreign = model(input_ids=torch.tensor(TEXT), use_cache=True).past_key_values
    with pytest.raises(TypeError, match="must begin with the prefix"):
        adapted.model(input_ids=torch.tensor(TEXT), past_key_values=foreign)


def test_attention_that_reads_no_cache_is_refused(make_model, rng):
    model, _ = make_model("llama", plain=True)
    model.set_attn_implementation("hardprompt_cascade")
    with pytest.raises(ValueError, match="attention of transformers' own"):
        Prefix().attach(model, rng)


@WAYS
@pytest.mark.parametrize("start", [tuple(PROMPT), ()], ids=["words", "random"])
def test_training_lowers_the_loss_and_moves_nothing_else(make, projection, start):
    _, adapted = make("llama", projection=projection, words=start)
    trained = {id(weight) for weight in adapted.trained}
    named = [*adapted.model.named_parameters(), *adapted.model.named_buffers()]
    before = {name: weight.detach().clone() for name, weight in named}
    losses = train(adapted)
    assert losses[-1] < losses[0] - 0.1
    for name, weight in named:
        assert weight.requires_grad == (id(weight) in trained)
        assert torch.equal(weight, before[name]) == (id(weight) not in trained), name


@WAYS
def test_what_is_saved_reads_as_before_without_its_network(make, tmp_path, projection):
    model, adapted = make("llama", projection=projection)
    train(adapted, 3)
    names = Prefix().save(adapted, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    loaded = Prefix.load(tmp_path, model)
    assert torch.equal(loaded.keys_and_values(), adapted.model.keys_and_values())
    assert torch.equal(logits(loaded), logits(adapted.model))
    kept = sum(weight.numel() for weight in loaded.prefix.parameters())
    assert kept == adapted.stored


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")  # peft to transformers
@pytest.mark.parametrize("family", PLAIN)
def test_peft_reads_what_is_saved(make, tmp_path, family):
    peft = pytest.importorskip("peft", reason="peft, the oracle: pip install '.[compare]'")
    model, adapted = make(family)
    train(adapted, 3)
    Prefix().save(adapted, tmp_path)
    theirs = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    mask = torch.ones(2, 5, dtype=torch.long)
    torch.testing.assert_close(logits(theirs, attention_mask=mask), logits(adapted.model), **EXACT)


@WAYS
def test_numbers_are_counted(make, projection):
    _, adapted = make("llama", projection=projection)
    kv = 2 * 16  # heads of the keys, each 16 wide
    assert adapted.stored == 4 * 2 * 2 * kv  # places, layers, keys and values
    network = 4 * kv + (kv + 1) * 16 + (16 + 1) * 2 * 2 * kv
    assert sum(weight.numel() for weight in adapted.trained) == (
        network if projection else adapted.stored
    )


def test_a_longer_prefix_begins_at_the_words_again_and_again(make):
    model, adapted = make("llama", length=6)
    again = keys_and_values_of(model, [*PROMPT, *PROMPT[:2]])
    torch.testing.assert_close(adapted.model.keys_and_values(), again)


def test_a_random_start_is_the_seeds_own_and_of_the_size_of_words(make_model):
    model, _ = make_model("llama", plain=True)
    state = torch.get_rng_state()
    same = [Prefix(length=40, hidden=4).attach(model, np.random.default_rng(3)) for _ in range(2)]
    first, second = (adapted.model.keys_and_values() for adapted in same)
    assert torch.equal(first, second)
    assert all(map(torch.equal, same[0].trained, same[1].trained))
    assert torch.equal(state, torch.get_rng_state())
    words = keys_and_values_of(model, range(10, 50))
    sizes = [kept.square().mean((0, 3, 4)).sqrt() for kept in (first, words)]
    torch.testing.assert_close(*sizes, rtol=0.3, atol=0)  # one draw of a few thousand numbers


def test_the_models_that_leave_no_way_are_named(make_model, tokenizer):
    import transformers

    model, _ = make_model("gemma2", plain=True)  # half its layers read a window
    with pytest.raises(UnfitModel, match=r"plain keys and values at every layer.*'gemma2'"):
        Prefix().attach(model, np.random.default_rng(0))
    _, config = masked_configs(len(tokenizer))["bert"]
    masked = transformers.AutoModelForMaskedLM.from_config(config)
    with pytest.raises(UnfitModel, match=r"causal model.*'bert'"):
        Prefix().attach(masked, np.random.default_rng(0))


def test_the_prefix_of_another_model_is_refused(make_model, make, tmp_path):
    _, adapted = make("llama")
    Prefix().save(adapted, tmp_path)
    other, _ = make_model("gpt2", plain=True)
    with pytest.raises(HardpromptError, match=r"256 numbers a place.*made for another"):
        Prefix.load(tmp_path, other)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(HardpromptError, match="cannot read"):
        Prefix.load(tmp_path, other)


def test_a_prefix_has_a_place_at_least():
    with pytest.raises(UsageError, match="length of a prefix must be at least 1, got 0"):
        Prefix(length=0)


def test_a_hard_prompts_prefix_is_written_and_read(make_model, tmp_path):
    model, _ = make_model("llama", plain=True)
    kept = keys_and_values_of(model, PROMPT)
    assert kept.shape == (4, 2, 2, 2, 16)
    write_prefix(tmp_path, model, kept)
    assert torch.equal(read_prefix(tmp_path, model), kept)
    assert isinstance(Prefix.load(tmp_path, model), PrefixModel)
